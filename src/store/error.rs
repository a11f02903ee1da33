//! What can go wrong between the relay and PostgreSQL, each with a one-line cause and remedy.

use tokio_postgres::error::{DbError, SqlState};

/// A failed dealing with PostgreSQL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection could be had.
    #[error(transparent)]
    Connect(#[from] super::connect_error::ConnectError),
    /// The outbox's tables are not there.
    #[error("there is no outbox in schema {schema:?} of this database")]
    SchemaMissing {
        /// The schema looked in.
        schema: String,
    },
    /// The outbox lacks steps that this program needs.
    #[error("the outbox in this database is older than this program: {step} is missing")]
    SchemaOlder {
        /// The first step that is missing.
        step: String,
    },
    /// A newer program has migrated this database.
    #[error("the outbox in this database is newer than this program: it has {step}")]
    SchemaNewer {
        /// The first step that is not known here.
        step: String,
    },
    /// A migration was applied with another text than the embedded one.
    #[error("{step} was applied to this database with another text")]
    SchemaEdited {
        /// The step.
        step: String,
    },
    /// Connected to a standby.
    #[error("this server is a standby (in recovery): it can neither be listened to nor written to")]
    Standby,
    /// The session or database is read-only.
    #[error("this database is read-only")]
    ReadOnly,
    /// The role lacks rights.
    #[error("role {role:?} may not work on the outbox: {detail}")]
    Privileges {
        /// The role connected as.
        role: String,
        /// What PostgreSQL said, or what is missing.
        detail: String,
    },
    /// PostgreSQL refused a statement.
    #[error("{}: {} ({})", .0.severity(), one_line(.0.message()), .0.code().code())]
    Database(Box<DbError>),
    /// The connection broke or never answered.
    #[error("the connection to PostgreSQL is lost: {0}")]
    Lost(String),
    /// A row or reply that does not fit what this program asked for.
    #[error("PostgreSQL answered something unexpected: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// What to do about it, in one line.
    pub fn remedy(&self) -> String {
        match self {
            Self::Connect(error) => error.remedy().into(),
            Self::SchemaMissing { .. } => {
                "run `outbox-relay migrate up` with a role that may create the schema, or pass --schema".into()
            }
            Self::SchemaOlder { .. } => "run `outbox-relay migrate up`".into(),
            Self::SchemaNewer { .. } => "use an outbox-relay at least as new as the one that migrated this database".into(),
            Self::SchemaEdited { .. } => {
                "restore the migration's own text in the database's history, or compare with `outbox-relay migrate print`".into()
            }
            Self::Standby | Self::ReadOnly => {
                "connect to the primary; with several hosts add target_session_attrs=read-write to DATABASE_URL".into()
            }
            Self::Privileges { role, .. } => format!(
                "grant {role:?} usage on the schema, select and update on event, and select, insert, update, delete on in_flight, hold and server_start"
            ),
            Self::Database(error) if error.code() == &SqlState::LOCK_NOT_AVAILABLE => {
                "something holds a lock on the outbox; end it, or try again when it has ended".into()
            }
            Self::Database(_) => "see PostgreSQL's log; nothing is lost, the transaction was rolled back".into(),
            Self::Lost(_) => "see whether PostgreSQL or a pooler restarted; nothing is lost".into(),
            Self::Unexpected(_) => "check that DATABASE_URL leads to PostgreSQL 14 or newer".into(),
        }
    }

    /// Whether a new connection, later, may work without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Lost(_) | Self::Standby | Self::ReadOnly | Self::Database(_) => true,
            Self::SchemaMissing { .. }
            | Self::SchemaOlder { .. }
            | Self::SchemaNewer { .. }
            | Self::SchemaEdited { .. }
            | Self::Privileges { .. }
            | Self::Unexpected(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Lost(one_line(&error.to_string()));
        };
        if db.code() == &SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::Privileges {
                role: "the connecting role".into(),
                detail: one_line(db.message()),
            };
        }
        if db.code() == &SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::ReadOnly;
        }
        Self::Database(Box::new(db.clone()))
    }
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).next().unwrap_or_default().chars().take(300).collect()
}
