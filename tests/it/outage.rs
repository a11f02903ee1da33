//! What the relay does when Ably refuses: nothing is lost, nobody is blamed who is not to blame.

use std::time::Duration;

use outbox_relay::emulator::EmulatorConfig;

use crate::drain::{assert_complete_and_in_order, in_flight};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert, wait_until};
use crate::support::relay::{RelayCommand, RelayProcess};

async fn attempts(client: &tokio_postgres::Client) -> i64 {
    client.query_one("select sum(attempts) from outbox.event", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_fails_no_event_consumes_no_attempt_and_ends_in_order() {
    for fault in [
        r#"{"kind":"status","status":503,"code":50003}"#,
        r#"{"kind":"status_after","status":500,"code":50000}"#,
        r#"{"kind":"reset_before"}"#,
        r#"{"kind":"reset_after"}"#,
        r#"{"kind":"throttle_account"}"#,
        r#"{"kind":"throttle_edge"}"#,
        r#"{"kind":"unauthorized"}"#,
    ] {
        let (outbox, ably) = (Outbox::create("outage").await, LocalAbly::start().await);
        let client = outbox.connect().await;
        let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
        relay.wait_until_listening();
        ably.fault(fault).await;
        for n in 0..20 {
            for tenant in ["a", "b", "c"] {
                insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
            }
        }
        in_flight(&ably, 3).await;
        relay.wait_for_log("publishing is", 1);
        assert_eq!((count(&client, "failed").await, attempts(&client).await), (0, 0), "{fault}");
        ably.clear_faults().await;
        let got = ably.wait_for(60).await;
        assert_complete_and_in_order(&got, 3, 20);
        relay.wait_for_log("Ably accepts events again", 1);
        assert_eq!(relay.terminate(), Some(0), "{fault}");
        assert_eq!(ably.accepted().await.len(), 60, "{fault}");
        assert_eq!(
            (count(&client, "published").await, attempts(&client).await),
            (60, 0),
            "{fault}"
        );
        assert!(relay_lines_are_few(&ably).await);
    }
}

/// A relay that asked in a hot loop would have made thousands of requests.
async fn relay_lines_are_few(ably: &LocalAbly) -> bool {
    let requests = &ably.stats().await["requests"];
    requests["publish"].as_u64().unwrap() + requests["batch"].as_u64().unwrap() < 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_channel_slows_its_tenant_and_nobody_else() {
    let (outbox, ably) = (Outbox::create("throttle").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"throttle_channel","channel":"tenant:hot"}"#).await;
    for n in 0..10 {
        insert(&client, "hot", &format!("{{\"n\":{n}}}")).await;
        insert(&client, "cool", &format!("{{\"n\":{n}}}")).await;
    }
    let got = ably.wait_for(10).await;
    assert!(got.iter().all(|m| m.channel == "tenant:cool"));
    // The others are accepted, the hold may not be committed yet.
    wait_until(&client, "select exists (select from outbox.hold where tenant_id = 'hot')").await;
    let held: String = client
        .query_one("select reason from outbox.hold where tenant_id = 'hot'", &[])
        .await
        .expect("a visible hold")
        .get(0);
    assert_eq!(held, "throttled_channel");
    // The tenant is asked for again after 100 ms at the earliest, then ever more rarely.
    let (failures, seconds) = loop {
        let sql = "select failures, date_part('epoch', clock_timestamp() - since) from outbox.hold";
        let row = client.query_one(sql, &[]).await.unwrap();
        let (failures, seconds): (i32, f64) = (row.get(0), row.get(1));
        if failures >= 4 {
            break (failures, seconds);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(f64::from(failures) < 2.0 + seconds / 0.1, "{failures} refusals in {seconds} s");
    ably.clear_faults().await;
    assert_complete_and_in_order(&ably.wait_for(20).await, 2, 10);
    assert_eq!(relay.complaints(), [serde_json::Value::Null; 0], "being slowed down is routine");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(attempts(&client).await, 0);
    let holds: i64 =
        client.query_one("select count(*) from outbox.hold", &[]).await.unwrap().get(0);
    assert_eq!(holds, 0, "success releases the hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn ablys_own_rate_per_channel_is_lived_with() {
    let ably = LocalAbly::with(EmulatorConfig {
        channel_rate_per_second: 10,
        ..EmulatorConfig::default()
    })
    .await;
    let outbox = Outbox::create("rate").await;
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    for n in 0..100 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    assert_complete_and_in_order(&ably.wait_for(100).await, 1, 100);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(attempts(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_that_waits_for_its_rate_goes_on_by_itself() {
    let (outbox, ably) = (Outbox::create("paces").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .env("OUTBOX_RELAY_CHANNEL_RATE", "1")
        .start();
    relay.wait_until_listening();
    // One after the other both use up what they may send at once; then only the second has more, and the
    // first one's turn, which comes earlier, finds nothing.
    for (turn, tenant) in ["a", "b"].into_iter().enumerate() {
        for n in 0..5 {
            insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
            ably.wait_for(turn * 5 + n + 1).await;
        }
    }
    insert(&client, "b", r#"{"n":5}"#).await;
    ably.wait_for(11).await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_capability_holds_that_tenant_and_says_so() {
    let (outbox, ably) = (Outbox::create("capability").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:secret"}"#).await;
    insert(&client, "secret", r#"{"n":0}"#).await;
    insert(&client, "open", r#"{"n":0}"#).await;
    assert_eq!(ably.wait_for(1).await[0].channel, "tenant:open");
    relay.wait_for_log("tenant secret is on hold", 1);
    // Accepted is not yet settled.
    let settled = "select count(*) = 1 from outbox.event where status = 'published'";
    wait_until(&client, settled).await;
    assert_eq!(count(&client, "pending").await, 1);
    ably.clear_faults().await;
    assert_complete_and_in_order(&ably.wait_for(2).await, 2, 1);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(attempts(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sick_channel_does_not_stop_the_others() {
    let (outbox, ably) = (Outbox::create("sick").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for n in 0..5 {
        for tenant in ["sick", "b", "c"] {
            insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
        }
    }
    ably.fault(r#"{"kind":"status","status":500,"code":50000,"channel":"tenant:sick"}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(10).await;
    relay.wait_for_log("tenant sick is on hold", 1);
    ably.clear_faults().await;
    assert_complete_and_in_order(&ably.wait_for(15).await, 3, 5);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(attempts(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_unknown_meaning_is_tried_a_few_times_and_then_fails_that_event() {
    let (outbox, ably) = (Outbox::create("unknown").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    ably.fault(r#"{"kind":"status","status":400,"code":40777,"channel":"tenant:odd"}"#).await;
    insert(&client, "odd", r#"{"n":0}"#).await;
    insert(&client, "plain", r#"{"n":0}"#).await;
    relay.wait_for_log("failed", 1);
    ably.clear_faults().await;
    assert_eq!(relay.terminate(), Some(0));
    let row = client
        .query_one("select attempts, (error ->> 'ablyErrorCode')::int from outbox.event where status = 'failed'", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (5, 40_777));
    assert_eq!(count(&client, "published").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ably_that_cannot_be_reached_is_waited_for() {
    let outbox = Outbox::create("unreachable").await;
    let client = outbox.connect().await;
    let ably = LocalAbly::start().await;
    let addr = ably.addr();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    drop(ably);
    insert(&client, "a", r#"{"n":0}"#).await;
    relay.wait_for_log("publishing is interrupted", 1);
    let ably = LocalAbly::with(EmulatorConfig { listen: addr, ..EmulatorConfig::default() }).await;
    ably.wait_for(1).await;
    relay.wait_for_log("Ably accepts events again", 1);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(count(&client, "published").await, 1, "settled before the relay ended");
}
