//! What `doctor` asks of a database. Facts only; what they mean is judged elsewhere. No check of a running
//! relay stands in the way: whatever is wrong should be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::error::StoreError;
use super::migrate::{self, STEPS};
use super::session::{Store, answered};
use super::statement::{self, ALL, BEGIN, Statement, StatementText};

static SERVER: StatementText = StatementText {
    name: "diagnose_server",
    template: include_str!("sql/diagnose_server.sql"),
    parameters: &[],
};
static SCHEMA: StatementText = StatementText {
    name: "diagnose_schema",
    template: include_str!("sql/diagnose_schema.sql"),
    parameters: &[],
};

/// The statements, for the test that prepares every one.
pub static STATEMENTS: [&StatementText; 2] = [&SERVER, &SCHEMA];

/// The server and the session.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerFacts {
    /// `server_version_num`.
    pub version: i32,
    /// The database.
    pub database: String,
    /// The role that logged in.
    pub role: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// In recovery.
    pub standby: bool,
    /// `default_transaction_read_only`.
    pub read_only: bool,
    /// `server_encoding`.
    pub encoding: String,
    /// TLS version and cipher; `None` without TLS.
    pub tls: Option<String>,
    /// The server's address; `None` over a unix socket.
    pub address: Option<String>,
    /// Its clock, in ms since 1970.
    pub clock_ms: i64,
    /// `idle_session_timeout`, in ms; 0 is none.
    pub idle_session_timeout_ms: i64,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// `fsync`.
    pub fsync: bool,
    /// `autovacuum` of the server.
    pub autovacuum: bool,
    /// `outbox.max_message_bytes`, if set.
    pub max_message_bytes: Option<String>,
    /// Sessions of clients.
    pub connections: i64,
    /// As many as may be, without those kept for superusers.
    pub connections_max: i64,
    /// Sessions by application name, of relays.
    pub relays: BTreeMap<String, i64>,
    /// The oldest snapshots, oldest first.
    pub old_snapshots: Vec<OldSnapshot>,
    /// Replication slots that nobody uses and that hold vacuum back.
    pub idle_slots: Vec<String>,
}

/// Somebody who keeps vacuum from removing old versions of rows.
#[derive(Debug, Clone, Deserialize)]
pub struct OldSnapshot {
    /// Which session or prepared transaction.
    pub who: String,
    /// Its process, if it has one.
    pub pid: Option<i32>,
    /// How long its transaction has been open, in seconds.
    pub age_s: Option<f64>,
    /// The begin of its last query.
    pub query: String,
}

/// The outbox in the catalogue.
#[derive(Debug, Clone, Deserialize)]
pub struct SchemaFacts {
    /// Whether there is a table `event`.
    pub there: bool,
    /// Its owner.
    pub owner: Option<String>,
    /// A crash empties it.
    pub unlogged: Option<bool>,
    /// Row level security.
    pub row_security: Option<bool>,
    /// Whether it is partitioned.
    pub partitioned: bool,
    /// Partitions that wait ahead of the last position.
    pub partitions_ahead: i64,
    /// Rows of the default partition, by the statistics.
    pub in_default: i64,
    /// The table's own `autovacuum_enabled = off`.
    pub autovacuum_off: bool,
    /// Its indexes, and whether each can be used.
    pub indexes: BTreeMap<String, bool>,
    /// Its triggers, with `tgenabled`.
    pub triggers: BTreeMap<String, String>,
    /// Bodies of our functions.
    pub functions: BTreeMap<String, String>,
    /// Privileges of this role that a relay does not need.
    pub too_much: Vec<String>,
    /// What everybody may do with the table.
    pub public: Vec<String>,
}

impl SchemaFacts {
    /// Functions that are not there or not as this program made them.
    pub fn changed_functions(&self, schema: &super::schema_name::SchemaName) -> Vec<&'static str> {
        let texts: Vec<String> = STEPS.iter().map(|step| schema.fill(step.sql())).collect();
        ["ring_bell", "refuse_unpublish", "enqueue"]
            .into_iter()
            .filter(|name| {
                let body = self.functions.get(*name);
                !body.is_some_and(|body| texts.iter().any(|text| text.contains(body.as_str())))
            })
            .collect()
    }
}

/// A connection for looking at whatever is there.
#[derive(Debug)]
pub struct Examination {
    client: Client,
    store: Store,
    // Dropping it closes the socket.
    _tasks: JoinSet<()>,
}

