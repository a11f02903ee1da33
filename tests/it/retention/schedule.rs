//! The schedule of a running relay.

use std::time::Duration;

use outbox_relay::store::retention::Purpose;
use tokio_postgres::Client;

use super::{number, settled};
use crate::support::local_ably::{LIMIT, LocalAbly};
use crate::support::outbox::{Outbox, count, insert};
use crate::support::relay::RelayCommand;

async fn wait_for(client: &Client, sql: &str, expected: i64) {
    let wait = async {
        while number(client, sql).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never {expected}: {sql}"));
}

fn relay(outbox: &Outbox, ably: &LocalAbly, published: &str, archive: &str) -> RelayCommand {
    RelayCommand::new(&outbox.database.dsn(), ably)
        .env("OUTBOX_RELAY_RETENTION_PUBLISHED", published)
        .env("OUTBOX_RELAY_RETENTION_INTERVAL", "1s")
        .env("OUTBOX_RELAY_RETENTION_ARCHIVE", archive)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_prunes_what_is_old_and_nothing_else() {
    let (outbox, ably) = (Outbox::create("schedule").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    settled(&client, "a", "published", 5_000, 4).await;
    settled(&client, "a", "failed", 7, 4).await;
    settled(&client, "a", "published", 11, 2).await;
    let relays: Vec<_> = (0..2).map(|_| relay(&outbox, &ably, "72h", "table").start()).collect();
    relays.iter().for_each(|relay| relay.wait_until_listening());
    insert(&client, "a", "{\"n\":0}").await;
    ably.wait_for(1).await;
    wait_for(&client, "select count(*) from outbox.event where status = 'published'", 12).await;
    assert_eq!(number(&client, "select count(*) from outbox.event_archive").await, 5_000);
    assert_eq!(count(&client, "failed").await, 7);
    // What comes of age later is found by later rounds.
    client
        .batch_execute("update outbox.event set published_at = now() - interval '4 days' where status = 'published' and published_at < now() - interval '1 day'")
        .await
        .unwrap();
    wait_for(&client, "select count(*) from outbox.event_archive", 5_011).await;
    assert_eq!(count(&client, "published").await, 1);
    for relay in relays {
        assert_eq!(relay.complaints(), [serde_json::Value::Null; 0]);
        assert_eq!(relay.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_archives_to_a_file_that_may_be_moved_away() {
    let (outbox, ably) = (Outbox::create("schedule_file").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl.zst");
    settled(&client, "a", "published", 100, 4).await;
    let relay = relay(&outbox, &ably, "72h", path.to_str().unwrap()).start();
    let all = "select count(*) from outbox.event";
    wait_for(&client, all, 0).await;
    settled(&client, "a", "published", 50, 4).await;
    wait_for(&client, all, 0).await;
    let moved = dir.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    settled(&client, "a", "published", 20, 4).await;
    wait_for(&client, all, 0).await;
    let lines = |path| {
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap().lines().count()
    };
    assert_eq!((lines(&moved), lines(&path)), (150, 20));
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_trouble_is_said_once_and_publishing_goes_on() {
    let (outbox, ably) = (Outbox::create("schedule_bad").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    settled(&client, "a", "published", 10, 4).await;
    let relay = relay(&outbox, &ably, "72h", "/nonexistent/events.zst").start();
    relay.wait_until_listening();
    relay.wait_for_log("published events cannot be pruned", 1);
    for n in 0..20 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        // Long enough for several rounds to fail.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    ably.wait_for(20).await;
    assert_eq!(relay.complaints().len(), 1, "{:#?}", relay.complaints());
    wait_for(&client, "select count(*) from outbox.event where status = 'published'", 30).await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test]
async fn one_relay_at_a_time_has_its_turn() {
    let outbox = Outbox::create("turn").await;
    let store = outbox.store();
    let (mut one, mut two) =
        (store.keeper(Purpose::Prune).await.unwrap(), store.keeper(Purpose::Prune).await.unwrap());
    let first = one.begin().await.unwrap();
    assert!(first.take_turn().await.unwrap());
    let second = two.begin().await.unwrap();
    assert!(!second.take_turn().await.unwrap());
    first.commit().await.unwrap();
    assert!(second.take_turn().await.unwrap());
}
