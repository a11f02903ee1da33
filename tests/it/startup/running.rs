//! What goes wrong under a running relay: it says so, waits, and goes on by itself.

use outbox_relay::store::claim::{ClaimLimits, Start};

use super::server::{Place, server};
use super::{remedy_of, stays_calm};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{insert, store_at};
use crate::support::postgres::connect;
use crate::support::relay::RelayProcess;

/// A relay that has published one event as the place's role.
async fn working(place: &Place, ably: &LocalAbly) -> RelayProcess {
    place.sql("grant usage on schema outbox to ROLE").await;
    place.sql("grant all on all tables in schema outbox to ROLE").await;
    let relay = RelayProcess::start(&place.url(), ably);
    relay.wait_until_listening();
    insert(&*place.admin().await, "a", r#"{"n":0}"#).await;
    ably.wait_for(1).await;
    relay
}

/// It has said what is wrong, stays calm, and after `mend` publishes again.
async fn recovers(
    place: &Place,
    ably: &LocalAbly,
    relay: RelayProcess,
    said: (&str, &str),
    mend: impl AsyncFnOnce(),
) {
    relay.wait_for_log(said.0, 1);
    stays_calm(&relay).await;
    let remedy = remedy_of(&relay, said.0);
    assert!(remedy.contains(said.1), "{remedy}");
    mend().await;
    insert(&*place.admin().await, "b", r#"{"n":1}"#).await;
    let got = ably.wait_for(2).await;
    assert_eq!(got[1].n(), 1);
    relay.wait_for_log("PostgreSQL can be worked with again", 1);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_dropped_is_missed_until_it_is_back() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let relay = working(&place, &ably).await;
    place.sql("drop schema outbox cascade").await;
    recovers(&place, &ably, relay, ("no outbox in schema", "migrate up"), async || {
        store_at(&server().dsn(&place.name), "outbox").migrate_up().await.expect("migrate");
        place.sql("grant usage on schema outbox to ROLE").await;
        place.sql("grant all on all tables in schema outbox to ROLE").await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_older_than_the_outbox_locks_tenants_as_a_younger_one_does() {
    let place = Place::with_outbox().await;
    let store = store_at(&server().dsn(&place.name), "outbox");
    let older = store.session().await.expect("session");
    place.sql("drop schema outbox cascade").await;
    store.migrate_up().await.expect("migrate");
    insert(&*place.admin().await, "a", "{}").await;
    let limits = ClaimLimits {
        tenants: 10,
        rows_per_tenant: 10,
        bytes_per_tenant: 1_000,
        lock_lone: true,
        lone_first: true,
        traceparents: false,
    };
    let (_open, claim) = older.claim("", &[], limits, Start::default()).await.expect("claim");
    assert_eq!(claim.tenants.len(), 1);
    let younger = store.session().await.expect("session");
    let (_second, claim) = younger.claim("", &[], limits, Start::default()).await.expect("claim");
    assert!(claim.tenants.is_empty(), "one tenant was locked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_that_are_revoked_are_missed_until_they_are_back() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let relay = working(&place, &ably).await;
    place.sql("revoke update on outbox.event from ROLE").await;
    // Only a claim that finds something needs it.
    let admin = place.admin().await;
    insert(&admin, "b", r#"{"n":1}"#).await;
    relay.wait_for_log("lacks UPDATE (status", 1);
    let remedy = remedy_of(&relay, "lacks UPDATE (status");
    let (_, sql) = remedy.split_once(": ").expect("a statement");
    stays_calm(&relay).await;
    place.sql(sql).await;
    assert_eq!(ably.wait_for(2).await.len(), 2);
    relay.wait_for_log("PostgreSQL can be worked with again", 1);
    place.sql("revoke usage on schema outbox from ROLE").await;
    insert(&admin, "b", r#"{"n":2}"#).await;
    relay.wait_for_log("lacks USAGE ON SCHEMA outbox", 1);
    place.sql("grant usage on schema outbox to ROLE").await;
    assert_eq!(ably.wait_for(3).await.len(), 3);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_is_asked_for_until_it_fits() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let relay = working(&place, &ably).await;
    place.sql("alter role ROLE password 'hunter2-other'").await;
    // A session that was being made while the password changed lives on.
    while !relay.says("worked with: 127.0.0.1:") {
        place.cut().await;
    }
    let said = ("worked with: 127.0.0.1:", "check user and password");
    recovers(&place, &ably, relay, said, async || {
        place.sql("alter role ROLE password 'hunter2-ROLE'").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_renamed_is_missed_until_it_is_back() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let relay = working(&place, &ably).await;
    let admin = connect(&server().dsn("postgres")).await;
    let (here, away) = (&place.name, format!("{}_away", place.name));
    // A rename wants no session in the database.
    let alter = format!("alter database {here} with allow_connections false");
    admin.batch_execute(&alter).await.unwrap();
    let rename = format!("alter database {here} rename to {away}");
    while admin.batch_execute(&rename).await.is_err() {
        place.cut().await;
    }
    let alter = format!("alter database {away} with allow_connections true");
    admin.batch_execute(&alter).await.unwrap();
    let said = ("does not exist", "check the database's name");
    recovers(&place, &ably, relay, said, async || {
        admin.batch_execute(&format!("alter database {away} rename to {here}")).await.unwrap();
    })
    .await;
}
