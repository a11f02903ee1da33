//! Where claims begin under a snapshot that is held for long: with writers that commit late, and events that come to wait
//! again, nothing is passed over.

use std::time::{Duration, Instant};

use outbox_relay::store::schema_name::SchemaName;
use outbox_relay::store::statement::ALL;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, insert, wait_until};
use crate::support::relay::{RelayCommand, RelayProcess};

/// How late an event may be that nobody need look for: the sweep comes after 5 minutes.
const AT_ONCE: Duration = Duration::from_secs(5);

fn start(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    let relay = RelayCommand::new(&outbox.database.dsn(), ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .env("OUTBOX_RELAY_CHANNEL_RATE", "0")
        .env("FAILPOINT_FLOOR", "1")
        .env("RUST_LOG", "outbox_relay=debug")
        .start();
    relay.wait_until_listening();
    relay
}

async fn settled(client: &Client) {
    let sql = "select not exists (select from outbox.event where status = 'pending')";
    wait_until(client, sql).await;
}

/// Inserts this many events of 20 tenants.
async fn insert_many(client: &Client, events: usize) {
    let sql = format!(
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
         select 't' || n % 20, 'KitchenTask', 'task', 'kitchen.task.claimed', jsonb_build_object('n', n)
           from generate_series(1, {events}) n"
    );
    client.batch_execute(&sql).await.expect("insert");
}

/// Where the relay's claims begin, as it has said last.
fn floor(relay: &RelayProcess) -> i64 {
    let log = relay.log();
    let said = log.iter().rev().find(|line| line["message"] == "where claims begin");
    said.and_then(|line| line["floor"].as_i64()).unwrap_or(0)
}

/// Has events published until claims begin above this position.
async fn raise_above(position: i64, client: &Client, relay: &RelayProcess) {
    let begun = Instant::now();
    while floor(relay) <= position {
        insert_many(client, 400).await;
        settled(client).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "floor {}", floor(relay));
    }
}

async fn published_at_once(client: &Client, id: &str) {
    let begun = Instant::now();
    let sql = format!("select status = 'published' from outbox.event where id = '{id}'");
    wait_until(client, &sql).await;
    assert!(begun.elapsed() < AT_ONCE, "{id} after {:?}", begun.elapsed());
}

