//! Brings a database's outbox to the schema this program knows.
//!
//! `migrations/` are applied once, in order, and never change; `triggers/` (functions and triggers) are
//! applied again whenever their text has changed. Each step is one transaction under an advisory
//! lock, so any number of processes may migrate at once.

mod verify;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use super::error::StoreError;
use super::schema_name::SchemaName;

pub use verify::verify;

/// One embedded file.
#[derive(Debug)]
pub struct Step {
    /// File name without the ending.
    pub name: &'static str,
    sql: &'static str,
    kind: Kind,
}

/// How a step is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Once, and never changed afterwards.
    Migration,
    /// Again whenever the text has changed.
    Repeatable,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Migration => "migration",
            Self::Repeatable => "repeatable",
        }
    }
}

macro_rules! step {
    (migrations / $name:literal) => {
        Step {
            name: $name,
            sql: include_str!(concat!("../../migrations/", $name, ".sql")),
            kind: Kind::Migration,
        }
    };
    (triggers / $name:literal) => {
        Step {
            name: $name,
            sql: include_str!(concat!("../../triggers/", $name, ".sql")),
            kind: Kind::Repeatable,
        }
    };
}

/// Every step, in the order of application.
pub static STEPS: [Step; 17] = [
    step!(migrations / "0001_outbox"),
    step!(migrations / "0002_dead_letters"),
    step!(migrations / "0003_crashes"),
    step!(migrations / "0004_archive"),
    step!(migrations / "0005_bell"),
    step!(migrations / "0006_vacuum"),
    step!(migrations / "0007_adopted"),
    step!(migrations / "0008_pause"),
    step!(migrations / "0009_traceparent"),
    step!(migrations / "0010_partitions"),
    step!(triggers / "event_bell"),
    step!(triggers / "event_guard"),
    step!(triggers / "event_again"),
    step!(triggers / "enqueue"),
    step!(triggers / "event_adopted"),
    step!(triggers / "partitions"),
    step!(triggers / "claim_lone"),
];

/// How long a step waits for another process that is migrating.
const QUEUE_TIMEOUT: &str = "60s";

/// How long a step waits for a table lock before it gives up: while it waits, every writer that
/// comes later waits behind it.
const LOCK_TIMEOUT: &str = "5s";

/// What is known of one step in one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// As embedded.
    Applied,
    /// Not there yet.
    Missing,
    /// There with another text: a repeatable step to apply again, or a migration that was edited.
    Changed,
}

/// A step and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// The step's name.
    pub name: String,
    /// Its state.
    pub state: StepState,
    /// Whether it is applied again when its text changes.
    pub repeatable: bool,
}

impl Step {
    /// Whether it is applied again when its text changes.
    pub(super) fn is_repeatable(&self) -> bool {
        self.kind == Kind::Repeatable
    }

    /// Its SQL with its row in the history.
    pub(super) fn script(&self, schema: &SchemaName) -> String {
        format!(
            "{}{} values ('{}', '{}', '{}') on conflict (name) do update set checksum = excluded.checksum;\n",
            schema.fill(self.sql),
            schema.fill("insert into :\"schema\".schema_history (name, kind, checksum)"),
            self.name,
            self.kind.as_str(),
            self.checksum(),
        )
    }

    /// The text, with the schema's name left open.
    pub(super) fn sql(&self) -> &'static str {
        self.sql
    }

    fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Applies what is missing and returns the names of the steps applied, none when all is as it should be.
///
/// # Errors
/// [`StoreError::SchemaNewer`] and [`StoreError::SchemaEdited`] before anything is changed; database
/// errors with the step's transaction rolled back.
pub async fn up(client: &mut Client, schema: &SchemaName) -> Result<Vec<&'static str>, StoreError> {
    make_history(client, schema).await?;
    refuse_unknown(client, schema).await?;
    let mut applied = Vec::new();
    for step in &STEPS {
        let transaction = begin(client, schema).await?;
        match state_of(&transaction, schema, step).await? {
            StepState::Applied => {}
            StepState::Changed if step.kind == Kind::Migration => {
                return Err(StoreError::SchemaEdited { step: step.name.to_owned() });
            }
            StepState::Missing | StepState::Changed => {
                transaction
                    .batch_execute(&schema.fill(step.sql))
                    .await
                    .map_err(|error| StoreError::from(error).of_step(step.name))?;
                remember(&transaction, schema, step).await?;
                applied.push(step.name);
            }
        }
        transaction.commit().await?;
    }
    Ok(applied)
}

/// The state of every step. Changes nothing.
///
/// # Errors
/// [`StoreError::SchemaNewer`] when the database knows a migration that this program does not.
pub async fn status(
    client: &mut Client,
    schema: &SchemaName,
) -> Result<Vec<StepStatus>, StoreError> {
    status_for(client, schema, Purpose::Migrating).await
}

/// What a database with steps that this program does not know is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Then any of them is a reason to stop: it could be undone or misread.
    Migrating,
    /// Then only those are that say so in their name: the rest adds something that an older relay can do
    /// without, so that old and new relays run side by side while a version is rolled out.
    Working,
}

