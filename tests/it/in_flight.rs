//! Records of groups in flight, where the model (`tests/model`) found them missing or stale.

use std::collections::HashSet;

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use outbox_relay::domain::event::{Seq, TenantId};
use outbox_relay::store::claim::{ClaimLimits, Start};
use outbox_relay::store::session::NewGroup;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::crash::insert_numbers;
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert, store_at};
use crate::support::postgres::connect;
use crate::support::relay::{RelayCommand, RelayProcess};

const LIMITS: ClaimLimits = ClaimLimits {
    tenants: 100,
    rows_per_tenant: 500,
    bytes_per_tenant: 65_536,
    lock_lone: true,
    lone_first: false,
    traceparents: false,
};

fn group(base: &str) -> NewGroup {
    let tenant_id = TenantId::new("a");
    NewGroup { tenant_id, base_id: base.into(), seqs: vec![Seq(1), Seq(2)] }
}

#[tokio::test]
async fn a_record_is_written_only_while_its_drain_holds_the_tenant() {
    let outbox = Outbox::create("stale_record").await;
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..2).await;
    let (store, side) = (outbox.store(), outbox.store().session().await.unwrap());

    let (open, claim) =
        store.session().await.unwrap().claim("", &[], LIMITS, Start::default()).await.unwrap();
    // What happens to a relay that is stopped for longer than its idle transaction may live.
    drop(open);
    let (open, next) = loop {
        let session = store.session().await.unwrap();
        let (open, next) = session.claim("", &[], LIMITS, Start::default()).await.unwrap();
        if !next.tenants.is_empty() {
            break (open, next);
        }
        open.roll_back().await.unwrap();
    };
    let none: HashSet<TenantId> = HashSet::new();
    assert_eq!(side.record_groups(&[group("stale")], claim.owner).await.unwrap(), none);

    let recorded = side.record_groups(&[group("own")], next.owner).await.unwrap();
    assert_eq!(recorded, [TenantId::new("a")].into());
    assert_eq!(side.record_groups(&[group("second")], next.owner).await.unwrap(), none);
    open.roll_back().await.unwrap();
    assert_eq!(side.record_groups(&[group("late")], next.owner).await.unwrap(), none);
    let base: String =
        client.query_one("select base_id from outbox.in_flight", &[]).await.unwrap().get(0);
    assert_eq!(base, "own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_group_is_repeated_by_a_relay_that_takes_fewer_rows() {
    let (outbox, ably) = (Outbox::create("fewer").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..20).await;
    ably.fault(r#"{"kind":"reply_lost","delay_ms":30000,"times":1}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(20).await;
    relay.kill();
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_ROWS_PER_TENANT", "5")
        .start();
    insert_numbers(&client, "a", 20..22).await;
    let got = ably.wait_for(22).await;
    assert_complete_and_in_order(&got, 1, 22);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.stats().await["duplicates_suppressed"], 20);
    assert_eq!(count(&client, "published").await, 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_default_isolation_is_stricter_changes_nothing() {
    let (outbox, ably) = (Outbox::create("isolation").await, LocalAbly::start().await);
    let strict = format!(
        "alter database {} set default_transaction_isolation = 'repeatable read'",
        outbox.database.name()
    );
    outbox.connect().await.batch_execute(&strict).await.unwrap();
    let relays: Vec<_> =
        (0..3).map(|_| RelayProcess::start(&outbox.database.dsn(), &ably)).collect();
    relays.iter().for_each(RelayProcess::wait_until_listening);
    let mut writers = JoinSet::new();
    for tenant in ["a", "b"] {
        let client = outbox.connect().await;
        writers.spawn(async move {
            for n in 0..200 {
                insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
            }
        });
    }
    writers.join_all().await;
    assert_complete_and_in_order(&ably.wait_for(400).await, 2, 200);
    for relay in relays {
        assert_eq!(relay.complaints(), [Value::Null; 0]);
        assert_eq!(relay.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_survives_a_crash_where_commits_are_answered_before_they_are_on_disk() {
    // With the slowest writer of the log nothing but the record's own flush brings it to disk in time.
    let settings = [("synchronous_commit", "off"), ("wal_writer_delay", "10s")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = PostgresOptions { settings: settings.to_vec(), ..PostgresOptions::default() };
    let mut postgres = PrivatePostgres::start(options).await.expect("cluster");
    let dsn = postgres.dsn("postgres");
    store_at(&dsn, "outbox").migrate_up().await.expect("migrate");
    let (client, ably) = (connect(&dsn).await, LocalAbly::start().await);
    insert_numbers(&client, "a", 0..5).await;
    client.batch_execute("checkpoint").await.unwrap();
    ably.fault(r#"{"kind":"reply_lost","delay_ms":3000,"times":1}"#).await;
    let relay = RelayProcess::start(&dsn, &ably);
    ably.wait_for(5).await;
    postgres.crash().await.expect("crash");
    drop(client);
    postgres.restart().await.expect("restart");
    let client = connect(&dsn).await;
    insert_numbers(&client, "a", 5..6).await;
    assert_complete_and_in_order(&ably.wait_for(6).await, 1, 6);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.accepted().await.len(), 6, "the same five under the same ids");
}
