//! Rust producers: events in the application's own transaction, over its own client.

use deadpool_postgres::{Manager, Pool};
use outbox_relay::domain::new_event::{NewEvent, Payload};
use outbox_relay::registry::event_types::Registry;
use outbox_relay::registry::validation::{ValidateMode, Validation};
use outbox_relay::store::producer::{EVENTS_MAX, EnqueueError, Producer, enqueue, enqueue_many};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, store_at};
use crate::support::relay::RelayCommand;

fn claimed(tenant: &str, task: &str) -> NewEvent {
    NewEvent::new(tenant, "kitchen.task.claimed")
        .about("KitchenTask", task)
        .payload(json!({"taskId": task, "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00Z"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_everything_reaches_the_subscriber_as_it_was_written() {
    let (outbox, ably) = (Outbox::create("enqueue").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let payload = r#"{"n": 12345678901234567890123}"#;
    let event = NewEvent {
        id: Some("my-id".into()),
        tenant_id: "tenant-abc".into(),
        aggregate_type: "KitchenTask".into(),
        aggregate_id: "task-123".into(),
        event_type: "kitchen.task.claimed".into(),
        payload: Payload::from_json(payload).unwrap(),
        ..NewEvent::default()
    };
    let event = event.header("n", 1).occurred_at("2026-01-23T12:30:00+02:00".parse().unwrap());
    assert_eq!(enqueue(&*client, event).await.unwrap(), "my-id");
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably).arg("--once").start();
    assert_eq!(relay.wait(), Some(0));
    let (channel, text) = ably.accepted_texts().await.remove(0);
    assert_eq!(channel, "tenant:tenant-abc");
    assert_eq!(
        text,
        format!(
            r#"{{"id":"my-id","version":1,"tenantId":"tenant-abc","aggregateType":"KitchenTask","aggregateId":"task-123","occurredAt":"2026-01-23T10:30:00.000Z","eventType":"kitchen.task.claimed","payload":{payload}}}"#
        )
    );
    let sql = "select headers = '{\"n\": 1}' from outbox.event";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn an_event_lives_and_dies_with_the_applications_transaction() {
    let outbox = Outbox::create("enqueuetx").await;
    let mut client = outbox.connect().await;
    let transaction = client.transaction().await.unwrap();
    let id = enqueue(&transaction, claimed("a", "1")).await.unwrap();
    assert_eq!(id.len(), 36, "the database makes a UUID: {id}");
    transaction.rollback().await.unwrap();
    assert_eq!(count(&client, "pending").await, 0);
    let transaction = client.transaction().await.unwrap();
    enqueue_many(&transaction, &[claimed("a", "1"), claimed("b", "2")]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&client, "pending").await, 2);
}

#[tokio::test]
async fn many_events_keep_their_order_and_go_all_or_none() {
    let outbox = Outbox::create("enqueuemany").await;
    let client = outbox.connect().await;
    let events: Vec<NewEvent> = (0..EVENTS_MAX).map(|n| claimed("a", &n.to_string())).collect();
    let ids = enqueue_many(&*client, &events).await.unwrap();
    let sql =
        "select array_agg(id order by seq), array_agg(aggregate_id order by seq) from outbox.event";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<String>>(0), ids);
    let numbers: Vec<String> = (0..EVENTS_MAX).map(|n| n.to_string()).collect();
    assert_eq!(row.get::<_, Vec<String>>(1), numbers);

    let refused = [claimed("a", "x"), claimed("a:b", "y"), claimed("a", "z")];
    let error = enqueue_many(&*client, &refused).await.unwrap_err();
    assert!(
        matches!(&error, EnqueueError::Store(_)) && error.to_string().contains("a:b"),
        "{error}"
    );
    let too_many = [events, vec![claimed("a", "x")]].concat();
    let error = enqueue_many(&*client, &too_many).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooMany(10_001)), "{error}");
    assert_eq!(enqueue_many(&*client, &[]).await.unwrap(), Vec::<String>::new());
    assert_eq!(count(&client, "pending").await, 10_000, "none of the refused ones");
}

#[tokio::test]
async fn a_pooled_client_and_another_schema_are_as_good() {
    let outbox = Outbox::create("enqueuepool").await;
    store_at(&outbox.database.dsn(), "My Outbox").migrate_up().await.unwrap();
    let config = outbox.database.dsn().parse().unwrap();
    let pool = Pool::builder(Manager::new(config, NoTls)).max_size(1).build().unwrap();
    let mut client = pool.get().await.unwrap();
    enqueue(&**client, claimed("a", "1")).await.unwrap();
    let producer = Producer::in_schema("My Outbox").unwrap();
    let transaction = client.transaction().await.unwrap();
    producer.enqueue(&*transaction, &claimed("a", "1")).await.unwrap();
    transaction.commit().await.unwrap();
    let sql =
        "select (select count(*) from outbox.event), (select count(*) from \"My Outbox\".event)";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
}

#[tokio::test]
async fn a_registry_refuses_before_anything_is_sent() {
    let outbox = Outbox::create("enqueuevalid").await;
    let mut client = outbox.connect().await;
    let registry = || Registry::built_in().unwrap();
    let strict = Producer::default().validating(Validation::new(ValidateMode::Reject, registry()));
    let transaction = client.transaction().await.unwrap();
    let wrong = claimed("a", "");
    let error =
        strict.enqueue_many(&transaction, &[claimed("a", "1"), wrong.clone()]).await.unwrap_err();
    let EnqueueError::Invalid { index: 1, problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.as_slice()[0].path, "/payload/taskId");
    let unknown = NewEvent::new("a", "unknown.type").about("A", "1");
    assert!(strict.enqueue(&transaction, &unknown).await.is_err());
    strict.enqueue(&transaction, &claimed("a", "1")).await.unwrap();
    let lenient = Producer::default().validating(Validation::new(ValidateMode::Warn, registry()));
    let wrong = wrong.about("KitchenTask", "1");
    lenient.enqueue(&transaction, &wrong).await.unwrap();
    transaction.commit().await.expect("nothing has failed in the transaction");
    assert_eq!(count(&client, "pending").await, 2);
}
