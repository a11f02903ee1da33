//! Crashes are counted apart from refusals and outages: an event that brings relays down is isolated before
//! it can take others with it, and it is never failed for it.

use serde_json::Value;

use crate::crash::insert_numbers;
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

const DEADLY: &str = "kitchen.task.deadly";

/// A relay that the deadly event kills when it is about to be sent.
fn mortal(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    RelayCommand::new(&outbox.database.dsn(), ably).env("FAILPOINT_CRASH_ON", DEADLY).start()
}

async fn insert_deadly(client: &TestClient, tenant: &str, n: i64) {
    let id = insert(client, tenant, &format!("{{\"n\":{n}}}")).await;
    let sql = "update outbox.event set event_type = $1 where id = $2";
    client.execute(sql, &[&DEADLY, &id]).await.unwrap();
}

async fn published(client: &TestClient, tenant: &str) -> i64 {
    let sql = "select count(*) from outbox.event where tenant_id = $1 and status = 'published'";
    client.query_one(sql, &[&tenant]).await.unwrap().get(0)
}

async fn crashes(client: &TestClient, tenant: &str) -> Option<i32> {
    let sql = "select crashes from outbox.crash where tenant_id = $1";
    Some(client.query_opt(sql, &[&tenant]).await.unwrap()?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_kills_relays_takes_nobody_with_it() {
    let (outbox, ably) = (Outbox::create("deadly").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "m", 0..3).await;
    insert_deadly(&client, "m", 3).await;
    insert_numbers(&client, "m", 4..6).await;
    let mut starts = 0;
    let mut lived_on = 0;
    // Each time somebody else has events too, before and behind it in the alphabet.
    while lived_on < 2 {
        for tenant in ["a", "z"] {
            insert_numbers(&client, tenant, starts * 2..starts * 2 + 2).await;
        }
        starts += 1;
        assert!(starts <= 9, "it took others with it {starts} times");
        assert_eq!(mortal(&outbox, &ably).wait(), None, "killed");
        if published(&client, "a").await == starts * 2
            && published(&client, "z").await == starts * 2
        {
            lived_on += 1;
        }
    }
    assert_eq!(published(&client, "m").await, 0);
    let counted = crashes(&client, "m").await.expect("a count");
    assert!((3..10).contains(&counted), "{counted}");
    assert_eq!((crashes(&client, "a").await, crashes(&client, "z").await), (None, None));

    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let total = 6 + 4 * usize::try_from(starts).unwrap();
    let got = ably.wait_for(total).await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    wait_until(&client, "select not exists (select from outbox.crash)").await;
    assert_eq!(relay.terminate(), Some(0));
    let of_m: Vec<_> = got.into_iter().filter(|message| message.channel == "tenant:m").collect();
    assert_complete_and_in_order(&of_m, 1, 6);
    assert_eq!(ably.accepted().await.len(), total, "nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_keeps_killing_relays_waits_and_then_goes_one_by_one() {
    let (outbox, ably) = (Outbox::create("split").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "m", 0..3).await;
    insert_deadly(&client, "m", 3).await;
    insert_numbers(&client, "m", 4..6).await;
    for _ in 0..2 {
        assert_eq!(mortal(&outbox, &ably).wait(), None, "killed");
    }
    assert_eq!(crashes(&client, "m").await, Some(1));
    client.execute("update outbox.crash set crashes = 10", &[]).await.unwrap();
    let relay = mortal(&outbox, &ably);
    relay.wait_for_log("tenant m is on hold", 1);
    assert_eq!(relay.terminate(), Some(0), "it is not tried while Ably may know its ids");
    let row = client.query_one("select reason, message from outbox.hold", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "crashes");
    assert!(row.get::<_, &str>(1).contains("10 times"), "{row:?}");

    client
        .batch_execute(
            "update outbox.crash set tried_at = tried_at - interval '151 seconds'; delete from outbox.hold",
        )
        .await
        .unwrap();
    assert_eq!(mortal(&outbox, &ably).wait(), None, "killed");
    assert_eq!(published(&client, "m").await, 3, "what stands before it is out");
    // From here on it is alone.
    for _ in 0..4 {
        assert_eq!(mortal(&outbox, &ably).wait(), None, "killed");
    }
    assert_eq!((published(&client, "m").await, count(&client, "failed").await), (3, 0));
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    assert_complete_and_in_order(&ably.wait_for(6).await, 1, 6);
    wait_until(&client, "select not exists (select from outbox.crash)").await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_crash() {
    let (outbox, ably) = (Outbox::create("no_crash").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    ably.fault(r#"{"kind":"status","status":503,"code":50300}"#).await;
    insert_numbers(&client, "group", 0..5).await;
    insert_numbers(&client, "alone", 0..1).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_until("refusals", async |stats| {
        stats["requests"]["refused"]["50300"].as_u64().is_some_and(|n| n >= 5)
    })
    .await;
    let most: Option<i32> =
        client.query_one("select max(crashes) from outbox.crash", &[]).await.unwrap().get(0);
    assert!(most.unwrap_or_default() <= 1, "the one under way at most: {most:?}");
    ably.clear_faults().await;
    ably.wait_for(6).await;
    wait_until(&client, "select not exists (select from outbox.crash)").await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_encoder_cannot_bear_fails_alone() {
    let (outbox, ably) = (Outbox::create("panic").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "m", 0..3).await;
    insert_deadly(&client, "m", 99).await;
    insert_numbers(&client, "m", 3..5).await;
    let relay =
        RelayCommand::new(&outbox.database.dsn(), &ably).env("FAILPOINT_PANIC_ON", DEADLY).start();
    assert_complete_and_in_order(&ably.wait_for(5).await, 1, 5);
    wait_until(&client, "select count(*) = 1 from outbox.event where status = 'failed'").await;
    let error: Value = client
        .query_one("select error::text from outbox.event where status = 'failed'", &[])
        .await
        .map(|row| serde_json::from_str(row.get(0)).unwrap())
        .unwrap();
    assert_eq!(error["code"], "VALIDATION_ERROR");
    assert!(error["message"].as_str().unwrap().contains("a defect"), "{error}");
    assert_eq!(relay.terminate(), Some(0));
}