impl Store {
    /// Connects for `doctor`, which checks nothing by that.
    ///
    /// # Errors
    /// [`StoreError::Connect`].
    pub async fn examination(&self) -> Result<Examination, StoreError> {
        // Also of a server that only reads: that is what is to be found.
        let store = self.for_any_session();
        let (client, tasks) = answered(store.raw_client()).await?;
        Ok(Examination { client, store, _tasks: tasks })
    }

    /// Whether a notification sent over this connection's database arrives at `direct`, and how fast. `None` when
    /// it does not within `patience`.
    ///
    /// # Errors
    /// When either side cannot be used at all.
    pub async fn round_trip(
        &self,
        direct: &Self,
        patience: Duration,
    ) -> Result<Option<Duration>, StoreError> {
        let channel = format!("outbox_relay_doctor_{}", uuid::Uuid::now_v7().simple());
        let mut listening = direct.listen(&[&channel]).await?;
        let (client, _tasks) = answered(self.raw_client()).await?;
        let begun = Instant::now();
        let text = format!("notify {channel}");
        answered(async { Ok(client.batch_execute(&text).await?) }).await?;
        match timeout(patience, listening.next()).await {
            Ok(heard) => heard.map(|_| Some(begun.elapsed())),
            Err(_) => Ok(None),
        }
    }
}

impl Examination {
    /// The server and the session.
    ///
    /// # Errors
    /// Any.
    pub async fn server(&self) -> Result<ServerFacts, StoreError> {
        self.ask(&SERVER).await
    }

    /// The outbox in the catalogue.
    ///
    /// # Errors
    /// Any.
    pub async fn schema(&self) -> Result<SchemaFacts, StoreError> {
        self.ask(&SCHEMA).await
    }

    /// What the relay's role lacks, as GRANT takes it.
    ///
    /// # Errors
    /// Any.
    pub async fn lacking(&self) -> Result<Vec<String>, StoreError> {
        answered(async {
            let sql = statement::inspect(self.store.schema());
            Ok(self.client.query_typed_one(&sql, &[]).await?.try_get("lacking")?)
        })
        .await
    }

    /// Steps of the schema that are not as this program has them, in words.
    ///
    /// # Errors
    /// [`StoreError::SchemaNewer`], or any.
    pub async fn migrations(&mut self) -> Result<Vec<migrate::StepStatus>, StoreError> {
        answered(migrate::status(&mut self.client, self.store.schema())).await
    }

    /// How the claim finds tenants and their events: the plans of its two reading statements.
    ///
    /// # Errors
    /// Any.
    pub async fn claim_plans(&self) -> Result<Vec<(&'static str, String)>, StoreError> {
        let none: Vec<String> = Vec::new();
        let tenant = vec!["tenant".to_owned()];
        let (tenants, rows, bytes, floor) = (100_i64, 500_i64, 65_536_i64, 0_i64);
        let few = 2_000_i64;
        let questions: [(&str, &[&(dyn ToSql + Sync)]); 2] = [
            ("lock_tenants", &[&"", &tenants, &none, &floor, &few]),
            ("read_runs", &[&tenant, &rows, &bytes, &floor, &false]),
        ];
        answered(async {
            self.client.batch_execute(BEGIN).await?;
            let settings = Statement::DrainSettings.text().template;
            self.client.query_typed(settings, &[]).await?;
            let mut plans = Vec::new();
            for (name, parameters) in &questions {
                let Some(text) = ALL.iter().find(|text| text.name == *name) else { continue };
                let types: Vec<Type> = text.parameters.to_vec();
                let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
                let sql = format!("explain {}", self.store.schema().fill(text.template));
                let rows = self.client.query_typed(&sql, &typed).await?;
                let lines: Vec<String> =
                    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
                plans.push((*name, lines.join("\n")));
            }
            self.client.batch_execute("rollback").await?;
            Ok(plans)
        })
        .await
    }

    async fn ask<T: DeserializeOwned>(&self, statement: &StatementText) -> Result<T, StoreError> {
        answered(async {
            let sql = self.store.schema().fill(statement.template);
            let row = self.client.query_typed_one(&sql, &[]).await?;
            serde_json::from_str(row.try_get(0)?)
                .map_err(|error| StoreError::Unexpected(error.to_string()))
        })
        .await
    }
}
