//! What an operator's command sees of the outbox: lists, single events, counts. Each call is a short
//! transaction with bounds of its own; none reads published history.

use tokio::task::JoinSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::error::StoreError;
use super::migrate;
use super::operator_statement as sql;
use super::schema_name::SchemaName;
use super::session::{Store, answered};
use super::statement::StatementText;
use super::stored_event::{
    AuditRow, EventFilter, EventStatus, FailedCount, Found, StoredEvent, audit_row, stored_event,
};
use crate::domain::event::{Seq, TenantId};

/// How far back from the newest position published events are looked for.
pub const PUBLISHED_WINDOW: i64 = 100_000;

/// The most failed events that are counted.
pub const COUNT_MAX: i64 = 100_000;

/// A connection for an operator's command.
#[derive(Debug)]
pub struct Operator {
    client: Client,
    pub(super) schema: SchemaName,
    role: String,
    now_ms: i64,
    // Dropping it closes the socket, and PostgreSQL rolls back what was open.
    _tasks: JoinSet<()>,
}

/// One transaction of an operator.
pub(super) struct Work<'c> {
    transaction: Transaction<'c>,
    schema: &'c SchemaName,
}

impl Store {
    /// Connects for an operator's command, with no more rights than that needs.
    ///
    /// # Errors
    /// When the database cannot be reached, or has no outbox or another version's.
    pub async fn operator(&self) -> Result<Operator, StoreError> {
        answered(async {
            let (mut client, tasks) = self.raw_client().await?;
            let schema = self.schema().clone();
            let rows = client.query_typed(&schema.fill(sql::INSPECT.template), &[]).await?;
            let row = rows.first().ok_or_else(|| StoreError::Unexpected("no inspection".into()))?;
            if !row.try_get::<_, bool>("there")? {
                let (schema, database) = (schema.to_string(), row.try_get("database")?);
                return Err(StoreError::SchemaMissing { schema, database });
            }
            let (role, now_ms) = (row.try_get("role")?, row.try_get("now_ms")?);
            migrate::refuse_older(&mut client, &schema).await?;
            Ok(Operator { client, schema, role, now_ms, _tasks: tasks })
        })
        .await
    }
}

impl Operator {
    /// The database role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The server's clock when the connection was made, in ms since 1970.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Failed and published events newest first, pending ones by tenant and position.
    ///
    /// # Errors
    /// Any; a time-out when the filter fits too little of too much.
    pub async fn list(
        &mut self,
        status: EventStatus,
        filter: &EventFilter,
        limit: i64,
        payload: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        answered(async {
            let work = self.begin().await?;
            let f = Parameters::of(filter);
            let (statement, parameters) = match status {
                EventStatus::Failed => (&sql::NEWEST_FAILED, f.with([&f.4, &limit])),
                EventStatus::Pending => (&sql::FIRST_PENDING, f.with([&limit])),
                EventStatus::Published => {
                    (&sql::NEWEST_PUBLISHED, f.with([&limit, &PUBLISHED_WINDOW]))
                }
            };
            let rows = work.query(statement, &parameters).await?;
            let seqs: Vec<i64> = rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?;
            read(&work, &seqs, payload).await
        })
        .await
    }

    /// Events at these positions, in the order of the positions; missing ones are left out.
    ///
    /// # Errors
    /// Any.
    pub async fn events(
        &mut self,
        seqs: &[Seq],
        payload: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        answered(async { read(&self.begin().await?, &seqs, payload).await }).await
    }

    /// The highest position, zero when there is none.
    ///
    /// # Errors
    /// Any.
    pub async fn last_position(&mut self) -> Result<i64, StoreError> {
        answered(async {
            let rows = self.begin().await?.query(&sql::LAST_POSITION, &[]).await?;
            rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
        })
        .await
    }

    /// Positions after one, lowest first.
    ///
    /// # Errors
    /// Any.
    pub async fn next_positions(&mut self, after: i64, limit: i64) -> Result<Vec<Seq>, StoreError> {
        answered(async {
            let rows = self.begin().await?.query(&sql::NEXT_EVENTS, &[&after, &limit]).await?;
            rows.iter().map(|row| Ok(Seq(row.try_get(0)?))).collect()
        })
        .await
    }

