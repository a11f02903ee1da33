//! Events that failed for good: who waits for them, how they come back, and what an operator sees.

mod commands;
mod decisions;
mod redelivery;

use outbox_relay::emulator::EmulatorConfig;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::command::run;
use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::{RelayCommand, RelayProcess};

/// Inserts an event and fails it, as a relay would.
async fn insert_failed(client: &Client, tenant: &str, payload: &str) -> String {
    let id = insert(client, tenant, payload).await;
    let sql = r#"update outbox.event set status = 'failed', attempts = 1,
        error = '{"code": "ABLY_ERROR", "message": "too large", "ablyErrorCode": 40009}' where id = $1"#;
    client.execute(sql, &[&id]).await.unwrap();
    id
}

/// What subscribers of a tenant got, by `payload.n`.
pub(crate) fn numbers(got: &[Got], tenant: &str) -> Vec<i64> {
    let channel = format!("tenant:{tenant}");
    got.iter().filter(|m| m.channel == channel).map(Got::n).collect()
}

/// A relay under which every tenant waits for its failed events.
fn strict_relay(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    RelayCommand::new(&outbox.database.dsn(), ably).env("OUTBOX_RELAY_ON_FAILED", "block").start()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_block_a_tenant_waits_behind_its_failed_event_and_nobody_else_does() {
    let (outbox, ably) = (Outbox::create("block").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let mut bad = String::new();
    for n in 0..5 {
        let filler = if n == 2 { "x".repeat(70_000) } else { String::new() };
        let id = insert(&client, "a", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await;
        if n == 2 {
            bad = id;
        }
        insert(&client, "b", &format!("{{\"n\":{n}}}")).await;
    }
    let relay = strict_relay(&outbox, &ably);
    ably.wait_for(7).await;
    relay.wait_for_log("wait until somebody decides", 1);
    insert(&client, "a", r#"{"n":5}"#).await;
    insert(&client, "b", r#"{"n":5}"#).await;
    let got = ably.wait_for(8).await;
    assert_eq!(numbers(&got, "a"), [0, 1], "nothing behind the failed event");
    assert_eq!(numbers(&got, "b"), [0, 1, 2, 3, 4, 5]);

    let holds = run(&url, &["holds", "list", "--json"]).objects();
    assert_eq!(holds.len(), 1);
    assert_eq!((&holds[0]["tenant_id"], &holds[0]["reason"]), (&"a".into(), &"blocked".into()));
    assert_eq!((&holds[0]["until"], &holds[0]["backlog"]), (&Value::Null, &3.into()));
    assert!(holds[0]["message"].as_str().unwrap().contains(&bad), "{}", holds[0]);

    let mend = "update outbox.event set payload = '{\"n\":2}' where id = $1";
    client.execute(mend, &[&bad]).await.unwrap();
    run(&url, &["events", "requeue", &bad]).says("1 tenant no longer blocked");
    let got = ably.wait_for(12).await;
    assert_eq!(numbers(&got, "a"), [0, 1, 2, 3, 4, 5], "in order, the failed one in its place");
    assert_eq!(run(&url, &["holds", "list", "--json"]).objects().len(), 0);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_ably_refuses_blocks_its_tenant_until_it_is_discarded() {
    let config = EmulatorConfig { channel_rate_per_second: 0, ..EmulatorConfig::default() };
    let ably = LocalAbly::with(EmulatorConfig { message_bytes_max: 8_000, ..config }).await;
    let outbox = Outbox::create("refusedblock").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for n in 0..40 {
        let filler = if n == 17 || n == 23 { "y".repeat(9_000) } else { String::new() };
        insert(&client, "a", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await;
    }
    let relay = strict_relay(&outbox, &ably);
    for (turn, (published, bad)) in [(17, 17_i64), (22, 23)].into_iter().enumerate() {
        relay.wait_for_log("wait until somebody decides", turn + 1);
        assert_eq!(ably.wait_for(published).await.len(), published);
        let failed = run(&url, &["events", "list", "--json"]).objects();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["seq"], bad + 1);
        let id = failed[0]["id"].as_str().unwrap();
        run(&url, &["events", "discard", id, "--reason", "too large"]).says("no longer blocked");
    }
    let expected: Vec<i64> = (0..40).filter(|n| *n != 17 && *n != 23).collect();
    assert_eq!(numbers(&ably.wait_for(38).await, "a"), expected);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_have_a_policy_of_its_own() {
    let (outbox, ably) = (Outbox::create("policy").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    client
        .batch_execute("insert into outbox.tenant_policy values ('strict', 'block')")
        .await
        .unwrap();
    let bad =
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
               values ($1, 'a', 'b', 'nodot', '{\"n\":0}')";
    for tenant in ["strict", "easy"] {
        client.execute(bad, &[&tenant]).await.unwrap();
        insert(&client, tenant, r#"{"n":1}"#).await;
    }
    let relay = RelayProcess::start(&url, &ably);
    relay.wait_for_log("failed:", 2);
    assert_eq!(numbers(&ably.wait_for(1).await, "easy"), [1]);
    assert_eq!(run(&url, &["holds", "list", "--json"]).objects()[0]["tenant_id"], "strict");
    assert_eq!(relay.terminate(), Some(0));

    client
        .batch_execute("update outbox.tenant_policy set tenant_id = 'easy', on_failed = 'skip'")
        .await
        .unwrap();
    client.execute(bad, &[&"easy"]).await.unwrap();
    insert(&client, "easy", r#"{"n":2}"#).await;
    let relay = strict_relay(&outbox, &ably);
    assert_eq!(numbers(&ably.wait_for(2).await, "easy"), [1, 2]);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_released_by_hand_leaves_the_failed_event_behind() {
    let (outbox, ably) = (Outbox::create("release").await, LocalAbly::start().await);
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for tenant in ["a", "b", "c"] {
        let huge = format!("\"{}\"", "x".repeat(70_000));
        insert(&client, tenant, &huge).await;
        insert(&client, tenant, r#"{"n":1}"#).await;
    }
    let relay = strict_relay(&outbox, &ably);
    relay.wait_for_log("wait until somebody decides", 3);
    assert_eq!(ably.accepted().await, []);
    run(&url, &["holds", "release"]).fails(2, &["TENANT"]);
    run(&url, &["holds", "release", "a", "nobody"]).fails(65, &["nobody"]);
    run(&url, &["holds", "release", "--all", "--dry-run"]).says("would release b");
    assert_eq!(run(&url, &["holds", "list", "--json"]).objects().len(), 3, "nothing has changed");

    run(&url, &["holds", "release", "b", "--by", "alice", "--reason", "urgent"]).says("released b");
    assert_eq!(numbers(&ably.wait_for(1).await, "b"), [1]);
    run(&url, &["holds", "release", "--all"]).says("released c");
    ably.wait_for(3).await;
    assert_eq!(count(&client, "failed").await, 3);
    let audit = "select string_agg(tenant_id || ' ' || actor || ' ' || coalesce(reason, ''), ';' order by id)
                   from outbox.audit where action = 'release_hold' and tenant_id = 'b'";
    let audit: String = client.query_one(audit, &[]).await.unwrap().get(0);
    assert_eq!(audit, "b alice urgent");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_leaves_no_event_behind_a_block() {
    let (outbox, ably) = (Outbox::create("outageblock").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for n in 0..4 {
        let filler = if n == 2 { "x".repeat(70_000) } else { String::new() };
        insert(&client, "a", &format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await;
    }
    ably.fault(r#"{"kind":"status","status":503}"#).await;
    let relay = strict_relay(&outbox, &ably);
    relay.wait_for_log("publishing is interrupted", 1);
    assert_eq!(count(&client, "failed").await, 0, "not before its turn");
    ably.clear_faults().await;
    relay.wait_for_log("wait until somebody decides", 1);
    assert_eq!(numbers(&ably.wait_for(2).await, "a"), [0, 1]);
    assert_eq!(relay.terminate(), Some(0));
}
