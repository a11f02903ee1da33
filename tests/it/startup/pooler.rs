//! PgBouncer before the database: in transaction mode where it may be, where it must not be, and without a
//! word about it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use super::server::{Place, port, server};
use super::{SECRET, remedy_of, run_fails};
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{count, insert, store_at, wait_until};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::connect;
use crate::support::relay::{RelayCommand, RelayProcess};

fn pooler(mode: &str) -> PgBouncer {
    PgBouncer::start(server().socket_dir(), port(), mode)
}

/// Ten tenants with 40 events each, written while the relay works.
async fn publishes_everything_in_order(place: &Place, ably: &LocalAbly) {
    let client = place.admin().await;
    for n in 0..40 {
        for tenant in 0..10 {
            insert(&client, &format!("t{tenant}"), &format!("{{\"n\":{n}}}")).await;
        }
    }
    assert_complete_and_in_order(&ably.wait_for(400).await, 10, 40);
}

async fn ends_well(relay: RelayProcess, place: &Place) {
    assert!(!format!("{:?}", relay.log()).contains(SECRET));
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(count(&*place.admin().await, "published").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_for_all_but_listening_works_without_a_complaint() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let pooler = pooler("transaction");
    ably.fault(r#"{"kind":"delay","delay_ms":3}"#).await;
    let relay = RelayCommand::new(&format!("{}?pgbouncer=true", pooler.url(&place.name)), &ably)
        .env("DIRECT_URL", &place.admin_url())
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .start();
    relay.wait_until_listening();
    publishes_everything_in_order(&place, &ably).await;
    assert_eq!(relay.complaints(), [Value::Null; 0]);
    ends_well(relay, &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_works_fully() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let pooler = pooler("session");
    let relay = RelayCommand::new(&pooler.url(&place.name), &ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .start();
    relay.wait_until_listening();
    publishes_everything_in_order(&place, &ably).await;
    assert_eq!(relay.complaints(), [Value::Null; 0]);
    ends_well(relay, &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_through_a_pooler_in_transaction_mode_is_noticed_and_lived_with() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let pooler = pooler("transaction");
    let relay = RelayCommand::new(&format!("{}?pgbouncer=true", pooler.url(&place.name)), &ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .start();
    relay.wait_for_log("cannot hear the bell", 1);
    let remedy = remedy_of(&relay, "pooler in transaction mode");
    assert!(remedy.contains("set DIRECT_URL"), "{remedy}");
    let client = place.admin().await;
    for n in 0..5 {
        insert(&client, "slow", &format!("{{\"n\":{n}}}")).await;
        let inserted = Instant::now();
        ably.wait_for(n + 1).await;
        // It polls every 200 ms; the rest is for a loaded machine.
        assert!(inserted.elapsed() < Duration::from_secs(2), "{:?}", inserted.elapsed());
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(relay.complaints().len(), 1, "{:#?}", relay.complaints());
    assert!(relay.log().len() <= 4, "{:#?}", relay.log());
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_nobody_told_of_is_noticed_and_lived_with() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let pooler = pooler("transaction");
    ably.fault(r#"{"kind":"delay","delay_ms":3}"#).await;
    // What an earlier relay has prepared stays in the pooler's sessions, under the same names.
    let start = || {
        RelayCommand::new(&pooler.url(&place.name), &ably)
            .env("DIRECT_URL", &place.admin_url())
            .start()
    };
    let relays = [start(), start()];
    relays.iter().for_each(RelayProcess::wait_until_listening);
    publishes_everything_in_order(&place, &ably).await;
    let mut noticed = 0;
    for relay in relays {
        let complaints = relay.complaints();
        assert!(complaints.len() <= 1, "{complaints:#?}");
        if !complaints.is_empty() {
            noticed += 1;
            assert!(remedy_of(&relay, "without prepared").contains("pgbouncer=true"));
        }
        assert_eq!(relay.terminate(), Some(0));
    }
    assert!(noticed > 0, "two relays cannot share a pooler's sessions with prepared statements");
    // After a restart as well, when its names are taken from the start.
    let relay = start();
    relay.wait_until_listening();
    ends_well(relay, &place).await;
}

// On one thread: all statements leave at once.
#[tokio::test]
async fn a_client_whose_names_are_taken_leaves_no_answers_behind_for_the_next() {
    let place = Place::with_outbox().await;
    let pooler = pooler("transaction");
    let url = pooler.url(&place.name);
    // The driver's names for statements, which count up in a process, are taken from here on.
    let taken: String = (0..9_000).map(|n| format!("prepare s{n} as select 1;")).collect();
    connect(&url).await.batch_execute(&taken).await.unwrap();
    // The second statement reads this table, so its answer comes long after the first one's refusal.
    let admin = place.admin().await;
    admin.batch_execute("begin; lock table outbox.redelivery").await.unwrap();
    let store = store_at(&url, "outbox");
    let mut refused = JoinSet::new();
    refused.spawn(async move { store.session().await.map(drop) });
    let waits = "select exists (select from pg_locks where relation = 'outbox.redelivery'::regclass and not granted)";
    wait_until(&admin, waits).await;
    for _ in 0..20 {
        let next = connect(&url).await;
        let answer =
            tokio::time::timeout(Duration::from_secs(10), next.simple_query("select 4711"));
        answer.await.expect("a server that nobody else waits for").expect("an answer of its own");
    }
    admin.batch_execute("commit").await.unwrap();
    let connected = refused.join_next().await.unwrap();
    connected.unwrap().expect("a second try without prepared statements");
}

#[tokio::test]
async fn what_a_pooler_refuses_is_said_with_the_way_out() {
    let place = Place::with_outbox().await;
    let pooler = pooler("transaction");
    let options = format!("{}?options=-c%20search_path%3Dhunter2", pooler.url(&place.name));
    run_fails(&options, &[]).is(78, &["startup parameter", "options"], &["remove the parameter"]);
    run_fails(&pooler.url("nowhere"), &[]).is(78, &["nowhere", "does not exist"], &["create it"]);
}
