//! Looks at the outbox for metrics: bounded, by index only, on a connection of their own, so that a slow
//! one delays no batch.

use tokio::task::JoinSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::error::StoreError;
use super::schema_name::SchemaName;
use super::session::{Store, answered};
use super::statement::{StatementText, statement};

/// Beyond this nothing is counted further: an index scan of some milliseconds, and nobody acts
/// differently on more.
pub const OBSERVED_MAX: i64 = 10_000;

/// Tenants whose first event one look reads: some 20 ms. With more tenants waiting, the next look goes
/// on behind them.
const TENANTS_MAX: i32 = 1_000;

const BACKLOG: StatementText = statement!("observe_backlog", [INT8, TEXT, INT4, INT8]);
const HOLDS: StatementText = statement!("observe_holds", [INT8]);
const PAUSES: StatementText = statement!("observe_pauses", []);
const STATE: StatementText = statement!("observe_state", [INT8]);

/// The statements, for the test that prepares every one.
pub static STATEMENTS: [StatementText; 4] = [BACKLOG, HOLDS, PAUSES, STATE];

const SETTINGS: &str = include_str!("sql/observer_settings.sql");

/// What one look has seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Pending events, counted up to [`OBSERVED_MAX`].
    pub pending: i64,
    /// Age of the oldest pending event in seconds by the database's clock; `None` when nothing waits.
    pub oldest_pending_age: Option<f64>,
    /// Tenants on hold by reason, counted up to [`OBSERVED_MAX`].
    pub held: Vec<(String, i64)>,
    /// Pauses by scope: `all`, `tenant`, `type`.
    pub paused: Vec<(String, i64)>,
    /// Failed events about which nobody has decided, counted up to [`OBSERVED_MAX`].
    pub dead_letters: i64,
    /// Age of the oldest of them in seconds, since it was written.
    pub oldest_dead_letter_age: Option<f64>,
    /// Share of the server's notification queue that is used, 0 to 1.
    pub notify_queue_usage: f64,
    /// The event table; `None` when statistics are not collected.
    pub table: Option<TableHealth>,
}

/// The state of the event table as PostgreSQL's statistics have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableHealth {
    /// Rows, estimated.
    pub live_tuples: i64,
    /// Versions of rows that vacuum has still to remove, estimated.
    pub dead_tuples: i64,
    /// When it was last vacuumed, in seconds since 1970; `None` if never.
    pub vacuumed_at: Option<f64>,
    /// Size in bytes without indexes.
    pub bytes: i64,
}

/// A connection that only looks.
#[derive(Debug)]
pub struct Observer {
    client: Client,
    schema: SchemaName,
    /// Tenant after which the next look at first events begins.
    cursor: String,
    /// The oldest pending event that a look has seen: with many tenants the next look may be elsewhere.
    oldest: Option<i64>,
    // Dropping it closes the socket.
    _tasks: JoinSet<()>,
}

impl Store {
    /// Connects for looking.
    ///
    /// # Errors
    /// [`StoreError::Connect`].
    pub async fn observer(&self) -> Result<Observer, StoreError> {
        let (client, tasks) = self.raw_client().await?;
        let schema = self.schema().clone();
        Ok(Observer { client, schema, cursor: String::new(), oldest: None, _tasks: tasks })
    }
}

impl Observer {
    /// Looks once, for at most 6 s.
    ///
    /// # Errors
    /// Any; the connection should be given up then.
    pub async fn look(&mut self) -> Result<Observation, StoreError> {
        answered(self.look_at_all()).await
    }

    /// Age in seconds of the oldest pending event.
    ///
    /// # Errors
    /// As [`Observer::look`].
    pub async fn oldest_pending_age(&mut self) -> Result<Option<f64>, StoreError> {
        answered(async {
            let Self { client, schema, cursor, oldest, .. } = self;
            let work = begin(client).await?;
            Ok(backlog(&work, schema, cursor, oldest).await?.1)
        })
        .await
    }

    async fn look_at_all(&mut self) -> Result<Observation, StoreError> {
        let Self { client, schema, cursor, oldest, .. } = self;
        let work = begin(client).await?;
        let (pending, oldest_pending_age) = backlog(&work, schema, cursor, oldest).await?;
        let counted: [&(dyn ToSql + Sync); 1] = [&OBSERVED_MAX];
        let held = ask(&work, schema, &HOLDS, &counted).await?;
        let paused = ask(&work, schema, &PAUSES, &[]).await?;
        let state = ask(&work, schema, &STATE, &counted).await?;
        let state = state.first().ok_or_else(|| StoreError::Unexpected("no state".into()))?;
        Ok(Observation {
            pending,
            oldest_pending_age,
            held: counts(&held)?,
            paused: counts(&paused)?,
            dead_letters: state.try_get("dead_letters")?,
            oldest_dead_letter_age: state.try_get("dead_letter_age")?,
            notify_queue_usage: state.try_get("notify_queue_usage")?,
            table: table(state)?,
        })
    }
}

fn counts(rows: &[Row]) -> Result<Vec<(String, i64)>, StoreError> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn table(state: &Row) -> Result<Option<TableHealth>, StoreError> {
    let Some(live_tuples) = state.try_get("live_tuples")? else { return Ok(None) };
    Ok(Some(TableHealth {
        live_tuples,
        dead_tuples: state.try_get("dead_tuples")?,
        vacuumed_at: state.try_get("vacuumed_at")?,
        bytes: state.try_get("table_bytes")?,
    }))
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let work = client.build_transaction().read_only(true).start().await?;
    work.batch_execute(SETTINGS).await?;
    Ok(work)
}

async fn backlog(
    work: &Transaction<'_>,
    schema: &SchemaName,
    cursor: &mut String,
    oldest: &mut Option<i64>,
) -> Result<(i64, Option<f64>), StoreError> {
    let rows =
        ask(work, schema, &BACKLOG, &[&OBSERVED_MAX, &*cursor, &TENANTS_MAX, &*oldest]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Unexpected("no backlog".into()))?;
    *cursor = row.try_get::<_, Option<String>>("last_tenant")?.unwrap_or_default();
    *oldest = row.try_get("oldest")?;
    Ok((row.try_get("pending")?, row.try_get("age")?))
}

/// Not prepared by name: a pooler in transaction mode takes it too.
async fn ask(
    work: &Transaction<'_>,
    schema: &SchemaName,
    statement: &StatementText,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let types = statement.parameters.iter().cloned();
    let typed: Vec<(&(dyn ToSql + Sync), Type)> = parameters.iter().copied().zip(types).collect();
    Ok(work.query_typed(&schema.fill(statement.template), &typed).await?)
}
