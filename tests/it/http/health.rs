//! `/livez`, `/readyz` and the `health` command.

use std::process::Command;

use super::*;
use crate::support::outbox::insert;
use crate::support::postgres::{TestClient, connect};

fn health(url: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .arg("health")
        .args(args)
        .env_clear()
        .env("OUTBOX_RELAY_HTTP_LISTEN", url.trim_start_matches("http://"))
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_works_is_alive_and_ready_and_says_why() {
    let site = Site::start("ready").await;
    assert_eq!(site.get("/livez").await, (200, "ok\n".into()));
    let (status, text) = site.get("/readyz?verbose").await;
    assert_eq!(status, 200);
    for line in ["ok", "loop: ok:", "claims: ok:", "listener: ok:", "ably: ok:"] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{text}");
    }
    let (code, text) = health(&site.url, &["--verbose"]);
    assert_eq!((code, text.lines().next()), (Some(0), Some("ok")));
    // Not the relay's own port after its end: another test may have it by then. Nobody here listens on this address.
    let nowhere = site.url.replace("127.0.0.1", "127.77.0.1");
    assert_eq!(site.relay.terminate(), Some(0));
    let (code, text) = health(&nowhere, &["--live"]);
    assert!(code == Some(69) && text.contains("no relay answers"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ably_away_is_degraded_and_a_revoked_key_is_unready() {
    let site = Site::start("degraded").await;
    let client = site.outbox.connect().await;
    site.ably.fault(r#"{"kind":"status","status":503,"code":50003}"#).await;
    insert(&client, "a", "{}").await;
    site.wait_for("breaker_open{class=\"outage\"}", |n| n == Some(1.0)).await;
    let (status, text) = site.get("/readyz?verbose").await;
    assert!(status == 200 && text.starts_with("degraded\n"), "{text}");
    assert!(text.contains("ably: degraded: outage for") && text.contains("50003"), "{text}");
    site.ably.clear_faults().await;
    site.ably.fault(r#"{"kind":"unauthorized"}"#).await;
    let text = site.wait_for_status("/readyz?verbose", 503).await;
    assert!(text.contains("ably: failing: configuration"), "{text}");
    assert_eq!(site.get("/livez").await.0, 200, "a restart mends no key");
    let (code, text) = health(&site.url, &[]);
    assert!(code == Some(69) && text.starts_with("failing"), "{text}");
    site.ably.clear_faults().await;
    site.wait_for_status("/readyz", 200).await;
}

/// Another relay may be faster, or an operator decide: then nothing waits whose publish could show that Ably is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_nothing_left_to_publish_finds_out_that_ably_is_back() {
    let site = Site::start("wayback").await;
    let client = site.outbox.connect().await;
    for (fault, class, grade) in [
        (r#"{"kind":"status","status":503,"code":50003}"#, "outage", "degraded"),
        (r#"{"kind":"unauthorized"}"#, "configuration", "failing"),
    ] {
        site.ably.fault(fault).await;
        insert(&client, "a", "{}").await;
        let open = format!("breaker_open{{class=\"{class}\"}}");
        site.wait_for(&open, |n| n == Some(1.0)).await;
        let decide = "update outbox.event set status = 'failed', error = '{\"discarded\": {}}' where status = 'pending'";
        client.batch_execute(decide).await.unwrap();
        let asked = async || site.ably.stats().await["faults"][0]["hits"].as_u64().unwrap();
        let before = asked().await;
        // It asks, and is told that nothing has changed.
        site.ably
            .wait_until("it asks again", async |stats| {
                stats["faults"][0]["hits"].as_u64().unwrap() > before + 1
            })
            .await;
        assert_eq!(site.metric(&open).await, Some(1.0));
        let (_, text) = site.get("/readyz?verbose").await;
        assert!(text.starts_with(grade), "{text}");
        site.ably.clear_faults().await;
        site.wait_for(&open, |n| n == Some(0.0)).await;
        assert!(site.get("/readyz").await == (200, "ok\n".into()));
    }
    assert!(site.ably.accepted().await.is_empty(), "asking publishes nothing");
}

/// A connection to the server's other database.
async fn elsewhere(site: &Site) -> TestClient {
    let dsn = site.outbox.database.dsn().replace(site.outbox.database.name(), "postgres");
    connect(&dsn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_polls_is_degraded_and_ready() {
    let site = Site::with("polling", &[("OUTBOX_RELAY_CANARY_INTERVAL", "500ms")]).await;
    let client = site.outbox.connect().await;
    // Whoever cannot log in again cannot listen again; the sessions of the drain stay.
    let name = site.outbox.database.name().to_owned();
    let admin = elsewhere(&site).await;
    let allow = async |yes: bool| {
        let sql = format!("alter database {name} with allow_connections {yes}");
        admin.batch_execute(&sql).await.unwrap();
    };
    allow(false).await;
    client
        .batch_execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and query like 'listen%'",
        )
        .await
        .unwrap();
    site.wait_for("listener_up", |n| n == Some(0.0)).await;
    let (status, text) = site.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("listener: degraded: notifications do not arrive: polling"), "{text}");
    assert!(site.metric("listener_losses_total").await > Some(0.0));
    allow(true).await;
    site.wait_for("listener_up", |n| n == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_a_relay_is_unready_and_alive() {
    let site = Site::start("unready").await;
    let client = site.outbox.connect().await;
    client.batch_execute("alter table outbox.hold rename to elsewhere").await.unwrap();
    // An idle relay asks for nothing that needs the table.
    insert(&client, "a", "{}").await;
    let text = site.wait_for_status("/readyz?verbose", 503).await;
    assert!(text.contains("claims: failing: PostgreSQL cannot be worked with"), "{text}");
    assert_eq!(site.get("/livez").await.0, 200);
    client.batch_execute("alter table outbox.elsewhere rename to hold").await.unwrap();
    site.wait_for_status("/readyz", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_is_unready_until_it_has_ended() {
    let site = Site::start("stopping").await;
    let client = site.outbox.connect().await;
    site.ably.fault(r#"{"kind":"delay","delay_ms":3000}"#).await;
    insert(&client, "a", "{}").await;
    site.wait_for("events_in_flight", |n| n == Some(1.0)).await;
    site.relay.signal(nix::sys::signal::Signal::SIGTERM);
    let text = site.wait_for_status("/readyz?verbose", 503).await;
    assert!(text.contains("shutdown: failing: stopping"), "{text}");
}

#[test]
fn health_needs_to_know_where_the_relay_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .arg("health")
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("OUTBOX_RELAY_HTTP_LISTEN"));
}
