//! Rust producers on sqlx and diesel-async: events in the application's own transactions, in a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

mod claim_task_diesel;
mod claim_task_sqlx;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod support;

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use outbox_relay::domain::new_event::NewEvent;
use outbox_relay::registry::event_types::Registry;
use outbox_relay::registry::validation::{ValidateMode, Validation};
use outbox_relay::store::producer::{EVENTS_MAX, EnqueueError, Producer};
use outbox_relay::store::{producer_diesel, producer_sqlx};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use support::local_ably::LocalAbly;
use support::outbox::{Outbox, count, store_at};
use support::postgres::TestClient;
use support::recipe_page::Page;
use support::relay::RelayCommand;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn event(tenant: &str, n: usize) -> NewEvent {
    NewEvent::new(tenant, "kitchen.task.claimed")
        .about("KitchenTask", format!("task-{n}"))
        .payload(json!({ "n": n }))
}

/// With all that an event can have.
fn full(id: &str) -> NewEvent {
    let at = "2026-01-23T12:30:00+02:00".parse().unwrap();
    let event = event("a", 1).header("k", 7).occurred_at(at).traceparent(TRACE);
    NewEvent { id: Some(id.into()), ..event }
}

fn strict() -> Producer {
    let registry = Registry::built_in().unwrap();
    Producer::default().validating(Validation::new(ValidateMode::Reject, registry))
}

/// Both drivers on one outbox, and a client that looks on.
struct Site {
    outbox: Outbox,
    client: TestClient,
    pool: PgPool,
    diesel: AsyncPgConnection,
}

impl Site {
    async fn new(hint: &str) -> Self {
        let outbox = Outbox::create(hint).await;
        let client = outbox.connect().await;
        let url = outbox.database.url();
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        let diesel = AsyncPgConnection::establish(&outbox.database.dsn()).await.unwrap();
        Self { outbox, client, pool, diesel }
    }

    /// Ids in the order of their positions.
    async fn ids(&self) -> Vec<String> {
        let sql = "select coalesce(array_agg(id order by seq), '{}') from outbox.event";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn an_event_with_everything_is_the_same_row_by_either() {
    let mut site = Site::new("same").await;
    assert_eq!(producer_sqlx::enqueue(&site.pool, full("s")).await.unwrap(), "s");
    assert_eq!(producer_diesel::enqueue(&mut site.diesel, full("d")).await.unwrap(), "d");
    let [s, d] = [[full("s2")], [full("d2")]];
    producer_sqlx::enqueue_many(&site.pool, &s).await.unwrap();
    producer_diesel::enqueue_many(&mut site.diesel, &d).await.unwrap();
    let sql = "select count(*), count(distinct (payload, headers, occurred_at, aggregate_id)) \
               from outbox.event where traceparent = $1 and headers = '{\"k\": 7}' \
               and occurred_at = '2026-01-23T10:30:00Z' and payload = '{\"n\": 1}'";
    let row = site.client.query_one(sql, &[&TRACE]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (4, 1));
}

#[tokio::test]
async fn an_event_lives_and_dies_with_the_applications_transaction() {
    let mut site = Site::new("tx").await;
    let mut transaction = site.pool.begin().await.unwrap();
    let id = producer_sqlx::enqueue(&mut *transaction, event("a", 1)).await.unwrap();
    assert_eq!(id.len(), 36, "the database makes a UUID: {id}");
    transaction.rollback().await.unwrap();
    let rolled_back = site.diesel.transaction(async |connection| {
        producer_diesel::enqueue(connection, event("a", 1)).await?;
        Err::<(), EnqueueError>(diesel::result::Error::RollbackTransaction.into())
    });
    assert!(matches!(rolled_back.await, Err(EnqueueError::Diesel(_))));
    assert_eq!(site.ids().await, [""; 0]);

    let mut transaction = site.pool.begin().await.unwrap();
    let mut written =
        producer_sqlx::enqueue_many(&mut *transaction, &[event("a", 1), event("b", 2)])
            .await
            .unwrap();
    transaction.commit().await.unwrap();
    let committed = site.diesel.transaction(async |connection| {
        producer_diesel::enqueue_many(connection, &[event("a", 3), event("b", 4)]).await
    });
    written.extend(committed.await.unwrap());
    assert_eq!(site.ids().await, written);
}

#[tokio::test]
async fn many_events_keep_their_order_and_go_all_or_none() {
    let mut site = Site::new("many").await;
    let events: Vec<NewEvent> = (0..2_000).map(|n| event("a", n)).collect();
    let mut written = producer_sqlx::enqueue_many(&site.pool, &events).await.unwrap();
    written.extend(producer_diesel::enqueue_many(&mut site.diesel, &events).await.unwrap());
    assert_eq!(site.ids().await, written);
    assert_eq!(producer_sqlx::enqueue_many(&site.pool, &[]).await.unwrap(), [""; 0]);
    assert_eq!(producer_diesel::enqueue_many(&mut site.diesel, &[]).await.unwrap(), [""; 0]);

    let refused = [event("a", 1), event("a:b", 2)];
    let error = producer_sqlx::enqueue_many(&site.pool, &refused).await.unwrap_err();
    assert!(
        matches!(&error, EnqueueError::Sqlx(_)) && error.to_string().contains("a:b"),
        "{error}"
    );
    let error = producer_diesel::enqueue_many(&mut site.diesel, &refused).await.unwrap_err();
    assert!(
        matches!(&error, EnqueueError::Diesel(_)) && error.to_string().contains("a:b"),
        "{error}"
    );
    let too_many = vec![event("a", 1); EVENTS_MAX + 1];
    let error = producer_sqlx::enqueue_many(&site.pool, &too_many).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooMany(_)), "{error}");
    let error = producer_diesel::enqueue_many(&mut site.diesel, &too_many).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooMany(_)), "{error}");
    assert_eq!(site.ids().await.len(), 4_000, "none of the refused ones");
}

