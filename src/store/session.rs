//! One connection to the outbox's database, checked and with its statements at hand.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::claim::LockOwner;
use super::connect::{ConnectOptions, connect};
use super::dsn::{Dsn, SessionWanted};
use super::error::StoreError;
use super::migrate;
use super::schema_name::SchemaName;
use super::statement::{self, ALL, Statement};
use crate::domain::event::{Seq, TenantId};

/// Longest wait for an answer of PostgreSQL. Above the server's own `statement_timeout` of 15 s, so
/// that it ends only what can no longer be ended there: a connection that is dead without saying so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the outbox is. Cheap to clone; makes [`Session`]s.
#[derive(Debug, Clone)]
pub struct Store {
    dsn: Dsn,
    options: ConnectOptions,
    schema: Arc<SchemaName>,
    pooled: Pooled,
}

impl Store {
    /// Describes the outbox in `schema` of the database that `dsn` leads to. Connects to nothing.
    pub fn new(dsn: Dsn, options: ConnectOptions, schema: SchemaName) -> Self {
        let pooled = Pooled(Arc::new(AtomicBool::new(dsn.transaction_pooler())));
        Self { dsn, options, schema: Arc::new(schema), pooled }
    }

    /// The same for a server that need not take writes.
    pub(super) fn for_any_session(&self) -> Self {
        let mut store = self.clone();
        store.dsn.session = SessionWanted::Any;
        store
    }

    /// The outbox's schema.
    pub fn schema(&self) -> &SchemaName {
        &self.schema
    }

    pub(super) fn dsn(&self) -> &Dsn {
        &self.dsn
    }

    pub(super) fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// The database, fit for a message: no password.
    pub fn describe(&self) -> String {
        self.dsn.to_string()
    }

    /// Connects, and makes sure that this database can be worked with.
    ///
    /// # Errors
    /// [`StoreError`] says which of reachability, writability, schema and privileges is missing.
    pub async fn session(&self) -> Result<Session, StoreError> {
        match answered(self.open_session()).await {
            // A pooler that nobody told us of: from now on without prepared statements.
            Err(StoreError::StatementLost(_)) => answered(self.open_session()).await,
            result => result,
        }
    }

    async fn open_session(&self) -> Result<Session, StoreError> {
        let (mut client, tasks) = self.raw_client().await?;
        let may_claim_lone = inspect(&client, &self.schema).await?;
        migrate::refuse_older(&mut client, &self.schema).await?;
        let prepared = prepare(&client, &self.schema, &self.pooled).await?;
        let pooled = self.pooled.clone();
        let session = Session { client, prepared, pooled, may_claim_lone, _tasks: tasks };
        session.note_server_start().await?;
        Ok(session)
    }

    /// A connection without any check, for migrations.
    ///
    /// # Errors
    /// [`StoreError::Connect`].
    pub(super) async fn raw_client(&self) -> Result<(Client, JoinSet<()>), StoreError> {
        let (client, driver) = connect(&self.dsn, &self.options).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Why it ended reaches whoever waits for an answer on the client.
            _ = driver.run(None).await;
        });
        Ok((client, tasks))
    }

    /// Applies missing migrations; see [`migrate::up`].
    ///
    /// # Errors
    /// As [`migrate::up`].
    pub async fn migrate_up(&self) -> Result<Vec<&'static str>, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::up(&mut client, &self.schema).await.map_err(StoreError::of_migration)
    }

    /// The state of every migration; see [`migrate::status`].
    ///
    /// # Errors
    /// As [`migrate::status`].
    pub async fn migrate_status(&self) -> Result<Vec<migrate::StepStatus>, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        answered(migrate::status(&mut client, &self.schema)).await.map_err(StoreError::of_migration)
    }

    /// What is wrong with the schema; see [`migrate::verify`].
    ///
    /// # Errors
    /// As [`migrate::verify`].
    pub async fn migrate_verify(&self) -> Result<Vec<String>, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        answered(migrate::verify(&mut client, &self.schema)).await.map_err(StoreError::of_migration)
    }
}

/// Composition of a group that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Whose group.
    pub tenant_id: TenantId,
    /// Base of its message ids.
    pub base_id: String,
    /// Its events, in order.
    pub seqs: Vec<Seq>,
}

/// How much is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Pending events, counted up to the limit asked for.
    pub pending: i64,
    /// Tenants on hold.
    pub held_tenants: i64,
}

/// A checked connection outside any transaction.
#[derive(Debug)]
pub struct Session {
    client: Client,
    prepared: Prepared,
    pooled: Pooled,
    /// Whether this role may call claim_lone: `migrate grants` of an earlier version did not give it.
    pub(super) may_claim_lone: bool,
    // Dropping it closes the socket, and PostgreSQL rolls back what was open.
    _tasks: JoinSet<()>,
}

/// Whether a pooler in transaction mode is known to stand before the database: by the connection string,
/// or because a prepared statement got lost. Shared by all connections of a [`Store`] and its clones.
#[derive(Debug, Clone)]
struct Pooled(Arc<AtomicBool>);

impl Pooled {
    fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Reads a driver's error, and learns from it.
    fn learn(&self, error: tokio_postgres::Error) -> StoreError {
        let error = StoreError::from(error);
        if matches!(error, StoreError::StatementLost(_)) && !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                remedy = error.remedy(),
                "DATABASE_URL leads through a pooler in transaction mode; going on without prepared statements"
            );
        }
        error
    }
}

/// How statements reach the server.
#[derive(Debug)]
enum Prepared {
    /// Prepared once a connection.
    Named(Vec<tokio_postgres::Statement>),
    /// Parsed at each call: a pooler in transaction mode hands out another server each time.
    PerCall(Vec<String>),
}

