//! What can go wrong between the relay and PostgreSQL, each with a one-line cause and remedy.

use tokio_postgres::error::{DbError, SqlState};

use super::connect_error::{ConnectError, ConnectErrorKind};

/// A failed dealing with PostgreSQL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection could be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The outbox's tables are not there.
    #[error("there is no outbox in schema {schema:?} of database {database:?}")]
    SchemaMissing {
        /// The schema looked in.
        schema: String,
        /// The database looked in.
        database: String,
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
    /// A migration's objects are there, its line of history is not: half of it was applied by another tool without a
    /// transaction, or the history was edited.
    #[error("what {step} makes is there already, but schema_history has no line of it: {said}")]
    SchemaUnrecorded {
        /// The step.
        step: String,
        /// What PostgreSQL says.
        said: String,
    },
    /// The history is there, but is not the table that this program made.
    #[error("schema_history is not as this program made it: {said}")]
    HistoryAltered {
        /// What PostgreSQL says.
        said: String,
    },
    /// Connected to a standby.
    #[error("this server is a standby (in recovery): it can neither be listened to nor written to")]
    Standby,
    /// The session or database is read-only.
    #[error("this database is read-only")]
    ReadOnly,
    /// The database's encoding is SQL_ASCII: any bytes may be in its texts, also such as are no UTF-8, and one
    /// such row would stop every claim that meets it.
    #[error("database {database:?} has encoding SQL_ASCII, so nobody knows what its texts say")]
    NoEncoding {
        /// The database.
        database: String,
    },
    /// The relay's role lacks privileges.
    #[error("role {role} lacks {}", .lacking.join("; "))]
    Privileges {
        /// The role connected as, quoted where SQL needs it.
        role: String,
        /// What it lacks, each as GRANT takes it: `SELECT, INSERT ON outbox.hold`.
        lacking: Vec<String>,
    },
    /// PostgreSQL refused a statement for want of a privilege (42501).
    #[error("PostgreSQL refuses: {0}")]
    PermissionDenied(String),
    /// The same for a migration, or for a look at its state.
    #[error("PostgreSQL refuses to this role: {0}")]
    MigrationDenied(String),
    /// A table of the application that cannot be used as asked.
    #[error("{cause}")]
    Unfit {
        /// What is in the way.
        cause: String,
        /// What to do about it.
        remedy: String,
    },
    /// A prepared statement is not there, or another one is in its place.
    #[error("a prepared statement got lost between two transactions: {0}")]
    StatementLost(String),
    /// The sequence that silences the bell is gone, or may not be looked at.
    #[error("the outbox has no sequence awake_until")]
    FlagMissing,
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
            Self::SchemaUnrecorded { step, .. } => {
                format!("run what of {step} in `outbox-relay migrate print` has not been done, its last statement (the line of history) always; then `outbox-relay migrate up`")
            }
            Self::HistoryAltered { .. } => {
                "restore its columns by the first statements of `outbox-relay migrate print`; then `outbox-relay migrate status`".into()
            }
            Self::Standby | Self::ReadOnly => {
                "connect to the primary; with several hosts add target_session_attrs=read-write to DATABASE_URL".into()
            }
            Self::Privileges { role, lacking } => {
                let grants = lacking.iter().map(|privileges| format!("GRANT {privileges} TO {role}"));
                format!("run as the outbox's owner: {};", grants.collect::<Vec<_>>().join("; "))
            }
            Self::NoEncoding { .. } => {
                "move the outbox to a database made with ENCODING 'UTF8' (pg_dump, createdb -E UTF8, pg_restore)".into()
            }
            Self::PermissionDenied(_) => {
                "grant it to this role; what a relay needs, `outbox-relay run` says when it starts; what operators need is in the README".into()
            }
            Self::MigrationDenied(_) => {
                "run `outbox-relay migrate` as the outbox's owner; who is to make a new one needs GRANT CREATE ON DATABASE".into()
            }
            Self::Unfit { remedy, .. } => remedy.clone(),
            Self::StatementLost(_) => {
                "add pgbouncer=true to DATABASE_URL when it leads through a pooler in transaction mode".into()
            }
            Self::Database(error) if error.code() == &SqlState::LOCK_NOT_AVAILABLE => {
                "something holds a lock on the outbox; end it, or try again when it has ended".into()
            }
            Self::Database(error) if error.code().code().starts_with("57P") => {
                "a new connection is made by itself; PostgreSQL's log says who ended this one".into()
            }
            Self::Database(error) if is_about_the_schema(error.code()) => {
                "something of the outbox's schema is gone or altered: see `outbox-relay migrate verify`".into()
            }
            Self::Database(_) => "see PostgreSQL's log; nothing is lost, the transaction was rolled back".into(),
            Self::FlagMissing => "make it anew with its statements in `outbox-relay migrate print`".into(),
            Self::Lost(_) => "see whether PostgreSQL or a pooler restarted; nothing is lost".into(),
            Self::Unexpected(_) => "check that DATABASE_URL leads to PostgreSQL 14 or newer".into(),
        }
    }

    /// Whether the server is a standby, or another that only reads.
    pub fn is_standby(&self) -> bool {
        if let Self::Connect(error) = self {
            return error.kind() == ConnectErrorKind::ReadOnly;
        }
        matches!(self, Self::Standby | Self::ReadOnly)
    }

    /// The same failure as one of applying a step: what it makes is there already.
    pub(super) fn of_step(self, step: &str) -> Self {
        if let Self::Database(error) = &self
            && is_about_a_duplicate(error.code())
        {
            let said = one_line(error.message());
            return Self::SchemaUnrecorded { step: step.to_owned(), said };
        }
        self
    }

    /// The same failure as one of reading or writing the history.
    pub(super) fn of_history(self) -> Self {
        if let Self::Database(error) = &self
            && is_about_the_schema(error.code())
        {
            return Self::HistoryAltered { said: one_line(error.message()) };
        }
        self
    }

    /// The same failure as one of a migration: another role is wanted for that than the relay's.
    pub(super) fn of_migration(self) -> Self {
        if let Self::PermissionDenied(said) = self {
            return Self::MigrationDenied(said);
        }
        self
    }

    /// Whether a statement took longer than it may.
    pub fn is_time_out(&self) -> bool {
        matches!(self, Self::Database(error) if error.code() == &SqlState::QUERY_CANCELED)
    }

    /// Whether a new connection, later, may work without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Lost(_)
            | Self::StatementLost(_)
            | Self::Standby
            | Self::ReadOnly
            | Self::Database(_) => true,
            Self::SchemaMissing { .. }
            | Self::SchemaOlder { .. }
            | Self::SchemaNewer { .. }
            | Self::SchemaEdited { .. }
            | Self::SchemaUnrecorded { .. }
            | Self::HistoryAltered { .. }
            | Self::NoEncoding { .. }
            | Self::Privileges { .. }
            | Self::PermissionDenied(_)
            | Self::MigrationDenied(_)
            | Self::FlagMissing
            | Self::Unfit { .. }
            | Self::Unexpected(_) => false,
        }
    }

    /// Whether the same statement would be refused again, however good the connection.
    pub fn is_lasting(&self) -> bool {
        if let Self::Database(error) = self {
            // Data, missing or wrong objects, objects not in the state for it.
            return ["22", "42", "55"].iter().any(|class| error.code().code().starts_with(class));
        }
        !self.is_transient()
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Lost(one_line(&error.to_string()));
        };
        if db.code() == &SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::PermissionDenied(one_line(db.message()));
        }
        if db.code() == &SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::ReadOnly;
        }
        if is_about_a_prepared_statement(db) {
            return Self::StatementLost(one_line(db.message()));
        }
        Self::Database(Box::new(db.clone()))
    }
}

/// A table, column, function or schema is not there, or not as it was.
fn is_about_the_schema(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::DATATYPE_MISMATCH,
        SqlState::INVALID_COLUMN_REFERENCE,
    ]
    .contains(code)
}

/// Something that was to be made is there already.
fn is_about_a_duplicate(code: &SqlState) -> bool {
    [
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_COLUMN,
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_FUNCTION,
        SqlState::DUPLICATE_SCHEMA,
    ]
    .contains(code)
}

/// What PostgreSQL says when a pooler has put another session behind a connection: the statement is not
/// there (26000), there already (42P05), or another one with other parameters (08P01).
fn is_about_a_prepared_statement(error: &DbError) -> bool {
    error.code() == &SqlState::INVALID_SQL_STATEMENT_NAME
        || error.code() == &SqlState::DUPLICATE_PSTATEMENT
        || (error.code() == &SqlState::PROTOCOL_VIOLATION
            && error.message().contains("prepared statement"))
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).next().unwrap_or_default().chars().take(300).collect()
}
