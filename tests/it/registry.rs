//! The registry of event types: its commands, and what the relay does about payloads.

mod commands;
mod types;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::RelayCommand;

const VALID: &str =
    r#"{"taskId": "t-1", "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00Z"}"#;

async fn error_of(client: &tokio_postgres::Client, id: &str) -> Value {
    let sql = "select error::text from outbox.event where id = $1";
    let text: Option<String> = client.query_one(sql, &[&id]).await.unwrap().get(0);
    serde_json::from_str(&text.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_fails_what_does_not_match_and_its_neighbours_go_on() {
    let (outbox, ably) = (Outbox::create("reject").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert(&client, "a", VALID).await;
    let bad = insert(&client, "a", r#"{"taskId": "", "employeeId": "hunter2"}"#).await;
    insert(&client, "a", VALID).await;
    let sql = "select outbox.enqueue('a', 'unknown.thing', '{}', 'Thing', '1')";
    let unknown: String = client.query_one(sql, &[]).await.unwrap().get(0);
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .arg("--once")
        .env("OUTBOX_RELAY_REGISTRY_VALIDATE", "reject")
        .start();
    assert_eq!(relay.wait(), Some(0), "{:#?}", relay.log());
    assert_eq!(ably.accepted().await.len(), 2);
    assert_eq!(count(&client, "failed").await, 2);
    let expected = "the registry refuses the event: /payload/claimedAt is required; /payload/taskId must not be empty";
    let error = error_of(&client, &bad).await;
    assert_eq!(error["code"], "VALIDATION_ERROR");
    let message = error["message"].as_str().unwrap();
    let mut parts: Vec<&str> = message.split([':', ';']).map(str::trim).collect();
    let mut expected: Vec<&str> = expected.split([':', ';']).map(str::trim).collect();
    parts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(parts, expected);
    let message = error_of(&client, &unknown).await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/eventType") && message.contains("unknown.thing.json"), "{message}");
    assert!(!format!("{:?}", relay.log()).contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn warn_publishes_everything_and_says_so_once_a_type() {
    let (outbox, ably) = (Outbox::create("warnings").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for tenant in 0..20 {
        insert(&client, &format!("t{tenant}"), "{}").await;
    }
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .arg("--once")
        .env("OUTBOX_RELAY_REGISTRY_VALIDATE", "warn")
        .start();
    assert_eq!(relay.wait(), Some(0), "{:#?}", relay.log());
    assert_eq!(ably.accepted().await.len(), 20);
    let told = relay.complaints();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["message"].as_str().unwrap().contains("/payload/taskId is required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_sent_is_not_judged_by_a_newer_schema() {
    let (outbox, ably) = (Outbox::create("rejudged").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert(&client, "alone", "{}").await;
    for _ in 0..2 {
        insert(&client, "group", "{}").await;
    }
    // Ably accepts and the reply is lost: the relay that was there cannot know.
    ably.fault(r#"{"kind":"reply_lost","delay_ms":30000,"times":5}"#).await;
    let first = RelayCommand::new(&outbox.database.dsn(), &ably).start();
    ably.wait_for(3).await;
    first.kill();
    ably.clear_faults().await;
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .arg("--once")
        .env("OUTBOX_RELAY_REGISTRY_VALIDATE", "reject")
        .start();
    assert_eq!(relay.wait(), Some(0), "{:#?}", relay.log());
    assert_eq!((count(&client, "published").await, count(&client, "failed").await), (3, 0));
    assert_eq!(ably.accepted().await.len(), 3, "and Ably knew them all");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_schema_files_keep_the_relay_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let schema = json!({"properties": {"a": {"$ref": "https://example.com/a.json"}}}).to_string();
    std::fs::write(directory.path().join("orders.order.paid.json"), schema).unwrap();
    let ably = LocalAbly::start().await;
    let path: &Path = directory.path();
    let mut relay = RelayCommand::new("postgres://127.0.0.1:1/none", &ably)
        .arg("--registry")
        .arg(path.to_str().unwrap())
        .start();
    assert_eq!(relay.wait(), Some(78));
    relay.wait_for_log("orders.order.paid.json: /properties/a/$ref refers to", 1);
}
