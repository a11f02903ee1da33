//! Spans as a collector gets them: the real binary, a real PostgreSQL, the emulator, and an OTLP/HTTP receiver.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

mod receiver;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod support;

use outbox_relay::domain::new_event::NewEvent;
use outbox_relay::store::producer::enqueue_many;
use receiver::Receiver;
use serde_json::{Value, json};
use support::local_ably::LocalAbly;
use support::outbox::{Outbox, count, insert};
use support::relay::{RelayCommand, RelayProcess};

fn trace(n: usize) -> String {
    format!("00-{:032x}-{:016x}-01", 0xabc_0000 + n, 0xdef_0000 + n)
}

fn traced(tenant: &str, n: usize) -> NewEvent {
    let event = NewEvent::new(tenant, "kitchen.task.claimed").about("KitchenTask", "task-1");
    event.payload(json!({ "n": n })).traceparent(trace(n))
}

fn relay(outbox: &Outbox, ably: &LocalAbly, endpoint: &str) -> RelayCommand {
    RelayCommand::new(&outbox.database.dsn(), ably)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn run_once(outbox: &Outbox, ably: &LocalAbly, receiver: &Receiver) -> RelayProcess {
    let mut relay = relay(outbox, ably, &receiver.url())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .arg("--once")
        .start();
    relay.wait();
    relay
}

/// The attributes of a span, link or resource as a JSON object.
fn attributes(of: &Value) -> Value {
    let pairs = of["attributes"].as_array().unwrap().iter().map(|pair| {
        let value = pair["value"].as_object().unwrap().values().next().unwrap().clone();
        (pair["key"].as_str().unwrap().to_owned(), value)
    });
    Value::Object(pairs.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_with_the_conventions_attributes_and_a_link_for_each_traced_event() {
    let (outbox, ably) = (Outbox::create("otlp").await, LocalAbly::start().await);
    let receiver = Receiver::start().await;
    let client = outbox.connect().await;
    let events = [traced("a", 1), traced("b", 2), traced("b", 3)];
    enqueue_many(&*client, &events).await.unwrap();
    insert(&client, "b", "{}").await;
    run_once(&outbox, &ably, &receiver);
    let got = receiver.got();
    assert!(got.iter().all(|post| post.path == "/v1/traces" && post.authorization == "Bearer abc"));
    let resource = attributes(&got[0].json()["resourceSpans"][0]["resource"]);
    assert_eq!(
        (&resource["service.name"], &resource["deployment.environment.name"]),
        (&json!("outbox-relay"), &json!("test"))
    );
    let spans = receiver.spans();
    let [span] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!((&span["name"], &span["kind"]), (&json!("publish tenant:{tenantId}"), &json!(3)));
    let seen = attributes(span);
    for (key, value) in [
        ("messaging.system", json!("ably")),
        ("messaging.operation.name", json!("publish")),
        ("messaging.operation.type", json!("send")),
        ("messaging.destination.template", json!("tenant:{tenantId}")),
        ("messaging.batch.message_count", json!("4")),
        ("outbox_relay.channels", json!("2")),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(ably.addr().port().to_string())),
    ] {
        assert_eq!(seen[key], value, "{key} of {seen:#}");
    }
    assert!(seen.get("error.type").is_none() && seen.get("messaging.destination.name").is_none());
    let links: Vec<String> = span["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| {
            format!(
                "00-{}-{}-01",
                link["traceId"].as_str().unwrap(),
                link["spanId"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(links, [trace(1), trace(2), trace(3)]);
    let accepted = ably.accepted().await;
    let ids: Vec<Value> = span["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| attributes(link)["messaging.message.id"].clone())
        .collect();
    for id in &ids {
        assert!(
            accepted.iter().any(|got| got.message_id == id.as_str().unwrap()),
            "{id} {accepted:?}"
        );
    }
    let (from, to) = (&span["startTimeUnixNano"], &span["endTimeUnixNano"]);
    assert!(from.as_str().unwrap().parse::<u64>().unwrap() < to.as_str().unwrap().parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_bounded_and_an_event_alone_names_its_message() {
    let (outbox, ably) = (Outbox::create("otlp_many").await, LocalAbly::start().await);
    let receiver = Receiver::start().await;
    let client = outbox.connect().await;
    let many: Vec<NewEvent> = (0..300).map(|n| traced("a", n)).collect();
    enqueue_many(&*client, &many).await.unwrap();
    run_once(&outbox, &ably, &receiver);
    enqueue_many(&*client, &[traced("a", 7).id("own")]).await.unwrap();
    run_once(&outbox, &ably, &receiver);
    let spans = receiver.spans();
    let [first, .., last] = spans.as_slice() else { panic!("{spans:#?}") };
    assert_eq!(first["links"].as_array().unwrap().len(), 128);
    assert_eq!(attributes(first)["messaging.destination.name"], "tenant:a");
    assert!(attributes(first).get("messaging.message.id").is_none());
    assert_eq!(attributes(last)["messaging.message.id"], "own");
    assert_eq!(last["links"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_spans_error() {
    let (outbox, ably) = (Outbox::create("otlp_error").await, LocalAbly::start().await);
    let receiver = Receiver::start().await;
    let client = outbox.connect().await;
    ably.fault(r#"{"kind": "status", "status": 500, "times": 1}"#).await;
    insert(&client, "a", "{}").await;
    run_once(&outbox, &ably, &receiver);
    let spans = receiver.spans();
    let failed = spans.iter().find(|span| span["status"]["code"] == 2).expect("a failed span");
    let seen = attributes(failed);
    assert_eq!(seen["http.response.status_code"], "500", "{seen:#}");
    assert!(seen["error.type"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_is_what_a_collector_gets_unless_it_asks_and_spans_leave_while_the_relay_runs() {
    let (outbox, ably) = (Outbox::create("otlp_proto").await, LocalAbly::start().await);
    let receiver = Receiver::start().await;
    let running = relay(&outbox, &ably, &receiver.url()).start();
    running.wait_until_listening();
    let client = outbox.connect().await;
    enqueue_many(&*client, &[traced("a", 1)]).await.unwrap();
    let post = receiver.wait().await;
    assert_eq!(post.content_type, "application/x-protobuf");
    let id = (0xabc_0000_u128 + 1).to_be_bytes();
    assert!(post.body.windows(16).any(|bytes| bytes == id), "the event's trace is in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_one_line_and_no_event() {
    let (outbox, ably) = (Outbox::create("otlp_away").await, LocalAbly::start().await);
    let running = relay(&outbox, &ably, "http://127.0.0.1:1").start();
    running.wait_until_listening();
    let client = outbox.connect().await;
    for n in 0..5 {
        insert(&client, "a", "{}").await;
        ably.wait_for(n + 1).await;
    }
    running.wait_for_log("spans cannot be exported", 1);
    let complaints = running.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    support::outbox::wait_until(
        &client,
        "select count(*) = 5 from outbox.event where status = 'published'",
    )
    .await;
    assert_eq!(count(&client, "pending").await, 0);
}
