//! A PostgreSQL with durability on, and databases with an outbox in it.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use outbox_relay::store::connect::ConnectOptions;
use outbox_relay::store::dsn::Dsn;
use outbox_relay::store::schema_name::SchemaName;
use outbox_relay::store::session::Store;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// The server.
pub(crate) struct Bed {
    postgres: PrivatePostgres,
}

/// A connection whose driver ends with it.
pub(crate) struct Connection {
    client: Client,
    _driver: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl std::ops::Deref for Connection {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A database with an empty outbox.
pub(crate) struct Database {
    name: String,
    dsn: String,
    pub(crate) url: String,
    pub(crate) postmaster: i32,
    /// Nothing is pending up to this position.
    settled_to: AtomicI64,
}

impl Bed {
    pub(crate) async fn start() -> Self {
        let settings = [
            // On a disk, and durable: what commits cost is half of what is measured.
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            ("max_connections", "200"),
            ("shared_buffers", "512MB"),
            ("max_wal_size", "8GB"),
            ("shared_preload_libraries", "pg_stat_statements"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = PostgresOptions {
            settings: settings.to_vec(),
            base: Some(std::env::temp_dir()),
            ..PostgresOptions::default()
        };
        let postgres = PrivatePostgres::start(options).await.unwrap_or_else(|e| panic!("{e}"));
        // Another role for the relay, so that its statements can be told from ours.
        let admin = connect(&postgres.dsn("postgres")).await;
        admin.batch_execute("create role relay superuser login").await.unwrap();
        Self { postgres }
    }

    pub(crate) fn version(&self) -> &str {
        self.postgres.version()
    }

    /// Makes a database with an outbox.
    pub(crate) async fn database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&self.postgres.dsn("postgres")).await;
        admin.batch_execute(&format!("create database {name} template template0")).await.unwrap();
        let dsn = self.postgres.dsn(&name);
        let parsed = Dsn::parse(&dsn).unwrap().dsn;
        let schema = SchemaName::new("outbox").unwrap();
        let store = Store::new(parsed, ConnectOptions::new("outbox-relay-bench"), schema);
        store.migrate_up().await.unwrap();
        let client = connect(&dsn).await;
        client.batch_execute("create extension if not exists pg_stat_statements").await.unwrap();
        let url = format!("{dsn} user=relay");
        let postmaster = self.postgres.postmaster_pid();
        Database { name, dsn, url, postmaster, settled_to: AtomicI64::new(0) }
    }

    /// Drops it with whoever is connected.
    pub(crate) async fn drop(&self, database: Database) {
        let admin = connect(&self.postgres.dsn("postgres")).await;
        let sql = format!("drop database {} with (force)", database.name);
        admin.batch_execute(&sql).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        self.postgres.stop().await.unwrap();
    }
}

async fn connect(dsn: &str) -> Connection {
    let (client, connection) =
        tokio_postgres::connect(dsn, NoTls).await.unwrap_or_else(|e| panic!("connect: {e:?}"));
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Connection { client, _driver: driver }
}

/// `n` and padding: about 300 bytes of jsonb.
const PAYLOAD: &str = "jsonb_build_object('n', n, 'pad', repeat('x', 180), 'taskId', 'task-' || n, \
    'employeeId', 'employee-' || n % 50, 'startTime', '2026-01-23T10:30:00.000Z', 'done', false)";

impl Database {
    pub(crate) async fn connect(&self) -> Connection {
        connect(&self.dsn).await
    }

    pub(crate) fn dsn(&self) -> &str {
        &self.dsn
    }

    /// Inserts events `from..to`, spread over tenants, in one transaction.
    pub(crate) async fn seed(&self, client: &Client, from: usize, to: usize, tenants: usize) {
        let sql = format!(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'tenant-' || n % {tenants}, 'KitchenTask', 'task-' || n, 'kitchen.task.started', {PAYLOAD}
               from generate_series({from}::bigint, {to}::bigint - 1) n"
        );
        client.batch_execute(&sql).await.unwrap();
    }

    /// Inserts published history, without the bell.
    pub(crate) async fn history(&self, client: &Client, rows: usize) {
        let sql = format!(
            "alter table outbox.event disable trigger event_bell;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, published_at)
             select 'tenant-' || n % 200, 'KitchenTask', 'task-' || n, 'kitchen.task.started', {PAYLOAD}, 'published', now()
               from generate_series(1, {rows}) n;
             alter table outbox.event enable trigger event_bell;
             vacuum analyze outbox.event; checkpoint"
        );
        // One statement at a time: VACUUM takes no company.
        for statement in sql.split(';') {
            client.batch_execute(statement).await.unwrap();
        }
        self.all_settled(client).await;
    }

    async fn all_settled(&self, client: &Client) {
        let sql = "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox.event', 'seq')), 0)";
        let last = client.query_one(sql, &[]).await.unwrap().get(0);
        self.settled_to.store(last, Ordering::Relaxed);
    }

    /// Waits until nothing is pending. By position: under a held snapshot event_pending would be read whole each time.
    pub(crate) async fn settled(&self, client: &Client) {
        let sql = format!(
            "select not exists (select from outbox.event where seq > {} and status not in ('published', 'failed'))",
            self.settled_to.load(Ordering::Relaxed)
        );
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while !client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(std::time::Instant::now() < deadline, "events stay pending");
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        self.all_settled(client).await;
    }

    /// Where the server's time has gone since the outbox was emptied.
    pub(crate) async fn top_statements(&self, client: &Client) -> Vec<String> {
        let sql = "select format('%9s ms %7s calls  %s', round(s.total_exec_time), s.calls, left(regexp_replace(s.query, '\\s+', ' ', 'g'), 90))
                from pg_stat_statements s join pg_roles r on r.oid = s.userid
               where r.rolname = 'relay' order by s.total_exec_time desc limit 8";
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Empties the outbox.
    pub(crate) async fn empty(&self, client: &Client) {
        client
            .batch_execute("truncate outbox.event cascade; truncate outbox.in_flight, outbox.hold; analyze outbox.event; select pg_stat_statements_reset(); checkpoint")
            .await
            .unwrap();
        self.all_settled(client).await;
    }
}

/// What the server has counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) wal_bytes: f64,
    pub(crate) dead_rows: f64,
    /// Statements of the relay.
    pub(crate) statements: f64,
}

impl Counted {
    pub(crate) async fn now(client: &Client) -> Self {
        let sql = "select (pg_current_wal_lsn() - '0/0')::float8,
                (select coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 from pg_stat_all_tables where schemaname = 'outbox'),
                (select coalesce(sum(s.calls), 0)::float8 from pg_stat_statements s
                  join pg_roles r on r.oid = s.userid where r.rolname = 'relay')";
        let row = client.query_one(sql, &[]).await.unwrap();
        Self { wal_bytes: row.get(0), dead_rows: row.get(1), statements: row.get(2) }
    }

    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            wal_bytes: self.wal_bytes - then.wal_bytes,
            dead_rows: self.dead_rows - then.dead_rows,
            statements: self.statements - then.statements,
        }
    }
}