#[tokio::test]
async fn a_registry_refuses_before_anything_is_sent_and_another_schema_is_as_good() {
    let mut site = Site::new("strict").await;
    let mut transaction = site.pool.begin().await.unwrap();
    let error = strict().enqueue_sqlx(&mut *transaction, &event("a", 1)).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Invalid { index: 0, .. }), "{error}");
    transaction.commit().await.expect("nothing has failed in the transaction");
    let events = [event("a", 1)];
    let error = strict().enqueue_many_diesel(&mut site.diesel, &events).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Invalid { index: 0, .. }), "{error}");

    store_at(&site.outbox.database.dsn(), "My Outbox").migrate_up().await.unwrap();
    let producer = Producer::in_schema("My Outbox").unwrap();
    producer.enqueue_sqlx(&site.pool, &event("a", 1)).await.unwrap();
    producer.enqueue_diesel(&mut site.diesel, &event("a", 2)).await.unwrap();
    let sql = "select count(*) from \"My Outbox\".event";
    assert_eq!(site.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(site.ids().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_rust_works_and_its_events_are_published() {
    let page = Page::read("rust");
    assert_eq!(page.file("claim_task_sqlx.rs"), include_str!("claim_task_sqlx.rs"));
    assert_eq!(page.file("claim_task_diesel.rs"), include_str!("claim_task_diesel.rs"));
    let mut site = Site::new("page").await;
    let tasks = "create table tasks (id text primary key, employee_id text); \
                 insert into tasks values ('task-1'), ('task-2')";
    site.client.batch_execute(tasks).await.unwrap();
    let (pool, diesel) = (&site.pool, &mut site.diesel);
    let first = claim_task_sqlx::claim_task(pool, "a", "task-1", "e-1").await.unwrap();
    assert!(claim_task_diesel::claim_task(diesel, "a", "task-1", "e-2").await.is_err());
    let second = claim_task_diesel::claim_task(diesel, "a", "task-2", "e-1").await.unwrap();
    assert!(claim_task_sqlx::claim_task(pool, "a", "task-2", "e-2").await.is_err());
    assert_eq!(site.ids().await, [first.as_str(), second.as_str()]);
    let ably = LocalAbly::start().await;
    let mut relay = RelayCommand::new(&site.outbox.database.dsn(), &ably).arg("--once").start();
    assert_eq!(relay.wait(), Some(0));
    let got = ably.wait_for(2).await;
    assert_eq!(got.iter().map(|one| one.id()).collect::<Vec<_>>(), [first, second]);
    assert_eq!(count(&site.client, "published").await, 2);
}
