//! How the outbox is, in numbers, from SQL alone: for `stats` and `top`. Every question is bounded in rows and time, and one that
//! takes too long leaves its own numbers out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;

use super::decide::HeldTenant;
use super::error::StoreError;
use super::operator::Operator;
use super::pause::Pause;
use super::session::answered;
use super::statement::{StatementText, statement};

const PENDING: StatementText = statement!("stats_pending", [INT8, INT8]);
const PUBLISHED: StatementText = statement!("stats_published", [INT8]);
const FAILED: StatementText = statement!("stats_failed", [INT8, INT8]);
const SERVER: StatementText = statement!("stats_server", []);

/// The statements, for the test that prepares every one.
pub static STATEMENTS: [StatementText; 4] = [PENDING, PUBLISHED, FAILED, SERVER];

/// How much one look reads.
#[derive(Debug, Clone, Copy)]
pub struct StatsLimits {
    /// Rows that are read at most to count something.
    pub counted: i64,
    /// Tenants, types, codes, holds and pauses that are listed.
    pub listed: i64,
}

/// What one look has seen. What PostgreSQL did not say in time is `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// What waits.
    pub pending: Option<Pending>,
    /// What was published lately.
    pub published: Option<Published>,
    /// Failed events about which nobody has decided.
    pub dead_letters: Option<DeadLetters>,
    /// What is paused.
    pub pauses: Option<Vec<Pause>>,
    /// Tenants on hold.
    pub holds: Option<Vec<HeldTenant>>,
    /// The event table.
    pub table: Option<Table>,
    /// Who is connected by our name, this command apart.
    pub relays: Option<Vec<Connected>>,
}

/// What waits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Pending {
    /// Events, counted up to the limit.
    pub events: i64,
    /// Whether there are more; then the lists are about the first tenants only.
    pub more: bool,
    /// Age of the oldest of them.
    pub oldest_age_seconds: Option<f64>,
    /// Tenants with most of them.
    pub tenants: Vec<Counted>,
    /// Types with most of them.
    pub types: Vec<Counted>,
}

/// How many there are of something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Tenant, event type or code.
    pub name: String,
    /// How many events.
    pub events: i64,
    /// Age of the oldest; `None` when its time is infinite.
    pub oldest_age_seconds: Option<f64>,
}

/// What was published lately, among the newest positions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Published {
    /// In the last minute.
    pub last_minute: i64,
    /// In the last five.
    pub last_5_minutes: i64,
    /// Whether more was written in that time than was looked at.
    pub more: bool,
    /// Median of the time from insert to settlement, over five minutes.
    pub latency_p50_seconds: Option<f64>,
    /// The same, 99th percentile.
    pub latency_p99_seconds: Option<f64>,
    /// The highest position: its growth is what is written.
    pub last_position: i64,
}

/// Failed events about which nobody has decided.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Counted up to the limit.
    pub events: i64,
    /// Whether there are more.
    pub more: bool,
    /// By code: Ably's where there is one.
    pub codes: Vec<Counted>,
}

/// The event table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// Rows, estimated.
    pub live_rows: i64,
    /// Versions of rows that vacuum has still to remove, estimated.
    pub dead_rows: i64,
    /// Rows updated since statistics began: its growth is what is settled, nearly.
    pub updates: i64,
    /// Without indexes.
    pub table_bytes: i64,
    /// All indexes.
    pub index_bytes: i64,
    /// When it was last vacuumed, RFC 3339; `None` if never.
    pub vacuumed_at: Option<String>,
    /// The largest first.
    pub indexes: Vec<Index>,
}

/// An index.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: i64,
}

/// Sessions by the name that they gave themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Connected {
    /// `application_name`: program and version.
    pub name: String,
    /// How many.
    pub sessions: i64,
}

#[derive(Deserialize)]
struct Server {
    table: Option<Table>,
    relays: Vec<Connected>,
}

impl Operator {
    /// Looks once. Each of its six questions may take 2 s.
    ///
    /// # Errors
    /// When the connection is lost, or this role may not ask; a question that takes too long is no error.
    pub async fn stats(&mut self, limits: StatsLimits) -> Result<Stats, StoreError> {
        let StatsLimits { counted, listed } = limits;
        let server: Option<Server> = self.ask(&SERVER, &[]).await?;
        let (table, relays) = server.map_or((None, None), |s| (s.table, Some(s.relays)));
        Ok(Stats {
            pending: self.ask(&PENDING, &[&counted, &listed]).await?,
            published: self.ask(&PUBLISHED, &[&counted]).await?,
            dead_letters: self.ask(&FAILED, &[&counted, &listed]).await?,
            pauses: in_time(self.pauses(listed).await)?,
            holds: in_time(self.holds("", None, listed, counted.min(1_000)).await)?,
            table,
            relays,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<T>, StoreError> {
        let rows = answered(async {
            let work = self.begin_looking().await?;
            work.query(statement, parameters).await
        });
        let Some(rows) = in_time(rows.await)? else { return Ok(None) };
        let row = rows.first().ok_or_else(|| StoreError::Unexpected("no numbers".into()))?;
        let text: String = row.try_get(0)?;
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| StoreError::Unexpected(error.to_string()))
    }
}

/// What took too long is left out.
fn in_time<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Database(error))
            if error.code() == &tokio_postgres::error::SqlState::QUERY_CANCELED =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
