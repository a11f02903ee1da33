//! What the relay promises while nothing breaks: order, everything once, nothing that was rolled back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use outbox_relay::emulator::EmulatorConfig;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::{RelayCommand, RelayProcess};

/// Every event once, each tenant's in the order of `payload.n`, from 0 without a gap.
pub(crate) fn assert_complete_and_in_order(got: &[Got], tenants: usize, events: i64) {
    let ids: HashSet<&str> = got.iter().map(Got::id).collect();
    assert_eq!(ids.len(), got.len(), "no event twice");
    let mut next: HashMap<&str, i64> = HashMap::new();
    for message in got {
        let expected = next.entry(&message.channel).or_default();
        assert_eq!(message.n(), *expected, "order of {}", message.channel);
        *expected += 1;
    }
    assert_eq!(next.len(), tenants);
    assert!(next.values().all(|n| *n == events), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_relays_keep_the_order_of_every_tenant_and_send_nothing_twice() {
    let (outbox, ably) = (Outbox::create("four").await, LocalAbly::start().await);
    ably.fault(r#"{"kind":"delay","delay_ms":3}"#).await;
    let relays: Vec<_> =
        (0..4).map(|_| RelayProcess::start(&outbox.database.dsn(), &ably)).collect();
    relays.iter().for_each(RelayProcess::wait_until_listening);
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let client = outbox.connect().await;
        writers.spawn(async move {
            for n in 0..150 {
                for tenant in 0..5 {
                    let tenant = format!("tenant-{writer}-{tenant}");
                    insert(&client, &tenant, &format!("{{\"n\":{n}}}")).await;
                }
            }
        });
    }
    writers.join_all().await;
    let got = ably.wait_for(3_000).await;
    assert_complete_and_in_order(&got, 20, 150);
    for relay in relays {
        assert_eq!(relay.complaints(), [Value::Null; 0]);
        assert_eq!(relay.terminate(), Some(0));
    }
    let client = outbox.connect().await;
    assert_eq!(count(&client, "published").await, 3_000);
    let left: i64 = client
        .query_one(
            "select (select count(*) from outbox.in_flight) + (select count(*) from outbox.hold)",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "no record is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_published_milliseconds_after_commit_by_notification_alone() {
    let (outbox, ably) = (Outbox::create("bell").await, LocalAbly::start().await);
    // With a sweep every five minutes only the bell can explain that anything is published.
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .start();
    relay.wait_until_listening();
    let client = outbox.connect().await;
    for n in 0..20 {
        let id = insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        let got = ably.wait_for(n + 1).await;
        assert_eq!(got[n].id(), id);
        assert_eq!(got[n].message_id, id, "an event alone goes under its own id");
    }
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_never_published() {
    let (outbox, ably) = (Outbox::create("rollback").await, LocalAbly::start().await);
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    let mut client = outbox.connect().await;
    for n in 0..10 {
        let transaction = client.transaction().await.unwrap();
        insert(transaction.client(), "a", &format!("{{\"n\":{n},\"gone\":true}}")).await;
        transaction.rollback().await.unwrap();
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    let got = ably.wait_for(10).await;
    assert_complete_and_in_order(&got, 1, 10);
    assert!(got.iter().all(|m| m.envelope["payload"]["gone"].is_null()));
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.accepted().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_did_not_ring_is_swept() {
    let (outbox, ably) = (Outbox::create("sweep").await, LocalAbly::start().await);
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    let client = outbox.connect().await;
    client.batch_execute("alter table outbox.event disable trigger event_bell").await.unwrap();
    insert(&client, "a", r#"{"n":0}"#).await;
    assert_complete_and_in_order(&ably.wait_for(1).await, 1, 1);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_events_of_a_tenant_go_as_one_group_and_tenants_share_a_request() {
    let (outbox, ably) = (Outbox::create("group").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 't' || t, 'a', 'b', 'c.d', jsonb_build_object('n', n)
               from generate_series(0, 19) n, generate_series(1, 40) t order by n",
        )
        .await
        .unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(800).await;
    assert_complete_and_in_order(&got, 40, 20);
    assert_eq!(relay.terminate(), Some(0));
    let bases: HashSet<&str> =
        got.iter().map(|m| m.message_id.rsplit_once(':').expect("a group").0).collect();
    assert_eq!(bases.len(), 40, "one group a tenant");
    let requests = &ably.stats().await["requests"];
    // A relay's first claim is a small one; all others share the second request.
    assert!(requests["batch"].as_u64() <= Some(2), "one request for all: {requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_a_large_backlog_does_not_delay_another() {
    let (outbox, ably) = (Outbox::create("fair").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'big', 'a', 'b', 'c.d', jsonb_build_object('n', n) from generate_series(0, 9999) n",
        )
        .await
        .unwrap();
    insert(&client, "small", r#"{"n":0}"#).await;
    ably.fault(r#"{"kind":"delay","delay_ms":20}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(10_001).await;
    assert_eq!(relay.terminate(), Some(0));
    let place = got.iter().position(|m| m.channel == "tenant:small").unwrap();
    assert!(place <= 500, "the small tenant came {place}th");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_tenants_than_a_claim_takes_each_gets_its_turn() {
    let (outbox, ably) = (Outbox::create("turn").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select t, 'a', 'b', 'c.d', jsonb_build_object('n', n)
               from generate_series(0, 299) n, unnest('{a,b,c}'::text[]) t",
        )
        .await
        .unwrap();
    insert(&client, "z", r#"{"n":0}"#).await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_BATCH_TENANTS", "1")
        .env("OUTBOX_RELAY_ROWS_PER_TENANT", "10")
        .env("OUTBOX_RELAY_MAX_IN_FLIGHT", "1")
        .start();
    let got = ably.wait_for(901).await;
    assert_eq!(relay.terminate(), Some(0));
    let place = got.iter().position(|m| m.channel == "tenant:z").unwrap();
    assert!(place <= 40, "the last tenant in the alphabet came {place}th");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_rows_fail_with_their_error_and_their_neighbours_go_on() {
    let (outbox, ably) = (Outbox::create("malformed").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let long = "x".repeat(2_500);
    for tenant in [" ", "a:b", "a*", "a,b", "a\nb", "[a", long.as_str()] {
        insert(&client, tenant, r#"{"n":0}"#).await;
    }
    insert(&client, "good", r#"{"n":0}"#).await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers) values
               ('good', 'a', 'b', 'nodot', '{\"n\":1}', null),
               ('good', 'a', '', 'c.d', '{\"n\":1}', null),
               ('good', 'a', 'b', 'c.d', '{\"n\":1}', '[1]'),
               ('good', 'a', 'b', 'c.d', to_jsonb(repeat('x', 70000)), null),
               ('good', 'a', 'b', 'c.d', to_jsonb(repeat('x', 30000000)), null),
               ('good', 'a', 'b', 'c.d', '{\"n\":1,\"big\":123456789012345678901234567890}', '{\"k\":true}');
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, occurred_at)
             values ('good', 'a', 'b', 'c.d', '{\"n\":2}', 'infinity')",
        )
        .await
        .unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(3).await;
    relay.wait_for_log("failed", 12);
    assert_eq!(relay.terminate(), Some(0));
    assert_complete_and_in_order(&got, 1, 3);
    assert_eq!(count(&client, "pending").await, 0);
    let codes = client
        .query(
            "select error ->> 'code', count(*), bool_and(length(error ->> 'message') > 10)
               from outbox.event where status = 'failed' group by 1 order by 1",
            &[],
        )
        .await
        .unwrap();
    let codes: Vec<(String, i64, bool)> =
        codes.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    assert_eq!(
        codes,
        [("PAYLOAD_TOO_LARGE".into(), 2, true), ("VALIDATION_ERROR".into(), 10, true)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_ably_refuses_is_found_among_its_group_and_fails_alone() {
    let ably = LocalAbly::with(EmulatorConfig {
        channel_rate_per_second: 0,
        message_bytes_max: 8_000,
        ..EmulatorConfig::default()
    })
    .await;
    let outbox = Outbox::create("refused").await;
    let client = outbox.connect().await;
    for n in 0..100 {
        let filler = if n == 57 { "y".repeat(9_000) } else { String::new() };
        insert(&client, "a", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await;
    }
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(99).await;
    relay.wait_for_log("failed", 1);
    assert_eq!(relay.terminate(), Some(0));
    let numbers: Vec<i64> = got.iter().map(Got::n).collect();
    let expected: Vec<i64> = (0..100).filter(|n| *n != 57).collect();
    assert_eq!(numbers, expected, "the others are all there, in order");
    let requests = ably.stats().await["requests"]["publish"].as_u64().unwrap();
    assert!(requests < 40, "it was found in {requests} requests, not one by one");
    let error: String = client
        .query_one("select error::text from outbox.event where status = 'failed'", &[])
        .await
        .unwrap()
        .get(0);
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["code"], &error["ablyErrorCode"]), (&"ABLY_ERROR".into(), &40_009.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn enqueue_measures_the_very_message_that_is_sent() {
    let (outbox, ably) = (Outbox::create("measure").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    // Characters that JSON escapes, and ones of several bytes, at exactly the limit and one byte over.
    let enqueue = async |filler: usize| {
        let payload = serde_json::json!({ "n": 0, "f": "x".repeat(filler) }).to_string();
        client
            .query_one(
                "select outbox.enqueue('käse \"1\"', 'küche.a\"b.c', $1::text::jsonb, 'T\tä', E'i\\\\\u{1}', headers => '{\"h\":\"ü\"}')",
                &[&payload],
            )
            .await
    };
    let error = enqueue(70_000).await.unwrap_err();
    let message = error.as_db_error().unwrap().message().to_owned();
    let bytes: usize = message.split_whitespace().find_map(|w| w.parse().ok()).expect("a number");
    let fits = 70_000 - (bytes - 65_536);
    assert!(enqueue(fits + 1).await.is_err());
    enqueue(fits).await.unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(1).await;
    relay.wait_for_log("the limit is near", 1);
    let said = relay.log().into_iter().find(|l| l["bytes"].is_u64()).unwrap();
    assert_eq!(said["bytes"], 65_536);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_run_drains_and_exits() {
    let (outbox, ably) = (Outbox::create("once").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for n in 0..30 {
        insert(&client, &format!("t{}", n % 3), &format!("{{\"n\":{}}}", n / 3)).await;
    }
    let once = || RelayCommand::new(&outbox.database.dsn(), &ably).arg("--once").start();
    assert_eq!(once().wait(), Some(0));
    assert_complete_and_in_order(&ably.accepted().await, 3, 10);
    assert_eq!(once().wait(), Some(0), "nothing to do is success");

    insert(&client, "t0", r#"{"n":10}"#).await;
    ably.fault(r#"{"kind":"unauthorized"}"#).await;
    let mut refused = once();
    assert_eq!(refused.wait(), Some(77));
    assert_eq!(count(&client, "pending").await, 1);
    ably.clear_faults().await;
    assert_eq!(once().wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_finishes_what_is_in_flight_and_a_second_signal_ends_at_once() {
    let (outbox, ably) = (Outbox::create("sigterm").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"delay","delay_ms":700,"times":1}"#).await;
    insert(&client, "a", r#"{"n":0}"#).await;
    in_flight(&ably, 1).await;
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(count(&client, "published").await, 1, "the batch in flight was settled");

    let mut relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"hang_before","delay_ms":30000}"#).await;
    insert(&client, "a", r#"{"n":1}"#).await;
    in_flight(&ably, 2).await;
    relay.signal(nix::sys::signal::Signal::SIGTERM);
    relay.wait_for_log("stopping", 1);
    // What comes within 300 ms of the first is taken for an echo of it; with one that is not, it ends.
    while relay.ended().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        relay.signal(nix::sys::signal::Signal::SIGTERM);
    }
    assert_eq!(relay.wait(), Some(143));
    assert_eq!(count(&client, "pending").await, 1);
}

/// Waits until the emulator has seen this many publish requests.
pub(crate) async fn in_flight(ably: &LocalAbly, requests: u64) {
    ably.wait_until("the request", async |stats| {
        let count = |kind: &str| stats["requests"][kind].as_u64().unwrap_or(0);
        count("publish") + count("batch") >= requests
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_period_that_is_over_leaves_events_pending_and_exits_cleanly() {
    let (outbox, ably) = (Outbox::create("grace").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_SHUTDOWN_GRACE", "100ms")
        .start();
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"hang_before","delay_ms":30000}"#).await;
    insert(&client, "a", r#"{"n":0}"#).await;
    in_flight(&ably, 1).await;
    let started = std::time::Instant::now();
    assert_eq!(relay.terminate(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(count(&client, "pending").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_else_has_locked_holds_its_tenant_and_nobody_else() {
    let (outbox, ably) = (Outbox::create("locked").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for tenant in ["a", "b"] {
        for n in 0..3 {
            insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
        }
    }
    let mut operator = outbox.connect().await;
    let open = operator.transaction().await.unwrap();
    let middle =
        "select from outbox.event where tenant_id = 'a' and payload ->> 'n' = '1' for update";
    open.execute(middle, &[]).await.unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    // Everything of b, and of a what stands before the locked row; sweeps come and go.
    let before_the_lock = |got: &[Got]| {
        got.iter().filter(|m| m.channel == "tenant:a").map(Got::n).collect::<Vec<_>>() == [0]
    };
    assert!(before_the_lock(&ably.wait_for(4).await));
    insert(&client, "b", r#"{"n":3}"#).await;
    assert!(before_the_lock(&ably.wait_for(5).await), "a later event must not overtake");
    open.commit().await.unwrap();
    insert(&client, "a", r#"{"n":3}"#).await;
    assert_complete_and_in_order(&ably.wait_for(8).await, 2, 4);
    assert_eq!(relay.terminate(), Some(0));
}
