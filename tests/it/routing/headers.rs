//! Traces in the headers of messages: of every event that has one, and the same when a message is repeated.

use serde_json::{Value, json};

use super::Site;
use crate::support::local_ably::LocalAbly;
use crate::support::relay::RelayCommand;

const ON: (&str, &str) = ("OUTBOX_RELAY_MESSAGE_HEADERS", "on");

fn trace(n: i64) -> String {
    format!("00-{:032x}-{:016x}-01", 0xabc + n, 0xdef + n)
}

/// Id, name, data and extras of what was accepted.
async fn sent(ably: &LocalAbly) -> Vec<Value> {
    let part = |m: &Value| json!([m["id"], m["name"], m["data"], m["extras"]]);
    let mut all: Vec<Value> = ably.accepted_whole().await.iter().map(part).collect();
    all.sort_by_key(ToString::to_string);
    all
}

/// The numbers of the events whose messages tell their own trace, and of those that tell none.
fn traced(messages: &[Value]) -> (Vec<i64>, Vec<i64>) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for message in messages {
        let data: Value = serde_json::from_str(message[2].as_str().unwrap()).unwrap();
        let n = data["payload"]["n"].as_i64().unwrap();
        match message[3].pointer("/headers/traceparent") {
            Some(told) => {
                assert_eq!(*told, json!(trace(n)));
                with.push(n);
            }
            None => without.push(n),
        }
    }
    with.sort_unstable();
    without.sort_unstable();
    (with, without)
}

impl Site {
    /// A group, an event that goes alone, one without a trace and one whose trace is none.
    async fn insert_traced(&self) {
        let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, traceparent) \
                   values ($1, 'Task', 't-1', 'k.task.done', jsonb_build_object('n', $2::bigint), $3)";
        let rows = [
            ("a", 0, Some(trace(0))),
            ("a", 1, Some(trace(1))),
            ("b", 2, Some(trace(2))),
            ("c", 3, None),
            ("d", 4, Some(trace(4).replace('0', "x"))),
        ];
        for (tenant, n, trace) in rows {
            self.client.execute(sql, &[&tenant, &i64::from(n), &trace]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_told_alone_in_a_group_and_in_a_repeat_that_is_the_same_to_the_byte() {
    let site = Site::new("headers_trace").await;
    site.insert_traced().await;
    let mut relay = site.relay(&[ON, ("FAILPOINT_CRASH_AT", "before_settle:1")]);
    assert_eq!(relay.wait(), None, "killed with everything sent and nothing settled");
    let first = sent(&site.ably).await;
    assert_eq!(traced(&first), (vec![0, 1, 2], vec![3, 4]));
    // An Ably that has forgotten the first time takes the second, and shows what it was.
    let other = LocalAbly::start().await;
    let relay = RelayCommand::new(&site.outbox.database.dsn(), &other).env(ON.0, ON.1).start();
    site.all_published().await;
    assert_eq!(sent(&other).await, first);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_headers_nobody_is_told_a_trace() {
    let site = Site::new("headers_off").await;
    site.insert_traced().await;
    let relay = site.relay(&[]);
    site.all_published().await;
    let messages = sent(&site.ably).await;
    assert_eq!(messages.len(), 5);
    assert!(messages.iter().all(|message| message[3].is_null()), "{messages:?}");
    assert_eq!(relay.terminate(), Some(0));
}