    /// The positions of the events with one of these ids or positions.
    ///
    /// # Errors
    /// Any.
    pub async fn find(&mut self, ids: &[&str], seqs: &[i64]) -> Result<Vec<Found>, StoreError> {
        answered(async {
            let rows = self.begin().await?.query(&sql::FIND_EVENTS, &[&ids, &seqs]).await?;
            let found = |row: &Row| {
                let (seq, id, by_id) = (Seq(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?);
                Ok(Found { seq, id, by_id })
            };
            rows.iter().map(found).collect()
        })
        .await
    }

    /// Counts failed events.
    ///
    /// # Errors
    /// Any.
    pub async fn count_failed(&mut self, filter: &EventFilter) -> Result<FailedCount, StoreError> {
        answered(async {
            let f = Parameters::of(filter);
            let limit = COUNT_MAX + 1;
            let work = self.begin().await?;
            let rows = work.query(&sql::COUNT_FAILED, &f.with([&f.4, &limit])).await?;
            let row = rows.first().ok_or_else(|| StoreError::Unexpected("no count".into()))?;
            let last: Option<i64> = row.try_get("last")?;
            Ok(FailedCount {
                events: row.try_get("events")?,
                tenants: row.try_get("tenants")?,
                last: last.map(Seq),
            })
        })
        .await
    }

    /// Failed events after one position up to another, in order.
    ///
    /// # Errors
    /// Any.
    pub async fn next_failed(
        &mut self,
        filter: &EventFilter,
        after: Seq,
        last: Seq,
        limit: i64,
    ) -> Result<Vec<(Seq, TenantId)>, StoreError> {
        answered(async {
            let f = Parameters::of(filter);
            let parameters = f.with([&f.4, &after.0, &last.0, &limit]);
            let rows = self.begin().await?.query(&sql::NEXT_FAILED, &parameters).await?;
            let event =
                |row: &Row| Ok((Seq(row.try_get(0)?), TenantId::new(row.try_get::<_, String>(1)?)));
            rows.iter().map(event).collect()
        })
        .await
    }

    /// What was decided about an event, newest first.
    ///
    /// # Errors
    /// Any.
    pub async fn audit_of(&mut self, seq: Seq, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
        answered(async {
            let rows = self.begin().await?.query(&sql::READ_AUDIT, &[&seq.0, &limit]).await?;
            rows.iter().map(audit_row).collect()
        })
        .await
    }

    /// A transaction in which each statement may take 2 s.
    pub(super) async fn begin_looking(&mut self) -> Result<Work<'_>, StoreError> {
        let work = self.begin().await?;
        work.transaction.batch_execute(sql::LOOK_SETTINGS).await?;
        Ok(work)
    }

    pub(super) async fn begin(&mut self) -> Result<Work<'_>, StoreError> {
        let transaction = self.client.transaction().await?;
        transaction.batch_execute(sql::SETTINGS).await?;
        Ok(Work { transaction, schema: &self.schema })
    }
}

impl Work<'_> {
    pub(super) async fn query(
        &self,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let types = statement.parameters.iter().cloned();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> =
            parameters.iter().copied().zip(types).collect();
        Ok(self.transaction.query_typed(&self.schema.fill(statement.template), &typed).await?)
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

/// A filter as parameters 1 to 5.
struct Parameters<'f>(Option<&'f str>, Option<&'f str>, Option<&'f str>, Option<i64>, bool);

impl<'f> Parameters<'f> {
    fn of(filter: &'f EventFilter) -> Self {
        Self(
            filter.tenant.as_deref(),
            filter.event_type.as_deref(),
            filter.code.as_deref(),
            filter.since_ms,
            filter.discarded,
        )
    }

    /// The first four, and more behind them.
    fn with<'p, const N: usize>(
        &'p self,
        more: [&'p (dyn ToSql + Sync); N],
    ) -> Vec<&'p (dyn ToSql + Sync)> {
        let first: [&(dyn ToSql + Sync); 4] = [&self.0, &self.1, &self.2, &self.3];
        first.into_iter().chain(more).collect()
    }
}

pub(super) async fn read(
    work: &Work<'_>,
    seqs: &[i64],
    payload: bool,
) -> Result<Vec<StoredEvent>, StoreError> {
    let statement = if payload { &sql::READ_EVENTS_WHOLE } else { &sql::READ_EVENTS };
    let rows = work.query(statement, &[&seqs]).await?;
    rows.iter().map(stored_event).collect()
}