async fn status_for(
    client: &mut Client,
    schema: &SchemaName,
    purpose: Purpose,
) -> Result<Vec<StepStatus>, StoreError> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    let known = history_exists(&transaction, schema).await?;
    if known {
        refuse_unknown_in(&transaction, schema, purpose).await?;
    }
    let mut all = Vec::with_capacity(STEPS.len());
    for step in &STEPS {
        let state =
            if known { state_of(&transaction, schema, step).await? } else { StepState::Missing };
        let repeatable = step.is_repeatable();
        all.push(StepStatus { name: step.name.to_owned(), state, repeatable });
    }
    transaction.rollback().await?;
    Ok(all)
}

/// Refuses an outbox that lacks a step, or has one that an older relay cannot work with.
pub(super) async fn refuse_older(
    client: &mut Client,
    schema: &SchemaName,
) -> Result<(), StoreError> {
    let steps = status_for(client, schema, Purpose::Working).await?;
    let missing = steps.into_iter().find(|step| step.state == StepState::Missing);
    missing.map_or(Ok(()), |step| Err(StoreError::SchemaOlder { step: step.name }))
}

/// The whole schema as one SQL text, for a migration tool or a database administrator. It leaves
/// the same history behind, so that `up`, `status` and `verify` know what it did.
pub fn print(schema: &SchemaName) -> String {
    let mut out = preamble(schema);
    for step in &STEPS {
        _ = write!(out, "\n-- {} {}\n{}", step.kind.as_str(), step.name, step.script(schema));
    }
    out
}

/// What every step stands on: the schema and its history.
pub(super) fn preamble(schema: &SchemaName) -> String {
    schema.fill("create schema if not exists :\"schema\";\n\n") + &schema.fill(HISTORY) + ";\n"
}

/// Part of the name of a migration after which older relays must not run.
const BREAKING: &str = "breaking";

const HISTORY: &str = "create table if not exists :\"schema\".schema_history (
  name       text primary key,
  kind       text not null,
  checksum   text not null,
  applied_at timestamptz not null default pg_catalog.clock_timestamp()
)";

async fn begin<'c>(
    client: &'c mut Client,
    schema: &SchemaName,
) -> Result<Transaction<'c>, StoreError> {
    let transaction = client.transaction().await?;
    let lock = format!(
        "set local lock_timeout = '{QUEUE_TIMEOUT}'; \
         select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('outbox-relay migrate ' || :'schema', 0)); \
         set local lock_timeout = '{LOCK_TIMEOUT}'"
    );
    transaction.batch_execute(&schema.fill(&lock)).await?;
    Ok(transaction)
}

async fn make_history(client: &mut Client, schema: &SchemaName) -> Result<(), StoreError> {
    let transaction = begin(client, schema).await?;
    if !history_exists(&transaction, schema).await? {
        // Asked first: `if not exists` wants the right to create schemas even when there is nothing to do.
        let there = schema.fill(
            "select pg_catalog.to_regnamespace(pg_catalog.quote_ident(:'schema')) is not null",
        );
        if !transaction.query_typed_one(&there, &[]).await?.get::<_, bool>(0) {
            transaction.batch_execute(&schema.fill("create schema :\"schema\"")).await?;
        }
        transaction.batch_execute(&schema.fill(HISTORY)).await?;
    }
    Ok(transaction.commit().await?)
}

async fn history_exists(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
) -> Result<bool, StoreError> {
    let sql = schema.fill(
        "select pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.schema_history') is not null",
    );
    Ok(transaction.query_typed_one(&sql, &[]).await?.get(0))
}

async fn refuse_unknown(client: &mut Client, schema: &SchemaName) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    refuse_unknown_in(&transaction, schema, Purpose::Migrating).await?;
    Ok(transaction.rollback().await?)
}

/// A migration that this program does not know was applied by a newer one.
async fn refuse_unknown_in(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    purpose: Purpose,
) -> Result<(), StoreError> {
    let sql = schema
        .fill("select name from :\"schema\".schema_history where kind = 'migration' order by name");
    let unknown = transaction
        .query_typed(&sql, &[])
        .await
        .map_err(|error| StoreError::from(error).of_history())?
        .iter()
        .map(|row| row.get::<_, String>(0))
        .filter(|name| !STEPS.iter().any(|step| step.name == name))
        .find(|name| purpose == Purpose::Migrating || name.contains(BREAKING));
    unknown.map_or(Ok(()), |step| Err(StoreError::SchemaNewer { step }))
}

async fn state_of(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    step: &Step,
) -> Result<StepState, StoreError> {
    let sql = schema.fill("select checksum from :\"schema\".schema_history where name = $1");
    let row = transaction
        .query_typed_opt(&sql, &[(&step.name, Type::TEXT)])
        .await
        .map_err(|error| StoreError::from(error).of_history())?;
    Ok(match row.map(|row| row.get::<_, String>(0)) {
        None => StepState::Missing,
        Some(checksum) if checksum == step.checksum() => StepState::Applied,
        Some(_) => StepState::Changed,
    })
}

async fn remember(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    step: &Step,
) -> Result<(), StoreError> {
    let sql = schema.fill(
        "insert into :\"schema\".schema_history (name, kind, checksum) values ($1, $2, $3) \
         on conflict (name) do update set checksum = excluded.checksum, applied_at = pg_catalog.clock_timestamp()",
    );
    let (kind, checksum) = (step.kind.as_str(), step.checksum());
    let row: [(&(dyn ToSql + Sync), Type); 3] =
        [(&step.name, Type::TEXT), (&kind, Type::TEXT), (&checksum, Type::TEXT)];
    transaction
        .query_typed(&sql, &row)
        .await
        .map_err(|error| StoreError::from(error).of_history())?;
    Ok(())
}
