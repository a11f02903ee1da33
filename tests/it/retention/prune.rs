//! What prune deletes, and what it leaves.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinSet;

use super::{command, done, number, run, run_json, settled};
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::RelayProcess;

const ALL: &str = "select count(*) from outbox.event";

#[tokio::test]
async fn only_published_events_of_that_age_are_deleted() {
    let outbox = Outbox::create("prune").await;
    let client = outbox.connect().await;
    for round in 0..5 {
        settled(&client, "a", "published", 700, 8).await;
        settled(&client, "a", "pending", 2, 8).await;
        settled(&client, "b", "failed", 300, 8).await;
        settled(&client, "b", "published", 100, 6 - round).await;
    }
    // Published late: old by its position, young by its time.
    settled(&client, "c", "published", 1, 8).await;
    client
        .batch_execute("update outbox.event set published_at = now() where tenant_id = 'c'")
        .await
        .unwrap();
    let all = number(&client, ALL).await;
    let dry = done(&run(
        &outbox,
        &["prune", "--published-older-than", "7d", "--dry-run", "--json", "--batch", "300"],
    ));
    assert_eq!((&dry["matched"], &dry["deleted"]), (&3_500.into(), &0.into()), "{dry}");
    assert_eq!(number(&client, ALL).await, all);

    let report = run_json(&outbox, &["prune", "--published-older-than", "7d", "--batch", "300"]);
    assert_eq!(
        (&report["deleted"], &report["matched"]),
        (&3_500.into(), &3_500.into()),
        "{report}"
    );
    assert_eq!(
        (report["ended"].as_str(), report["passed_over"].as_i64()),
        (Some("complete"), Some(0))
    );
    assert!(report["batches"].as_i64().unwrap() >= 12, "{report}");
    assert_eq!(number(&client, ALL).await, all - 3_500);
    assert_eq!(count(&client, "pending").await, 10);
    assert_eq!(count(&client, "failed").await, 1_500);
    assert_eq!(count(&client, "published").await, 501);
}

#[tokio::test]
async fn a_tenant_and_a_number_of_rows_are_bounds() {
    let outbox = Outbox::create("bounds").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 50, 8).await;
    settled(&client, "b", "published", 50, 8).await;
    let args = ["prune", "--published-older-than", "1d", "--tenant", "b", "--max-rows", "30"];
    let report = run_json(&outbox, &[&args[..], &["--batch", "20"]].concat());
    assert_eq!((report["deleted"].as_i64(), report["ended"].as_str()), (Some(30), Some("limit")));
    // The oldest went first.
    let first = "select min(seq) from outbox.event where tenant_id = 'b'";
    assert_eq!(number(&client, first).await, 81);
    assert_eq!(
        number(&client, "select count(*) from outbox.event where tenant_id = 'a'").await,
        50
    );
}

#[tokio::test]
async fn off_a_terminal_it_wants_yes_and_wrong_usage_deletes_nothing() {
    let outbox = Outbox::create("consent").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 5, 8).await;
    for args in [
        &["prune", "--published-older-than", "1d"][..],
        &["scrub", "--published-older-than", "1d"],
        &["prune", "--yes"],
        &["prune", "--published-older-than", "7", "--yes"],
        &["prune", "--published-older-than", "1d", "--batch", "0", "--yes"],
        &["prune", "--published-older-than", "1d", "--max-rows", "0", "--yes"],
        &["prune", "--published-older-than", "1d", "--archive", "a", "--archive-table", "--yes"],
    ] {
        let output = run(&outbox, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{args:?}");
    }
    assert_eq!(number(&client, ALL).await, 5);
}

#[tokio::test]
async fn rows_that_others_have_locked_are_left_and_nobody_waits() {
    let outbox = Outbox::create("locked").await;
    let mut other = outbox.connect().await;
    settled(&other, "a", "published", 100, 8).await;
    let transaction = other.transaction().await.unwrap();
    transaction
        .execute("select from outbox.event where seq % 10 = 0 for share", &[])
        .await
        .unwrap();
    let report = run_json(&outbox, &["prune", "--published-older-than", "1d"]);
    assert_eq!((report["deleted"].as_i64(), report["passed_over"].as_i64()), (Some(90), Some(10)));
    transaction.rollback().await.unwrap();
    let report = run_json(&outbox, &["prune", "--published-older-than", "1d"]);
    assert_eq!((report["deleted"].as_i64(), report["passed_over"].as_i64()), (Some(10), Some(0)));
}

#[tokio::test]
async fn two_at_once_delete_everything_between_them() {
    let outbox = Outbox::create("two").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 20_000, 8).await;
    let args = ["prune", "--published-older-than", "1d", "--batch", "200", "--yes", "--json"];
    let both = [(); 2].map(|()| command(&outbox, &args).spawn().unwrap());
    let reports = both.map(|child| done(&child.wait_with_output().unwrap()));
    let deleted = |n: usize| reports[n]["deleted"].as_i64().unwrap();
    assert_eq!(deleted(0) + deleted(1), 20_000, "{reports:?}");
    assert!(deleted(0) > 0 && deleted(1) > 0, "both worked: {reports:?}");
    assert_eq!(number(&client, ALL).await, 0);
}

#[tokio::test]
async fn a_signal_ends_it_between_two_batches_with_a_report() {
    let outbox = Outbox::create("signal").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 20_000, 8).await;
    let args = ["prune", "--published-older-than", "1d", "--batch", "10", "--yes", "--json"];
    let child = command(&outbox, &args).spawn().unwrap();
    while number(&client, ALL).await == 20_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let report = done(&child.wait_with_output().unwrap());
    assert_eq!(report["ended"].as_str(), Some("stopped"), "{report}");
    let left = number(&client, ALL).await;
    assert!(left > 0);
    assert_eq!(report["deleted"].as_i64(), Some(20_000 - left));
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_while_relays_drain_loses_and_delays_nothing() {
    let (outbox, ably) = (Outbox::create("beside").await, LocalAbly::start().await);
    let relays: Vec<_> =
        (0..2).map(|_| RelayProcess::start(&outbox.database.dsn(), &ably)).collect();
    relays.iter().for_each(RelayProcess::wait_until_listening);
    let mut writers = JoinSet::new();
    for writer in 0..3 {
        let client = outbox.connect().await;
        writers.spawn(async move {
            for n in 0..300 {
                insert(&client, &format!("t-{writer}"), &format!("{{\"n\":{n}}}")).await;
            }
        });
    }
    let client = outbox.connect().await;
    // Not by what it says that it has deleted: of a partitioned outbox whole partitions go.
    let mut writing = 3;
    while writing > 0 || number(&client, ALL).await > 0 {
        run_json(&outbox, &["prune", "--published-older-than", "0s", "--batch", "7"]);
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
            writing -= 1;
        }
    }
    assert_complete_and_in_order(&ably.wait_for(900).await, 3, 300);
    assert_eq!(number(&client, ALL).await, 0);
    for relay in relays {
        assert_eq!(relay.complaints(), [serde_json::Value::Null; 0]);
        assert_eq!(relay.terminate(), Some(0));
    }
}
