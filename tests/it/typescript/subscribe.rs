//! `subscribe` of the TypeScript package, on the official client, behind the relay.

use std::time::Duration;

use outbox_relay::emulator::{API_KEY_DEFAULT, Emulator, EmulatorConfig};
use serde_json::{Value, json};

use crate::emulator_client::js_client::JsClient;
use crate::support::local_ably::LocalAbly;
use crate::support::npm_workspace;
use crate::support::outbox::{Outbox, insert, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

const ALL_PUBLISHED: &str =
    "select not exists (select from outbox.event where status <> 'published')";

/// A database, an emulator, a relay and one subscriber on `tenant:a`.
struct Scene {
    client: TestClient,
    ably: LocalAbly,
    relay: RelayProcess,
    subscriber: JsClient,
    // Dropped last: the relay is connected to it.
    _outbox: Outbox,
}

impl Scene {
    async fn set(hint: &str, config: EmulatorConfig, options: &Value) -> Self {
        let outbox = Outbox::create(hint).await;
        let config = EmulatorConfig { channel_rate_per_second: 0, ..config };
        let ably = LocalAbly::with(config).await;
        let subscriber = subscriber(&ably.url(), options).await;
        let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
        let client = outbox.connect().await;
        Self { client, ably, relay, subscriber, _outbox: outbox }
    }

    /// Writes events, and waits until they are published.
    async fn publish(&self, numbers: std::ops::Range<i64>) {
        for n in numbers {
            insert(&self.client, "a", &json!({ "n": n }).to_string()).await;
        }
        wait_until(&self.client, ALL_PUBLISHED).await;
    }

    /// The next events have these numbers; whether each came from history.
    async fn expect(&mut self, numbers: std::ops::Range<i64>) -> Vec<bool> {
        let mut recovered = Vec::new();
        for n in numbers {
            let event = self.subscriber.next("event").await;
            assert_eq!(event["n"], n, "{:?}", self.subscriber.passed_over);
            assert_eq!(event["outOfOrder"], false);
            recovered.push(event["recovered"].as_bool().unwrap());
        }
        recovered
    }

    fn heard(&self, kind: &str) -> Vec<&Value> {
        self.subscriber.passed_over.iter().filter(|line| line["type"] == kind).collect()
    }

    /// A last event shows that nothing came between; then everything ends.
    async fn end(mut self, next: i64) -> Vec<Value> {
        self.publish(next..next + 1).await;
        self.expect(next..next + 1).await;
        assert_eq!(self.relay.terminate(), Some(0));
        let said = std::mem::take(&mut self.subscriber.passed_over);
        assert_eq!(self.subscriber.end().await, Some(0));
        said
    }
}

async fn subscriber(url: &str, options: &Value) -> JsClient {
    let script = npm_workspace::script("client/subscribe");
    let args = [url, API_KEY_DEFAULT, "tenant:a", &options.to_string()];
    let mut subscriber = JsClient::start(script.to_str().unwrap(), &args, &[]);
    subscriber.next("subscribed").await;
    subscriber
}

fn is(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["type"] == kind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_costs_nothing() {
    let mut scene = Scene::set("ts_drop", EmulatorConfig::default(), &json!({})).await;
    scene.publish(0..10).await;
    scene.ably.drop_subscribers().await;
    scene.publish(10..40).await;
    scene.subscriber.tell("drop").await;
    scene.publish(40..60).await;
    scene.expect(0..60).await;
    let said = scene.end(60).await;
    assert!(!said.iter().any(|line| is("resync")(line) || is("error")(line)), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_from_history_in_order_and_once() {
    let mut scene = Scene::set("ts_fill", EmulatorConfig::default(), &json!({})).await;
    scene.publish(0..5).await;
    assert_eq!(scene.expect(0..5).await, [false; 5]);
    for round in 0..2 {
        let from = 5 + round * 150;
        scene.subscriber.tell("cut").await;
        scene.subscriber.next("cut").await;
        // More than a page of history.
        scene.publish(from..from + 120).await;
        scene.subscriber.tell("heal").await;
        // Some arrive live, behind or while the gap is filled.
        scene.publish(from + 120..from + 150).await;
        let recovered = scene.expect(from..from + 150).await;
        assert!(recovered[..120].iter().all(|recovered| *recovered), "{recovered:?}");
    }
    assert!(scene.heard("channel").iter().any(|c| c["state"] == "suspended"));
    let said = scene.end(305).await;
    assert!(!said.iter().any(|line| is("resync")(line) || is("error")(line)), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_before_the_first_event_is_filled_and_older_events_are_not_replayed() {
    let outbox = Outbox::create("ts_first").await;
    let ably = LocalAbly::start().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let client = outbox.connect().await;
    insert(&client, "a", r#"{ "n": -1 }"#).await;
    wait_until(&client, ALL_PUBLISHED).await;
    let subscriber = subscriber(&ably.url(), &json!({})).await;
    let mut scene = Scene { client, ably, relay, subscriber, _outbox: outbox };
    scene.subscriber.tell("detach").await;
    scene.subscriber.next("detached").await;
    scene.publish(0..10).await;
    scene.subscriber.tell("attach").await;
    assert_eq!(scene.expect(0..10).await, [true; 10]);
    let said = scene.end(10).await;
    assert!(!said.iter().any(is("resync")), "{said:?}");
    assert!(said.iter().any(|l| is("error")(l) && l["name"] == "ChannelLostError"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_history_cannot_fill_asks_for_a_resync() {
    // Ably forgets by time, which no test waits for; that messages are gone is the same.
    let config = EmulatorConfig { retained_messages_max: 10, ..EmulatorConfig::default() };
    let mut scene = Scene::set("ts_expired", config, &json!({})).await;
    scene.publish(0..5).await;
    scene.expect(0..5).await;
    scene.subscriber.tell("cut").await;
    scene.subscriber.next("cut").await;
    // The emulator forgets by group, and a group has what waited: few.
    for n in (5..45).step_by(5) {
        scene.publish(n..n + 5).await;
    }
    scene.subscriber.tell("heal").await;
    let resync = scene.subscriber.next("resync").await;
    assert_eq!(resync["reason"], "expired");
    assert!(resync["lastEventId"].is_string());
    // What there is comes behind it, in order.
    let kept = resync["recovered"].as_i64().unwrap();
    assert!((1..=10).contains(&kept), "{kept}");
    assert!(scene.expect(45 - kept..45).await.iter().all(|recovered| *recovered));
    // And the next gap begins where this one ended.
    scene.subscriber.tell("cut").await;
    scene.subscriber.next("cut").await;
    scene.publish(45..50).await;
    scene.subscriber.tell("heal").await;
    assert_eq!(scene.expect(45..50).await, [true; 5]);
    let said = scene.end(50).await;
    assert!(!said.iter().any(is("resync")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_larger_than_allowed_and_an_ably_that_lost_its_memory_ask_for_a_resync() {
    let mut scene =
        Scene::set("ts_large", EmulatorConfig::default(), &json!({ "maxGap": 7 })).await;
    scene.publish(0..1).await;
    scene.expect(0..1).await;
    scene.subscriber.tell("cut").await;
    scene.subscriber.next("cut").await;
    scene.publish(1..20).await;
    scene.subscriber.tell("heal").await;
    assert_eq!(scene.subscriber.next("resync").await["reason"], "too-many");
    assert_eq!(scene.expect(13..20).await, [true; 7]);
    let listen = scene.ably.stop().await;
    let config = EmulatorConfig { listen, ..EmulatorConfig::default() };
    scene.ably = LocalAbly::with(config).await;
    assert_eq!(scene.subscriber.next("resync").await["reason"], "expired");
    scene.end(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_strangers_and_disorder_are_told_apart() {
    let ably = LocalAbly::start().await;
    let mut subscriber = subscriber(&ably.url(), &json!({ "maxIds": 3 })).await;
    let event = |id: &str, event_type: &str, at: &str| {
        json!({ "name": event_type, "data": {
            "id": id, "version": 1, "tenantId": "a", "aggregateType": "T", "aggregateId": "1",
            "occurredAt": at, "eventType": event_type, "payload": { "n": 0 },
        }})
    };
    let claimed = "kitchen.task.claimed";
    let mut publisher =
        JsClient::start("publish.mjs", &[&ably.url(), API_KEY_DEFAULT, "tenant:a"], &[]);
    let messages = [
        event("1", claimed, "2026-01-01T00:00:02.000Z"),
        event("1", claimed, "2026-01-01T00:00:02.000Z"),
        event("2", claimed, "2026-01-01T00:00:01.000Z"),
        event("3", "constructor.x", "2026-01-01T00:00:03.000Z"),
        json!({ "name": "stranger", "data": "hello" }),
        event("4", "kitchen.task.progress", "2026-01-01T00:00:04.000Z"),
        // Three ids are remembered, and this is the fourth back.
        event("1", claimed, "2026-01-01T00:00:05.000Z"),
    ];
    for message in &messages {
        publisher.tell(&message.to_string()).await;
        publisher.next("published").await;
    }
    assert_eq!(publisher.end().await, Some(0));
    let mut said = Vec::new();
    for kind in ["event", "out of order", "event", "unknown", "error", "error", "event"] {
        let line = subscriber.next(kind).await;
        said.push(["id", "eventType", "name"].map(|k| line[k].as_str().unwrap_or("")).concat());
        assert_eq!(line["outOfOrder"].as_bool().unwrap_or(false), said.len() == 3, "{line}");
        if kind == "out of order" {
            assert_eq!(line["newest"]["id"], "1");
        }
    }
    assert_eq!(said, ["1", "2", "2", "constructor.x", "InvalidEventError", "HandlerError", "1"]);
    assert!(subscriber.passed_over.iter().all(is("channel")), "{:?}", subscriber.passed_over);
    // After the end nothing is handed over, and no listener is left but the script's own.
    subscriber.tell("unsubscribe").await;
    assert_eq!(subscriber.next("unsubscribed").await["listeners"], 1);
    let mut publisher =
        JsClient::start("publish.mjs", &[&ably.url(), API_KEY_DEFAULT, "tenant:a"], &[]);
    publisher.tell(&event("9", claimed, "2026-01-01T00:00:09.000Z").to_string()).await;
    publisher.next("published").await;
    assert_eq!(publisher.end().await, Some(0));
    assert_eq!(subscriber.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_are_too_slow_cost_memory_up_to_a_limit_and_then_a_resync() {
    let options = json!({ "maxQueue": 10 });
    let mut scene = Scene::set("ts_slow", EmulatorConfig::default(), &options).await;
    scene.subscriber.tell("slow").await;
    scene.publish(0..40).await;
    scene.subscriber.tell("fast").await;
    let resync = scene.subscriber.next("resync").await;
    assert_eq!(resync["reason"], "too-slow");
    // Ten wait; one may be with its handler already.
    let handled: Vec<i64> =
        scene.heard("event").iter().map(|event| event["n"].as_i64().unwrap()).collect();
    assert!((10..=11).contains(&handled.len()), "{handled:?}");
    assert!(handled.is_sorted(), "{handled:?}");
    scene.end(40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_an_error_and_not_a_wait() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let script = npm_workspace::script("client/wrong_key");
    let args = [emulator.url(), "dev.local:wrong".to_owned()];
    let mut run =
        JsClient::start(script.to_str().unwrap(), &args.each_ref().map(String::as_str), &[]);
    let refused = tokio::time::timeout(Duration::from_secs(20), run.next("refused")).await.unwrap();
    assert_eq!((&refused["code"], &refused["listeners"]), (&json!(40_101), &json!(0)));
    assert_eq!(run.end().await, Some(0));
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_by_reference_are_fetched_and_a_link_elsewhere_is_not() {
    let (outbox, ably) = (Outbox::create("ts_payloads").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    // Links name the port before the relay listens on it.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let options = json!({ "payloadUrl": format!("{url}/") });
    let mut subscriber = subscriber(&ably.url(), &options).await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_MESSAGE_OVERSIZE", "reference")
        .env("OUTBOX_RELAY_PAYLOAD_URL", &url)
        .env("OUTBOX_RELAY_PAYLOAD_SECRET", "thirty-two-characters-or-more-of-chance")
        .env("OUTBOX_RELAY_HTTP_LISTEN", &address.to_string())
        .start();
    relay.wait_for_log("answering on", 1);
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let other = format!("http://{}/events/x/payload", elsewhere.local_addr().unwrap());
    insert(&client, "a", r#"{"n": 0}"#).await;
    let large = json!({ "n": 1, "text": "ü".repeat(100_000) });
    insert(&client, "a", &large.to_string()).await;
    let dead = format!("{url}/events/none/payload?expires=1&signature=x");
    let dead = insert(&client, "a", &json!({ "payloadRef": dead }).to_string()).await;
    insert(&client, "a", &json!({ "payloadRef": other }).to_string()).await;
    insert(&client, "a", r#"{"n": 4}"#).await;
    for n in [json!(0), json!(1), Value::Null, json!(4)] {
        assert_eq!(subscriber.next("event").await["n"], n, "{:?}", subscriber.passed_over);
    }
    let errors = subscriber.passed_over.iter().filter(|line| line["type"] == "error");
    let [error] = errors.collect::<Vec<_>>()[..] else { panic!("{:?}", subscriber.passed_over) };
    let message = error["message"].as_str().unwrap();
    assert_eq!(error["name"], "PayloadError");
    assert!(message.contains(&dead) && message.contains("the relay answers 403"), "{message}");
    let asked = elsewhere.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "a link elsewhere was followed");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(subscriber.end().await, Some(0));
}
