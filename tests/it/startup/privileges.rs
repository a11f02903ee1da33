//! What the relay's role and a producer's role need, found by taking the error's remedy at its word.

use tokio_postgres::error::SqlState;

use super::run_fails;
use super::server::Place;
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{count, insert};
use crate::support::relay::RelayProcess;

/// Everything that the relay's role needs.
const RELAY_GRANTS: &str = "GRANT USAGE ON SCHEMA outbox TO ROLE; \
    GRANT SELECT, UPDATE (status, attempts, error, published_at) ON outbox.event TO ROLE; \
    GRANT SELECT, INSERT, DELETE ON outbox.in_flight TO ROLE; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.hold TO ROLE; \
    GRANT SELECT, INSERT ON outbox.server_start TO ROLE; \
    GRANT SELECT ON outbox.schema_history TO ROLE; \
    GRANT SELECT ON outbox.redelivery TO ROLE; \
    GRANT SELECT ON outbox.tenant_policy TO ROLE; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.crash TO ROLE; \
    GRANT SELECT ON outbox.pause TO ROLE;";

const REMEDY: &str = "run as the outbox's owner: ";

#[tokio::test]
async fn a_role_that_lacks_privileges_is_told_each_of_them_as_sql() {
    let place = Place::with_outbox().await;
    let nothing = run_fails(&place.url(), &[]);
    nothing.is(77, &["lacks USAGE ON SCHEMA outbox", "SELECT ON outbox.schema_history"], &[REMEDY]);
    assert_eq!(nothing.remedy, format!("{REMEDY}{}", RELAY_GRANTS.replace("ROLE", &place.name)));
    assert!(nothing.cause.contains(&format!("role {} ", place.name)), "{}", nothing.cause);
    place.sql("grant usage on schema outbox to ROLE").await;
    let usage = run_fails(&place.url(), &[]);
    assert!(!usage.cause.contains("USAGE"), "{}", usage.cause);
    place.sql(RELAY_GRANTS).await;
    for lost in [
        "UPDATE (published_at) ON outbox.event",
        "DELETE ON outbox.in_flight",
        "UPDATE ON outbox.hold",
        "INSERT ON outbox.server_start",
        "SELECT ON outbox.schema_history",
        "SELECT ON outbox.redelivery",
        "SELECT ON outbox.tenant_policy",
        "UPDATE ON outbox.crash",
        "SELECT ON outbox.pause",
        "USAGE ON SCHEMA outbox",
    ] {
        place.sql(&format!("revoke {lost} from ROLE")).await;
        let failed = run_fails(&place.url(), &[]);
        let (what, on) = lost.split_once(" ON ").unwrap();
        failed.is(77, &[what.split(' ').next().unwrap(), on], &[REMEDY]);
        assert!(failed.cause.matches(" ON ").count() == 1, "{}", failed.cause);
        place.sql(failed.remedy.strip_prefix(REMEDY).unwrap()).await;
    }
    // Nothing is lacking any more, so that it is Ably that cannot be reached.
    let client = place.admin().await;
    insert(&client, "a", r#"{"n":0}"#).await;
    run_fails(&place.url(), &["--once"]).is(69, &["did not answer"], &["nothing is lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_named_privileges_suffice_for_groups_holds_failures_and_for_nothing_more() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    place.sql(RELAY_GRANTS).await;
    let client = place.admin().await;
    ably.fault(r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:held"}"#).await;
    ably.fault(r#"{"kind":"status","status":400,"code":40010,"channel":"tenant:bad"}"#).await;
    for n in 0..10 {
        for tenant in ["a", "b", "held", "bad"] {
            insert(&client, tenant, &format!("{{\"n\":{n}}}")).await;
        }
    }
    let relay = RelayProcess::start(&place.url(), &ably);
    relay.wait_until_listening();
    // All but one thing, which it can do without.
    relay.wait_for_log("the bell cannot be silenced", 1);
    let said = relay
        .complaints()
        .into_iter()
        .find(|line| line["message"].as_str().is_some_and(|m| m.contains("silenced")));
    let remedy = said.expect("the line")["remedy"].as_str().expect("its remedy").to_owned();
    place.sql(remedy.strip_prefix(REMEDY).expect("a statement")).await;
    relay.wait_for_log("tenant held is on hold", 1);
    relay.wait_for_log("failed:", 10);
    ably.clear_faults().await;
    let got = ably.wait_for(30).await;
    assert_complete_and_in_order(&got, 3, 10);
    assert!(got.iter().any(|m| m.message_id.contains(':')), "several events went as a group");
    let log = format!("{:?}", relay.log());
    assert!(!log.contains("PostgreSQL") && !log.contains(super::SECRET), "{log}");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!((count(&client, "published").await, count(&client, "failed").await), (30, 10));

    let role = place.as_role().await;
    for forbidden in [
        "update outbox.event set payload = '{}'",
        "update outbox.event set tenant_id = 'x'",
        "delete from outbox.event",
        "insert into outbox.schema_history values ('x', 'migration', 'x')",
    ] {
        let error = role.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error}");
    }
}

#[tokio::test]
async fn a_producer_needs_usage_of_the_schema_and_may_do_nothing_but_enqueue() {
    let place = Place::with_outbox().await;
    // As strict as it gets: EXECUTE is everybody's by PostgreSQL's default.
    place.sql("revoke execute on all functions in schema outbox from public").await;
    place.sql("grant usage on schema outbox to ROLE").await;
    let function = "outbox.enqueue(text, text, jsonb, text, text, text, timestamptz, jsonb, text)";
    place.sql(&format!("grant execute on function {function} to ROLE")).await;
    let role = place.as_role().await;
    let enqueue = "select outbox.enqueue(tenant_id => 't', event_type => 'a.b', payload => '{}', \
                   aggregate_type => 'A', aggregate_id => '1')";
    let id: String = role.query_one(enqueue, &[]).await.expect("enqueue").get(0);
    assert_eq!(id.len(), 36);
    for forbidden in [
        "select * from outbox.event",
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
         values ('t', 'A', '1', 'a.b', '{}')",
        "update outbox.event set status = 'published', published_at = now()",
        "delete from outbox.event",
        "select * from outbox.hold",
        "truncate outbox.event",
    ] {
        let error = role.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error}");
    }
    assert_eq!(count(&*place.admin().await, "pending").await, 1);
}
