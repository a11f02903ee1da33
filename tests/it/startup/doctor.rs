//! `doctor` on defects that lie outside the outbox: the way there, its kind, the role.

use super::server::{Place, port, server};
use crate::doctor::{Ward, mend};
use crate::support::local_ably::LocalAbly;
use crate::support::pgbouncer::PgBouncer;
use crate::support::relay::RelayProcess;
use crate::support::server_process::Standby;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_told_with_its_remedy() {
    let (place, ably) = (Place::empty().await, LocalAbly::start().await);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ward = Ward::new(&format!("postgres://u:hunter2@{nobody}/d"), &ably);
    ward.look().assert("postgres.reachable", "critical", "");
    let ward = Ward::new(&place.url_with("hunter2-wrong"), &ably);
    ward.look().assert("postgres.reachable", "critical", "password");
    ward.without("DATABASE_URL").look().assert(
        "postgres.reachable",
        "critical",
        "set DATABASE_URL",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_texts_nobody_can_read_is_found() {
    let (place, ably) = (Place::empty().await, LocalAbly::start().await);
    let name = format!("{}_ascii", place.name);
    let sql = format!(
        "create database {name} template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'"
    );
    place.admin().await.batch_execute(&sql).await.unwrap();
    let ward = Ward::new(&place.url_of(&name), &ably);
    let found = ward.look();
    found.assert("postgres.encoding", "critical", "ENCODING 'UTF8'");
    assert_eq!(found.of("postgres.encoding")["measured"], "SQL_ASCII");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_front_of_listen_is_found() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let pooler = PgBouncer::start(server().socket_dir(), port(), "transaction");
    let ward = Ward::new(&place.admin_url(), &ably).env("DIRECT_URL", &pooler.url(&place.name));
    let found = ward.look();
    found.assert("postgres.listen", "critical", "not pooled");
    assert_eq!(found.of("postgres.listen")["measured"], "not within 2 s");
    // The rest may go through it.
    let through = Ward::new(&pooler.url(&place.name), &ably).env("DIRECT_URL", &place.admin_url());
    let found = through.look();
    assert_ne!(found.of("postgres.listen")["level"], "critical", "{found:?}");
    for check in ["schema.version", "schema.claim_plan", "outbox.holds"] {
        assert_eq!(found.of(check)["level"], "ok", "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_too_few_and_with_too_many_privileges_is_found_and_mended() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    place
        .sql(
            "grant usage on schema outbox to ROLE; grant select, truncate on outbox.event to ROLE;
             grant select on outbox.schema_history to ROLE",
        )
        .await;
    let ward = Ward::new(&place.url(), &ably);
    let found = ward.look();
    found.assert("privileges.enough", "critical", "as the owner of outbox");
    let lacks = found.of("privileges.enough")["measured"].as_array().unwrap().clone();
    assert!(
        lacks.len() > 5 && lacks.iter().any(|what| what == "SELECT ON outbox.redelivery"),
        "{lacks:?}"
    );
    found.assert("privileges.not_too_many", "warning", "no relay needs it");
    assert_eq!(found.of("privileges.not_too_many")["measured"], serde_json::json!(["TRUNCATE"]));
    let admin = place.admin().await;
    mend(&admin, &ward, "privileges.enough").await;
    mend(&admin, &ward, "privileges.not_too_many").await;
    let found = ward.look();
    for check in ["privileges.enough", "privileges.not_too_many", "schema.claim_plan"] {
        assert_eq!(found.of(check)["level"], "ok", "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_not_waited_for_are_found() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    place.sql("alter database ROLE set synchronous_commit = off").await;
    let found = Ward::new(&place.admin_url(), &ably).look();
    found.assert("postgres.commit", "warning", "turn it on");
    assert_eq!(found.of("postgres.commit")["measured"], "off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_found() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let standby = Standby::of(server().socket_dir(), port(), &[]);
    let directory = standby.directory.display();
    let dsn = format!("host={directory} port={} user=postgres dbname={}", standby.port, place.name);
    let found = Ward::new(&dsn, &ably).look();
    found.assert("postgres.primary", "critical", "target_session_attrs=read-write");
    assert_eq!(found.of("postgres.primary")["measured"], "standby");
    assert_eq!(found.of("postgres.listen")["level"], "skipped");
}

/// With a role that has what a relay needs, a relay at work and no defect, nothing is found. This server's own defect is
/// that it does not wait for its disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_outbox_has_no_defect() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let ward = Ward::new(&place.url(), &ably);
    place.sql("alter database ROLE set synchronous_commit = on").await;
    mend(&place.admin().await, &ward, "privileges.enough").await;
    let relay = RelayProcess::start(&place.url(), &ably);
    relay.wait_until_listening();
    // On a busy machine a notification may be slow for once, and that is a finding.
    let mut found = ward.look();
    for _ in 0..20 {
        if found.of("postgres.listen")["level"] == "ok" {
            break;
        }
        found = ward.look();
    }
    let only = std::collections::BTreeSet::from(["postgres.durability".to_owned()]);
    assert_eq!(found.not_ok(), only, "{found:?}");
    found.assert("postgres.durability", "warning", "turn fsync on");
    assert_eq!(found.of("postgres.durability")["measured"], false);
    assert_eq!(ward.run(&[]).code(), Some(0));
    assert_eq!(ward.run(&["--strict"]).code(), Some(3));
}