impl Session {
    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Commits the composition of groups; returns the tenants recorded. One that is missing has a
    /// record already, or `owner` has lost its lock: it must not be sent.
    ///
    /// # Errors
    /// When PostgreSQL did not answer that they are committed.
    pub async fn record_groups(
        &self,
        groups: &[NewGroup],
        owner: LockOwner,
    ) -> Result<HashSet<TenantId>, StoreError> {
        let tenants: Vec<&str> = groups.iter().map(|g| g.tenant_id.as_str()).collect();
        let bases: Vec<&str> = groups.iter().map(|g| g.base_id.as_str()).collect();
        let seqs: Vec<String> = groups.iter().map(|g| array_literal(&g.seqs)).collect();
        let rows =
            answered(self.query(Statement::RecordGroups, &[&tenants, &bases, &seqs, &owner.0]))
                .await?;
        rows.iter().map(|row| Ok(TenantId::new(row.try_get::<_, String>(0)?))).collect()
    }

    /// Counts, committed, that events of these tenants were in flight and nobody settled them. Returns each
    /// tenant's count in a row.
    ///
    /// # Errors
    /// When PostgreSQL did not answer that it is committed.
    pub async fn count_crashes(
        &self,
        tenants: &[TenantId],
    ) -> Result<HashMap<TenantId, i32>, StoreError> {
        let tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let rows = answered(self.query(Statement::CountCrashes, &[&tenants])).await?;
        rows.iter()
            .map(|row| Ok((TenantId::new(row.try_get::<_, String>(0)?), row.try_get(1)?)))
            .collect()
    }

    /// Counts pending events up to `limit`, and tenants on hold.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn backlog(&self, limit: i64) -> Result<Backlog, StoreError> {
        let rows = answered(self.query(Statement::Backlog, &[&limit])).await?;
        let row = rows.first().ok_or_else(|| StoreError::Unexpected("no backlog".into()))?;
        Ok(Backlog { pending: row.try_get(0)?, held_tenants: row.try_get(1)? })
    }

    /// Notes the time if nobody has since PostgreSQL crashed or was promoted. A new connection does; one
    /// through a pooler outlives a crash, so it has to be done now and then as well.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn note_server_start(&self) -> Result<(), StoreError> {
        answered(self.run(Statement::MarkServerStart, &[])).await
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn notify(&self, channel: &str, payload: &str) -> Result<(), StoreError> {
        answered(self.run(Statement::Notify, &[&channel, &payload])).await
    }

    pub(super) async fn command(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn query(
        &self,
        statement: Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match &self.prepared {
            Prepared::Named(all) => self.client.query(&all[statement.index()], parameters).await,
            Prepared::PerCall(all) => {
                let types = statement.text().parameters.iter().cloned();
                let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
                self.client.query_typed(&all[statement.index()], &typed).await
            }
        };
        rows.map_err(|error| self.pooled.learn(error))
    }

    pub(super) async fn run(
        &self,
        statement: Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), StoreError> {
        self.query(statement, parameters).await.map(|_| ())
    }
}

/// Bounds the wait for PostgreSQL.
pub(super) async fn answered<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Lost(format!("no answer for {} s", ANSWER_TIMEOUT.as_secs()))),
    }
}

/// `{1,2,3}`: an array inside an array parameter must travel as text.
fn array_literal(seqs: &[Seq]) -> String {
    let inner: Vec<String> = seqs.iter().map(ToString::to_string).collect();
    format!("{{{}}}", inner.join(","))
}

/// Whether claim_lone may be called.
async fn inspect(client: &Client, schema: &SchemaName) -> Result<bool, StoreError> {
    // Typed with no parameters: no named statement, so a transaction pooler takes it too.
    let rows = client.query_typed(&statement::inspect(schema), &[]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Unexpected("no inspection".into()))?;
    if row.try_get::<_, bool>("standby")? {
        return Err(StoreError::Standby);
    }
    if row.try_get::<_, bool>("read_only")? {
        return Err(StoreError::ReadOnly);
    }
    if row.try_get("no_encoding")? {
        return Err(StoreError::NoEncoding { database: row.try_get("database")? });
    }
    if !row.try_get::<_, bool>("there")? {
        let (schema, database) = (schema.to_string(), row.try_get("database")?);
        return Err(StoreError::SchemaMissing { schema, database });
    }
    let lacking: Vec<String> = row.try_get("lacking")?;
    if !lacking.is_empty() {
        return Err(StoreError::Privileges { role: row.try_get("role")?, lacking });
    }
    Ok(row.try_get("may_claim_lone")?)
}

async fn prepare(
    client: &Client,
    schema: &SchemaName,
    pooled: &Pooled,
) -> Result<Prepared, StoreError> {
    let texts: Vec<String> = ALL.iter().map(|s| schema.fill(s.template)).collect();
    if pooled.is_known() {
        return Ok(Prepared::PerCall(texts));
    }
    // All at once: one round trip instead of fourteen.
    let mut all = Vec::with_capacity(ALL.len());
    for (statement, text) in ALL.iter().zip(&texts) {
        all.push(client.prepare_typed(text, statement.parameters).boxed());
    }
    // Every answer is waited for, also after the first error: a connection that ends with statements under way
    // leaves their answers to whom a pooler gives the server's session next (seen: 42P05 while connecting).
    let all = futures_util::future::join_all(all).await.into_iter().collect::<Result<_, _>>();
    Ok(Prepared::Named(all.map_err(|error| pooled.learn(error))?))
}
