//! A database with the outbox in it, and what tests do with one.

use std::time::Duration;

use outbox_relay::store::connect::ConnectOptions;
use outbox_relay::store::dsn::Dsn;
use outbox_relay::store::schema_name::SchemaName;
use outbox_relay::store::session::Store;

use super::local_ably::LIMIT;
use super::postgres::{Template, TestClient, TestDatabase};

static TEMPLATE: Template = Template::new("outbox");

/// A migrated database.
pub(crate) struct Outbox {
    pub(crate) database: TestDatabase,
}

/// Where the outbox of `dsn` is.
pub(crate) fn store_at(dsn: &str, schema: &str) -> Store {
    let dsn = Dsn::parse(dsn).expect("connection string").dsn;
    Store::new(dsn, ConnectOptions::new("outbox-relay-test"), SchemaName::new(schema).unwrap())
}

/// With this variable every test's outbox is a partitioned one, as in `scripts/test`'s second round.
const PARTITIONED: &str = "OUTBOX_TEST_PARTITIONED";

/// Partitions of five positions each, so that every test crosses from one to the next; what goes beyond is in the
/// default one.
pub(crate) async fn partition(client: &tokio_postgres::Client) {
    let sql = "select outbox.partition_event('1 day', 5);
               do $$ begin for i in 0..7 loop perform outbox.add_partition(11 + 5 * i, 16 + 5 * i); end loop; end $$";
    client.batch_execute(sql).await.expect("partition");
}

impl Outbox {
    pub(crate) async fn create(hint: &str) -> Self {
        let prepare = async |database: &TestDatabase| {
            store_at(&database.dsn(), "outbox").migrate_up().await.expect("migrate");
            if std::env::var_os(PARTITIONED).is_some() {
                partition(&*database.connect().await).await;
            }
        };
        Self { database: TestDatabase::create_from(&TEMPLATE, hint, prepare).await }
    }

    pub(crate) fn store(&self) -> Store {
        store_at(&self.database.dsn(), "outbox")
    }

    pub(crate) async fn connect(&self) -> TestClient {
        self.database.connect().await
    }
}

/// Inserts one event as an application would, with a plain INSERT; returns its id.
pub(crate) async fn insert(client: &tokio_postgres::Client, tenant: &str, payload: &str) -> String {
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
               values ($1, 'KitchenTask', 'task-1', 'kitchen.task.claimed', $2::text::jsonb) returning id";
    client.query_one(sql, &[&tenant, &payload]).await.expect("insert").get(0)
}

/// How many events have this status.
pub(crate) async fn count(client: &tokio_postgres::Client, status: &str) -> i64 {
    let sql = "select count(*) from outbox.event where status = $1";
    client.query_one(sql, &[&status]).await.expect("count").get(0)
}

/// Waits until a query that returns one boolean returns true.
pub(crate) async fn wait_until(client: &tokio_postgres::Client, sql: &str) {
    let wait = async {
        while !client.query_one(sql, &[]).await.expect(sql).get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never true: {sql}"));
}
