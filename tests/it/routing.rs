//! Channels by a template, formats of messages, and payloads by reference: the real binary, the emulator, the official
//! client.

use std::collections::BTreeMap;

use outbox_relay::emulator::API_KEY_DEFAULT;
use serde_json::{Value, json};

use crate::emulator_client::js_client::JsClient;
use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, count, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

mod headers;
mod payloads;

const BY_MODULE: (&str, &str) = ("OUTBOX_RELAY_CHANNEL_TEMPLATE", "tenant:{tenant_id}:{module}");
const TOO: (&str, &str) = ("OUTBOX_RELAY_CHANNEL_TENANT_TOO", "on");

struct Site {
    outbox: Outbox,
    ably: LocalAbly,
    client: TestClient,
}

impl Site {
    async fn new(hint: &str) -> Self {
        let (outbox, ably) = (Outbox::create(hint).await, LocalAbly::start().await);
        let client = outbox.connect().await;
        Self { outbox, ably, client }
    }

    fn relay(&self, environment: &[(&str, &str)]) -> RelayProcess {
        let command = RelayCommand::new(&self.outbox.database.dsn(), &self.ably);
        environment.iter().fold(command, |command, (name, value)| command.env(name, value)).start()
    }

    /// Tenant `a`'s events: a letter is the module.
    async fn insert(&self, modules: &str, from: i64) {
        let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                   values ('a', 'Task', 't-1', $1, jsonb_build_object('n', $2::bigint))";
        for (n, module) in (from..).zip(modules.chars()) {
            let event_type = format!("{module}.task.done");
            self.client.execute(sql, &[&event_type, &n]).await.unwrap();
        }
    }

    async fn all_published(&self) {
        let sql = "select not exists (select from outbox.event where status <> 'published') \
                   and not exists (select from outbox.in_flight)";
        wait_until(&self.client, sql).await;
    }
}

/// The numbers that each channel got, in its order.
fn by_channel(got: &[Got]) -> BTreeMap<&str, Vec<i64>> {
    let mut channels = BTreeMap::<&str, Vec<i64>>::new();
    for one in got {
        channels.entry(&one.channel).or_default().push(one.n());
    }
    channels
}

