//! Two outboxes in one database: neither bells nor locks cross.

use super::server::{Place, server};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{insert, store_at};
use crate::support::relay::{RelayCommand, RelayProcess};

/// A name that must be quoted.
const SECOND: &str = "Second Outbox";

/// Only the bell can wake it, and nothing else makes it ask.
fn relay(url: &str, schema: &str, ably: &LocalAbly) -> RelayProcess {
    let relay = RelayCommand::new(url, ably)
        .arg("--schema")
        .arg(schema)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .env("OUTBOX_RELAY_CANARY_INTERVAL", "5m")
        .start();
    relay.wait_until_listening();
    relay
}

async fn insert_second(client: &tokio_postgres::Client, tenant: &str, n: i64) {
    let sql = format!(
        "insert into \"{SECOND}\".event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
         values ($1, 'A', '1', 'a.b', pg_catalog.jsonb_build_object('n', $2::bigint))"
    );
    client.execute(&sql, &[&tenant, &n]).await.expect("insert");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_outboxes_in_one_database_do_not_meet() {
    let place = Place::with_outbox().await;
    place.sql("grant create on database ROLE to ROLE").await;
    store_at(&place.url(), SECOND).migrate_up().await.expect("migrate");
    let (ably, second_ably) = (LocalAbly::start().await, LocalAbly::start().await);
    let first = relay(&server().dsn(&place.name), "outbox", &ably);
    let second = relay(&place.url(), SECOND, &second_ably);
    let client = place.admin().await;
    insert_second(&client, "t", 0).await;
    second_ably.wait_for(1).await;

    // The second's sessions belong to the place's role; when the last of them has come to rest, nothing
    // that happens in the first outbox wakes them.
    let last = "select max(state_change)::text, bool_and(state = 'idle') from pg_stat_activity where usename = $1";
    let asked = async || {
        let row = client.query_one(last, &[&place.name]).await.expect("activity");
        (row.get::<_, String>(0), row.get::<_, bool>(1))
    };
    let mut rest = asked().await;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = asked().await;
        if now.1 && now == rest {
            break;
        }
        rest = now;
    }
    for n in 0..5 {
        insert(&client, "t", &format!("{{\"n\":{n}}}")).await;
        ably.wait_for(n + 1).await;
    }
    assert_eq!(asked().await, rest, "the second relay heard the first's bell");

    // The first holds its lock on the tenant while its request is out; the second has its own.
    ably.fault(r#"{"kind":"delay","delay_ms":60000}"#).await;
    insert(&client, "t", r#"{"n":5}"#).await;
    crate::drain::in_flight(&ably, 6).await;
    insert_second(&client, "t", 1).await;
    assert_eq!(second_ably.wait_for(2).await.len(), 2);
    assert_eq!(ably.accepted().await.len(), 5);
    first.kill();
    assert_eq!(second.terminate(), Some(0));
}