async fn position(client: &Client, id: &str) -> i64 {
    client
        .query_one("select seq from outbox.event where id = $1", &[&id])
        .await
        .expect("seq")
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_late_is_published_at_once_and_no_check_was_needed() {
    let (outbox, ably) = (Outbox::create("floorlate").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = start(&outbox, &ably);
    let holder = outbox.connect().await;
    holder
        .batch_execute("begin isolation level repeatable read; select from outbox.event limit 1")
        .await
        .unwrap();
    raise_above(0, &client, &relay).await;
    for round in 0..3 {
        let mut writers = Vec::new();
        for isolation in ["read committed", "repeatable read", "serializable"] {
            let writer = outbox.connect().await;
            let begin = format!("begin isolation level {isolation}; select from outbox.hold");
            writer.batch_execute(&begin).await.unwrap();
            // Some write before the others are published, the rest in between.
            let first = insert(&writer, "late", r#"{"n":0}"#).await;
            writers.push((writer, first));
            insert_many(&client, 300).await;
        }
        insert_many(&client, 2_000).await;
        settled(&client).await;
        // Looks at the end of which the writers are still open.
        for _ in 0..3 {
            insert_many(&client, 300).await;
            settled(&client).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let mut last = 0;
        for (writer, first) in writers {
            let second = insert(&writer, "late", r#"{"n":0}"#).await;
            writer.batch_execute("commit").await.unwrap();
            published_at_once(&client, &first).await;
            published_at_once(&client, &second).await;
            last = position(&client, &second).await;
        }
        // Once they are over, the floor rises above them.
        raise_above(last, &client, &relay).await;
        assert!(!relay.says("something waits below"), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waits_again_is_published_at_once_wherever_it_is() {
    let (outbox, ably) = (Outbox::create("flooragain").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let failed = insert(&client, "again", r#"{"n":0}"#).await;
    client.batch_execute("update outbox.event set status = 'failed', error = '{}'").await.unwrap();
    let relay = start(&outbox, &ably);
    raise_above(10, &client, &relay).await;
    // By hand, without the notification that `events requeue` sends.
    client
        .batch_execute(
            "update outbox.event set status = 'pending', error = null where status = 'failed'",
        )
        .await
        .unwrap();
    published_at_once(&client, &failed).await;
    assert!(!relay.says("something waits below"), "the notification was enough");

    // A position that was written by hand, which nobody can know of.
    raise_above(10, &client, &relay).await;
    client
        .batch_execute(
            "delete from outbox.event where seq = 5;
             insert into outbox.event (seq, id, tenant_id, aggregate_type, aggregate_id, event_type, payload)
             overriding system value values (5, 'by-hand', 'again', 'a', 'b', 'c.d', '{}')",
        )
        .await
        .unwrap();
    published_at_once(&client, "by-hand").await;

    // Positions that begin anew.
    raise_above(10, &client, &relay).await;
    client.batch_execute("truncate outbox.event restart identity cascade").await.unwrap();
    let anew = insert(&client, "anew", r#"{"n":0}"#).await;
    assert_eq!(position(&client, &anew).await, 1);
    published_at_once(&client, &anew).await;
    raise_above(10, &client, &relay).await;
}

/// Pages that a statement of the claim looks at.
async fn pages(client: &Client, name: &str, arguments: &str) -> i64 {
    let begin = include_str!("../../src/store/sql/begin.sql");
    client.batch_execute(begin).await.unwrap();
    let statement = ALL.iter().find(|s| s.name == name).unwrap();
    let types: Vec<String> = statement.parameters.iter().map(ToString::to_string).collect();
    let types = types.join(", ").replace("_text", "text[]");
    let text = SchemaName::new("outbox").unwrap().fill(statement.template);
    client.batch_execute(&format!("prepare measured({types}) as {text}")).await.unwrap();
    let sql = format!("explain (analyze, buffers, format json) execute measured({arguments})");
    let rows = client.simple_query(&sql).await.unwrap();
    client.batch_execute("rollback; deallocate measured").await.unwrap();
    let text = rows.iter().find_map(|message| {
        if let SimpleQueryMessage::Row(row) = message { row.get(0) } else { None }
    });
    let plan: serde_json::Value = serde_json::from_str(text.unwrap()).unwrap();
    let of = |what: &str| plan[0]["Plan"][what].as_i64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

#[tokio::test]
async fn a_claim_from_the_floor_does_not_visit_what_was_published_under_a_snapshot() {
    let outbox = Outbox::create("floorpages").await;
    let client = outbox.connect().await;
    let holder = outbox.connect().await;
    holder
        .batch_execute("begin isolation level repeatable read; select from outbox.event limit 1")
        .await
        .unwrap();
    insert_many(&client, 20_000).await;
    client
        .batch_execute("update outbox.event set status = 'published', published_at = now()")
        .await
        .unwrap();
    let few = insert(&client, "t7", r#"{"n":0}"#).await;
    let floor = position(&client, &few).await;
    for (name, from) in [("lock_tenants", "'', 100, '{}', "), ("read_runs", "'{t7}', 100, 65536, ")]
    {
        // Also where traces are read.
        let rest = if name == "read_runs" { ", true" } else { ", 2000" };
        let without = pages(&client, name, &format!("{from}0{rest}")).await;
        let with = pages(&client, name, &format!("{from}{floor}{rest}")).await;
        assert!(without > 300, "{name} without a floor: {without} pages");
        assert!(with < 40, "{name} from the floor: {with} pages");
    }
    // Too many to read them by position: the index says what is below.
    insert_many(&client, 3_000).await;
    let with = pages(&client, "lock_tenants", &format!("'', 100, '{{}}', {floor}, 2000")).await;
    assert!(with < 3_000, "{with} pages");
    // Nor are they counted by whoever knows.
    let known = pages(&client, "lock_tenants", &format!("'', 100, '{{}}', {floor}, 0")).await;
    assert!(known < with, "{known} pages, and {with} where they are counted");
}