#[tokio::test(flavor = "multi_thread")]
async fn each_module_has_its_channel_in_order_and_the_rest_the_tenants() {
    let site = Site::new("modules").await;
    site.insert("kpkqkpq", 0).await;
    let relay = site.relay(&[BY_MODULE, ("OUTBOX_RELAY_CHANNEL_MODULES", "k, p")]);
    let got = site.ably.wait_for(7).await;
    let expected =
        [("tenant:a", vec![3, 6]), ("tenant:a:k", vec![0, 2, 4]), ("tenant:a:p", vec![1, 5])];
    assert_eq!(by_channel(&got), expected.into());
    site.all_published().await;
    assert_eq!(relay.complaints(), [Value::Null; 0]);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_tenants_channel_both_get_all_in_order() {
    let site = Site::new("beside").await;
    site.insert("kpkp", 0).await;
    let relay = site.relay(&[BY_MODULE, TOO]);
    site.ably.wait_for(8).await;
    site.insert("k", 4).await;
    let got = site.ably.wait_for(10).await;
    let expected = [
        ("tenant:a", vec![0, 1, 2, 3, 4]),
        ("tenant:a:k", vec![0, 2, 4]),
        ("tenant:a:p", vec![1, 3]),
    ];
    assert_eq!(by_channel(&got), expected.into());
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(count(&site.client, "published").await, 5);
}

/// After a crash at this step and a restart each channel has its events once, and what was on record went again as it
/// was.
async fn crash_at(step: &str, first: &[(&str, &str)], second: &[(&str, &str)], messages: usize) {
    let site = Site::new("crash").await;
    site.insert("kpkpk", 0).await;
    let crash = ("FAILPOINT_CRASH_AT", step);
    let mut relay = site.relay(&[first, &[crash]].concat());
    assert_eq!(relay.wait(), None, "killed");
    let sql = "select base_id, seqs::text from outbox.in_flight";
    let record = site.client.query_one(sql, &[]).await.expect("a record");
    let (base, seqs): (String, String) = (record.get(0), record.get(1));
    let (base, channel) = base.split_once(' ').unwrap_or((&base, "tenant:a"));
    site.insert("kp", 5).await;
    let relay = site.relay(second);
    let got = site.ably.wait_for(messages).await;
    site.all_published().await;
    assert_eq!(site.ably.accepted().await.len(), messages, "nothing twice");
    for (channel, numbers) in by_channel(&got) {
        assert!(numbers.is_sorted(), "{channel}: {numbers:?}");
    }
    // The positions begin at 1, the numbers at 0.
    let repeated: Vec<(String, i64)> = got
        .iter()
        .filter(|one| one.channel == channel && one.message_id.starts_with(base))
        .map(|one| (one.message_id.clone(), one.n() + 1))
        .collect();
    let recorded: Vec<i64> =
        seqs[1..seqs.len() - 1].split(',').map(|s| s.parse().unwrap()).collect();
    let expected: Vec<(String, i64)> = (0..)
        .zip(&recorded)
        .map(|(index, seq): (usize, _)| (format!("{base}:{index}"), *seq))
        .collect();
    assert_eq!(repeated, expected, "{channel}");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_channel_is_repeated_as_it_was_whenever_its_relay_died() {
    for step in ["after_record:1", "before_settle:1", "before_settle:2"] {
        crash_at(step, &[BY_MODULE], &[BY_MODULE], 7).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_tenants_channel_a_group_is_repeated_as_it_was_too() {
    for step in ["after_record:1", "before_settle:1"] {
        crash_at(step, &[BY_MODULE, TOO], &[BY_MODULE, TOO], 14).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_where_it_went_though_the_template_has_changed_since() {
    crash_at("before_settle:1", &[BY_MODULE], &[], 7).await;
    crash_at("before_settle:1", &[], &[BY_MODULE], 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_of_two_channels_refuses_the_other_is_not_sent_to_again() {
    let site = Site::new("partly").await;
    let fault = r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:a:k"}"#;
    site.ably.fault(fault).await;
    site.insert("kk", 0).await;
    let relay = site.relay(&[BY_MODULE, TOO]);
    wait_until(&site.client, "select coalesce((select failures >= 2 from outbox.hold), false)")
        .await;
    site.ably.clear_faults().await;
    let got = site.ably.wait_for(4).await;
    assert_eq!(by_channel(&got), [("tenant:a", vec![0, 1]), ("tenant:a:k", vec![0, 1])].into());
    site.all_published().await;
    assert_eq!(site.ably.stats().await["duplicates_suppressed"], 0, "it was not even asked");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_gets_a_modules_events_with_headers_to_filter_by() {
    let site = Site::new("headers_on").await;
    let mut subscriber =
        JsClient::subscribe(&site.ably.url(), API_KEY_DEFAULT, &["tenant:a:k"]).await;
    let relay = site.relay(&[BY_MODULE, ("OUTBOX_RELAY_MESSAGE_HEADERS", "on")]);
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers) \
               values ('a', 'Task', 't-1', 'k.task.done', '{\"n\": 1}', $1::text::jsonb)";
    for headers in [None, Some("{\"trace\": \"x\", \"eventType\": \"mine\"}")] {
        site.client.execute(sql, &[&headers]).await.unwrap();
    }
    let first = subscriber.next("message").await;
    let expected =
        json!({ "eventType": "k.task.done", "aggregateType": "Task", "aggregateId": "t-1" });
    assert_eq!(first["extras"]["headers"], expected);
    assert_eq!(first["data"]["payload"], json!({ "n": 1 }));
    let second = subscriber.next("message").await;
    let expected =
        json!({ "eventType": "mine", "trace": "x", "aggregateType": "Task", "aggregateId": "t-1" });
    assert_eq!(second["extras"]["headers"], expected);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(subscriber.end().await, Some(0));
}

/// What the JSON format of CloudEvents 1.0 asks of an event, in our words.
fn cloudevents_schema() -> Value {
    let filled = json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "required": ["id", "source", "specversion", "type"],
        "properties": {
            "id": filled, "type": filled, "subject": filled, "specversion": { "const": "1.0" },
            "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
            "time": { "type": "string", "format": "date-time" },
            "datacontenttype": { "const": "application/json" },
            "dataref": { "type": "string", "format": "uri-reference" },
            "data": {},
        },
        // Whatever else there is is an extension: a short name of small letters and digits, with a simple value.
        "propertyNames": { "pattern": "^[a-z0-9]{1,20}$" },
        "additionalProperties": { "type": ["string", "boolean", "integer"] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_of_cloudevents_is_one() {
    let site = Site::new("cloudevents").await;
    let options = jsonschema::options().should_validate_formats(true);
    let schema = options.build(&cloudevents_schema()).unwrap();
    assert!(!schema.is_valid(&json!({ "id": "1", "source": "/x", "type": "a.b" })));
    assert!(
        !schema.is_valid(&json!({ "id": "1", "source": "a b", "type": "a", "specversion": "1.0" }))
    );
    let source = ("OUTBOX_RELAY_MESSAGE_SOURCE", "https://shop.example.com/outbox");
    let relay = site.relay(&[("OUTBOX_RELAY_MESSAGE_ENVELOPE", "cloudevents"), source]);
    site.insert("kp", 0).await;
    let got = site.ably.wait_for(2).await;
    for (n, one) in got.iter().enumerate() {
        let event = &one.envelope;
        assert!(schema.is_valid(event), "{event}");
        assert_eq!((&event["source"], &event["data"]["n"]), (&json!(source.1), &json!(n)));
        assert_eq!((&event["tenantid"], &event["subject"]), (&json!("a"), &json!("Task/t-1")));
        assert_eq!(one.channel, "tenant:a");
    }
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_template_is_refused_at_the_start_with_all_that_is_wrong() {
    let site = Site::new("template").await;
    let template = ("OUTBOX_RELAY_CHANNEL_TEMPLATE", "{tenant}:{modul}");
    let mut relay = site.relay(&[template]);
    assert_eq!(relay.wait(), Some(78));
    for part in ["{tenant}", "{modul}", "{aggregate_type}", "lacks {tenant_id}"] {
        let said = relay.log().iter().any(|line| line.to_string().contains(part));
        assert!(said, "{part}: {:#?}", relay.log());
    }
    let clash = ("OUTBOX_RELAY_CHANNEL_TEMPLATE", "tenant:x-{tenant_id}");
    let mut relay = site.relay(&[clash, TOO]);
    assert_eq!(relay.wait(), Some(78));
}
