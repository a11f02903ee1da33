//! What the relay promises when something dies: itself, its connections, PostgreSQL.

use std::collections::HashSet;
use std::time::Duration;

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::drain::{assert_complete_and_in_order, in_flight};
use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, count, insert, store_at, wait_until};
use crate::support::postgres::connect;
use crate::support::relay::{RelayCommand, RelayProcess};

pub(crate) async fn insert_numbers(client: &Client, tenant: &str, numbers: std::ops::Range<i64>) {
    for n in numbers {
        insert(client, tenant, &format!("{{\"n\":{n}}}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_killed_in_mid_batch_lose_nothing_and_double_nothing() {
    let (outbox, ably) = (Outbox::create("kill").await, LocalAbly::start().await);
    // Requests stay out long enough for a kill to hit them before, while and after they are accepted.
    ably.fault(r#"{"kind":"delay","delay_ms":15,"probability":0.7}"#).await;
    ably.fault(r#"{"kind":"reply_lost","delay_ms":400,"probability":0.1}"#).await;
    let mut writers = JoinSet::new();
    for writer in 0..3 {
        let client = outbox.connect().await;
        writers.spawn(async move {
            for n in 0..200 {
                for tenant in 0..4 {
                    insert(&client, &format!("t-{writer}-{tenant}"), &format!("{{\"n\":{n}}}"))
                        .await;
                }
            }
        });
    }
    let mut kills = 0;
    while !writers.is_empty() || kills < 25 {
        let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
        relay.wait_for_log("relay started", 1);
        // Chance decides where in a batch the kill falls; that is what is wanted here.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..120))).await;
        relay.kill();
        kills += 1;
        while writers.try_join_next().is_some() {}
    }
    ably.clear_faults().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(2_400).await;
    assert_complete_and_in_order(&got, 12, 200);
    let client = outbox.connect().await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    wait_until(&client, "select not exists (select from outbox.in_flight)").await;
    assert_eq!(relay.terminate(), Some(0));
    let stats = ably.stats().await;
    println!("kills: {kills}, repeats that Ably dropped: {}", stats["duplicates_suppressed"]);
    assert_eq!(ably.accepted().await.len(), 2_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_in_flight_at_a_crash_is_repeated_in_its_composition() {
    let (outbox, ably) = (Outbox::create("repeat").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..5).await;
    ably.fault(r#"{"kind":"reply_lost","delay_ms":30000,"times":1}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let accepted = ably.wait_for(5).await;
    let base = accepted[0].message_id.rsplit_once(':').unwrap().0.to_owned();
    let recorded: String =
        client.query_one("select base_id from outbox.in_flight", &[]).await.unwrap().get(0);
    assert_eq!(recorded, base, "the composition was committed before the request left");
    relay.kill();
    insert_numbers(&client, "a", 5..8).await;

    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(8).await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    assert_eq!(relay.terminate(), Some(0));
    assert_complete_and_in_order(&got, 1, 8);
    assert_eq!(ably.stats().await["duplicates_suppressed"], 5, "the same five under the same ids");
    assert!(got[5..].iter().all(|m| !m.message_id.starts_with(&base)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_in_flight_alone_at_a_crash_is_repeated_alone() {
    let (outbox, ably) = (Outbox::create("alone").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..1).await;
    ably.fault(r#"{"kind":"reply_lost","delay_ms":30000,"times":1}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(1).await;
    relay.kill();
    // Had the next relay made one group of these, subscribers would see the first one twice.
    insert_numbers(&client, "a", 1..6).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(6).await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    assert_eq!(relay.terminate(), Some(0));
    assert_complete_and_in_order(&ably.accepted().await, 1, 6);
    assert_eq!(got[0].message_id, got[0].id());
    assert_eq!(ably.stats().await["duplicates_suppressed"], 1);
    assert!(got[1].message_id.ends_with(":0"), "the others went as a group");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_killed_listens_again_and_misses_nothing() {
    let (outbox, ably) = (Outbox::create("listener").await, LocalAbly::start().await);
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        // Not even polling helps: what rings while nobody listens is found because somebody listens again.
        .env("OUTBOX_RELAY_POLL_INTERVAL", "1m")
        .start();
    relay.wait_until_listening();
    let client = outbox.connect().await;
    for n in 0..3_usize {
        let killed = "select pg_terminate_backend(pid, 5000) from pg_stat_activity \
                      where datname = current_database() and query like 'listen%'";
        assert_eq!(client.query(killed, &[]).await.unwrap().len(), 1);
        insert_numbers(&client, "a", 2 * n as i64..2 * n as i64 + 1).await;
        ably.wait_for(2 * n + 1).await;
        relay.wait_for_log("listening", n + 2);
        // The new listener is up; from here on the bell alone explains it.
        insert_numbers(&client, "a", 2 * n as i64 + 1..2 * n as i64 + 2).await;
        ably.wait_for(2 * n + 2).await;
    }
    assert_complete_and_in_order(&ably.accepted().await, 1, 6);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_backends_killed_at_once_are_replaced_and_nothing_is_doubled() {
    let (outbox, ably) = (Outbox::create("backends").await, LocalAbly::start().await);
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    relay.wait_until_listening();
    let client = outbox.connect().await;
    ably.fault(r#"{"kind":"delay","delay_ms":10}"#).await;
    for round in 0..10_i64 {
        insert_numbers(&client, "a", round * 10..round * 10 + 10).await;
        client
            .batch_execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and application_name like 'outbox-relay %'",
            )
            .await
            .unwrap();
    }
    let got = ably.wait_for(100).await;
    assert_complete_and_in_order(&got, 1, 100);
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.accepted().await.len(), 100);
}

/// A cluster of its own, with an outbox in database `postgres`.
async fn own_cluster() -> PrivatePostgres {
    // The default forgives a crash of the machine, not of the server: what was committed must survive one.
    let settings = vec![("synchronous_commit".to_owned(), "on".to_owned())];
    let options = PostgresOptions { settings, ..PostgresOptions::default() };
    let postgres = PrivatePostgres::start(options).await.expect("cluster");
    store_at(&postgres.dsn("postgres"), "outbox").migrate_up().await.expect("migrate");
    postgres
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_postgresql_with_an_event_in_flight_alone_doubles_nothing() {
    let (mut postgres, ably) = (own_cluster().await, LocalAbly::start().await);
    let dsn = postgres.dsn("postgres");
    let relay = RelayProcess::start(&dsn, &ably);
    relay.wait_until_listening();
    let client = connect(&dsn).await;
    ably.fault(r#"{"kind":"reply_lost","delay_ms":3000,"times":1}"#).await;
    insert_numbers(&client, "a", 0..1).await;
    ably.wait_for(1).await;
    postgres.crash().await.expect("crash");
    drop(client);
    postgres.restart().await.expect("restart");

    let client = connect(&dsn).await;
    let traces: i64 = client
        .query_one("select count(*) from outbox.event where xmax <> '0'::xid", &[])
        .await
        .unwrap()
        .get(0);
    println!("row lock traces that survived the crash: {traces}");
    insert_numbers(&client, "a", 1..6).await;
    let got = ably.wait_for(6).await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    assert_complete_and_in_order(&got, 1, 6);
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.accepted().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_crashes_of_postgresql_under_load_lose_and_double_nothing() {
    let (mut postgres, ably) = (own_cluster().await, LocalAbly::start().await);
    let dsn = postgres.dsn("postgres");
    let relays: Vec<_> = (0..2).map(|_| RelayProcess::start(&dsn, &ably)).collect();
    relays.iter().for_each(RelayProcess::wait_until_listening);
    ably.fault(r#"{"kind":"delay","delay_ms":5}"#).await;
    let mut written = 0;
    for round in 0..4 {
        let client = connect(&dsn).await;
        for n in written..written + 50 {
            for tenant in ["a", "b", "c"] {
                insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
            }
        }
        written += 50;
        drop(client);
        if round % 2 == 0 {
            postgres.crash().await.expect("crash");
        }
        postgres.restart().await.expect("restart");
    }
    let expected = usize::try_from(written).unwrap() * 3;
    let got = ably.wait_for(expected).await;
    assert_complete_and_in_order(&got, 3, written);
    let client = connect(&dsn).await;
    wait_until(&client, "select not exists (select from outbox.event where status <> 'published')")
        .await;
    for relay in relays {
        assert_eq!(relay.terminate(), Some(0));
    }
    assert_eq!(ably.accepted().await.len(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_somebody_has_tampered_with_is_dissolved_and_the_rest_goes_on() {
    let (outbox, ably) = (Outbox::create("tamper").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..5).await;
    insert_numbers(&client, "gone", 0..2).await;
    ably.fault(r#"{"kind":"hang_before","delay_ms":60000}"#).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    in_flight(&ably, 1).await;
    relay.kill();
    client
        .batch_execute(
            "update outbox.event set status = 'failed', error = '{}' where (payload ->> 'n')::int = 2;
             delete from outbox.event where tenant_id = 'gone'; ",
        )
        .await
        .unwrap();
    insert_numbers(&client, "gone", 7..8).await;
    ably.clear_faults().await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(5).await;
    relay.wait_for_log("somebody changed an event", 2);
    wait_until(&client, "select not exists (select from outbox.in_flight)").await;
    assert_eq!(relay.terminate(), Some(0));
    let numbers: HashSet<(String, i64)> =
        got.iter().map(|m: &Got| (m.channel.clone(), m.n())).collect();
    let expected = [("a", 0), ("a", 1), ("a", 3), ("a", 4), ("gone", 7)];
    assert_eq!(numbers, expected.map(|(t, n)| (format!("tenant:{t}"), n)).into());
    assert_eq!(count(&client, "pending").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn until_a_crash_behind_a_pooler_is_noted_events_go_alone() {
    let (outbox, ably) = (Outbox::create("unnoted").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("OUTBOX_RELAY_CANARY_INTERVAL", "3s")
        .start();
    relay.wait_until_listening();
    // What crash recovery does; the relay's connections stay, as they do behind a pooler.
    client
        .batch_execute(
            "delete from outbox.server_start;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'a', 'a', 'b', 'c.d', jsonb_build_object('n', n) from generate_series(0, 4) n",
        )
        .await
        .unwrap();
    let got = ably.wait_for(5).await;
    assert_complete_and_in_order(&got, 1, 5);
    assert!(got.iter().all(|m| m.message_id == m.id()), "none in a group");
    // The next canary notes it.
    wait_until(&client, "select exists (select from outbox.server_start)").await;
    assert_eq!(relay.terminate(), Some(0));
}
