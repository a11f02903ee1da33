//! Requeued events at the subscriber: once more, in order, under new message ids.

use std::time::{Duration, Instant};

use super::{insert_failed, numbers, run};
use crate::drain::in_flight;
use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::RelayProcess;

/// Waits until a query says `true`.
async fn wait_until(client: &tokio_postgres::Client, sql: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !client.query_one(sql, &[]).await.expect(sql).get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "not in time: {sql}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeued_event_is_delivered_again_under_one_new_message_id_whatever_crashes() {
    let (outbox, ably) = (Outbox::create("again").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    // Accepted, and refused all the same: the subscriber has it, and the row has failed.
    ably.fault(r#"{"kind":"status_after","status":400,"code":40010,"times":1}"#).await;
    let id = insert(&client, "a", r#"{"n":0}"#).await;
    let relay = RelayProcess::start(&url, &ably);
    relay.wait_for_log("failed:", 1);
    assert_eq!(ably.wait_for(1).await[0].message_id, id);

    ably.fault(r#"{"kind":"reply_lost","delay_ms":30000}"#).await;
    run(&url, &["events", "requeue", &id]).says("requeued 1 event");
    ably.wait_for(2).await;
    relay.kill();
    ably.clear_faults().await;
    let relay = RelayProcess::start(&url, &ably);
    wait_until(&client, "select count(*) = 1 from outbox.event where status = 'published'").await;
    let got = ably.accepted().await;
    let ids: Vec<&str> = got.iter().map(|m| m.message_id.as_str()).collect();
    assert_eq!(ids, [id.clone(), format!("{id}.r1")], "the repeat after the crash was dropped");
    assert!(got.iter().all(|m| m.id() == id), "the envelope's id stays");
    assert!(ably.stats().await["requests"]["publish"].as_u64() >= Some(3), "it was repeated");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_requeue_has_a_message_id_of_its_own() {
    let (outbox, ably) = (Outbox::create("generations").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    ably.fault(r#"{"kind":"status_after","status":400,"code":40010}"#).await;
    let id = insert(&client, "a", r#"{"n":0}"#).await;
    let relay = RelayProcess::start(&url, &ably);
    for generation in 1..=3 {
        relay.wait_for_log("failed:", generation);
        run(&url, &["events", "requeue", &id]).says("requeued 1 event");
        ably.wait_for(generation + 1).await;
    }
    let ids: Vec<String> = ably.accepted().await.into_iter().map(|m| m.message_id).collect();
    assert_eq!(ids, [id.clone(), format!("{id}.r1"), format!("{id}.r2"), format!("{id}.r3")]);
    relay.wait_for_log("failed:", 4);
    let shown = run(&url, &["events", "show", &id, "--json"]).objects();
    assert_eq!((&shown[0]["generation"], &shown[0]["attempts"]), (&3.into(), &1.into()));
    assert_eq!(shown[0]["audit"].as_array().unwrap().len(), 3);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeue_beside_running_relays_keeps_the_order_of_each_tenant_and_its_rate() {
    let (outbox, ably) = (Outbox::create("race").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let mut ids = Vec::new();
    for n in 0..60 {
        for tenant in ["a", "b", "c"] {
            ids.push(insert_failed(&client, tenant, &format!("{{\"n\":{n}}}")).await);
        }
    }
    ably.fault(r#"{"kind":"delay","delay_ms":5}"#).await;
    let relays = [RelayProcess::start(&url, &ably), RelayProcess::start(&url, &ably)];
    relays.iter().for_each(RelayProcess::wait_until_listening);
    let started = Instant::now();
    run(&url, &["events", "requeue", "--code", "40009", "--rate", "70", "--yes"])
        .says("requeued 180 events");
    assert!(
        started.elapsed() > Duration::from_millis(1_500),
        "60 at once, 120 more at 70 a second"
    );
    let got = ably.wait_for(180).await;
    let in_order: Vec<i64> = (0..60).collect();
    for tenant in ["a", "b", "c"] {
        assert_eq!(numbers(&got, tenant), in_order, "{tenant}");
    }
    let mut delivered: Vec<&str> = got.iter().map(Got::id).collect();
    delivered.sort_unstable();
    ids.sort_unstable();
    assert_eq!(delivered, ids, "each once");
    wait_until(&client, "select count(*) = 180 from outbox.event where status = 'published'").await;
    for relay in relays {
        assert_eq!(relay.complaints(), [serde_json::Value::Null; 0]);
        assert_eq!(relay.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeue_waits_for_the_drain_that_has_the_tenant() {
    let (outbox, ably) = (Outbox::create("waits").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let failed = insert_failed(&client, "a", r#"{"n":1}"#).await;
    let relay = RelayProcess::start(&url, &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"delay","delay_ms":1500,"times":1}"#).await;
    insert(&client, "a", r#"{"n":0}"#).await;
    in_flight(&ably, 1).await;
    let requeue = std::thread::spawn({
        let url = url.clone();
        move || run(&url, &["events", "requeue", &failed])
    });
    let waits = "select count(*) > 0 from pg_locks l join pg_database d on d.oid = l.database
                  where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    wait_until(&client, waits).await;
    assert_eq!(count(&client, "failed").await, 1, "not before the drain has settled");
    requeue.join().unwrap().says("requeued 1 event");
    assert_eq!(numbers(&ably.wait_for(2).await, "a"), [0, 1]);
    assert_eq!(relay.terminate(), Some(0));
}
