//! From a committed row to the unmodified official Ably client.

use outbox_relay::emulator::API_KEY_DEFAULT;
use serde_json::{Value, json};

use crate::emulator_client::js_client::JsClient;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::RelayProcess;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_gets_every_event_once_in_order_and_as_the_contract_says() {
    let (outbox, ably) = (Outbox::create("official").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let channels = ["tenant:a", "tenant:küche/1", "tenant:c"];
    let mut subscriber = JsClient::subscribe(&ably.url(), API_KEY_DEFAULT, &channels).await;
    let mut relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let mut ids = Vec::new();
    for n in 0..120 {
        for tenant in ["a", "küche/1", "c"] {
            let payload =
                json!({ "n": n, "Key": "ü\"\\", "occurredAt": "2026-01-23T12:30:00+02:00" });
            ids.push(insert(&client, tenant, &payload.to_string()).await);
        }
        match n {
            // The subscriber loses its connection, and the relay its life, while events flow.
            40 => ably.drop_subscribers().await,
            70 => {
                relay.kill();
                relay = RelayProcess::start(&outbox.database.dsn(), &ably);
            }
            _ => {}
        }
    }
    let mut next = [0_i64; 3];
    let mut seen = Vec::new();
    for _ in 0..360 {
        let message = subscriber.next("message").await;
        let envelope = &message["data"];
        let place = channels.iter().position(|c| message["channel"] == *c).unwrap();
        assert_eq!(envelope["payload"]["n"], next[place], "order of {}", channels[place]);
        next[place] += 1;
        let id = envelope["id"].as_str().unwrap().to_owned();
        let expected = json!({
            "id": id, "version": 1, "tenantId": channels[place].strip_prefix("tenant:").unwrap(),
            "aggregateType": "KitchenTask", "aggregateId": "task-1",
            "occurredAt": "2026-01-23T10:30:00.000Z", "eventType": "kitchen.task.claimed",
            "payload": { "n": next[place] - 1, "Key": "ü\"\\", "occurredAt": "2026-01-23T12:30:00+02:00" },
        });
        assert_eq!(*envelope, expected);
        assert_eq!(message["name"], "kitchen.task.claimed");
        seen.push(id);
    }
    seen.sort_unstable();
    ids.sort_unstable();
    assert_eq!(seen, ids, "every event once");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(subscriber.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_row_reach_the_subscriber() {
    let (outbox, ably) = (Outbox::create("headers").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let mut subscriber = JsClient::subscribe(&ably.url(), API_KEY_DEFAULT, &["tenant:a"]).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    client
        .execute(
            "select outbox.enqueue('a', 'kitchen.task.claimed', '{}', 'Task', '1', headers => '{\"trace\":\"t-1\",\"n\":2}')",
            &[],
        )
        .await
        .unwrap();
    let message = subscriber.next("message").await;
    assert_eq!(message["extras"]["headers"], json!({ "trace": "t-1", "n": 2 }));
    assert_eq!(relay.complaints(), [Value::Null; 0]);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(subscriber.end().await, Some(0));
}
