//! What operators' commands show: the right events, everything about one, and nobody's data.

use serde_json::Value;

use super::{insert_failed, run};
use crate::support::outbox::{Outbox, insert};

fn seqs(objects: &[Value]) -> Vec<i64> {
    objects.iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_the_events_that_are_asked_for_newest_failures_first() {
    let outbox = Outbox::create("lists").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for tenant in ["a", "b", "a"] {
        insert_failed(&client, tenant, "{}").await;
    }
    for tenant in ["b", "a", "b", "a"] {
        insert(&client, tenant, "{}").await;
    }
    client
        .batch_execute(
            "update outbox.event set event_type = 'x.y', created_at = now() - interval '3 hours',
                    error = '{\"code\":\"PAYLOAD_TOO_LARGE\",\"message\":\"m\"}' where seq = 1;
             update outbox.event set status = 'published', published_at = now() where seq in (6, 7)",
        )
        .await
        .unwrap();
    let list =
        |args: &[&str]| seqs(&run(&url, &[&["events", "list", "--json"], args].concat()).objects());
    assert_eq!(list(&[]), [3, 2, 1]);
    assert_eq!(list(&["--limit", "2"]), [3, 2]);
    assert_eq!(list(&["--tenant", "a"]), [3, 1]);
    assert_eq!(list(&["--type", "x.y"]), [1]);
    assert_eq!(list(&["--code", "PAYLOAD_TOO_LARGE"]), [1]);
    assert_eq!(list(&["--code", "40009", "--tenant", "b"]), [2]);
    assert_eq!(list(&["--since", "2h"]), [3, 2]);
    assert_eq!(list(&["--since", "2020-01-01T00:00:00Z"]), [3, 2, 1]);
    assert_eq!(list(&["--status", "pending"]), [5, 4], "by tenant");
    assert_eq!(list(&["--status", "published"]), [7, 6]);
    assert_eq!(list(&["--status", "published", "--tenant", "b"]), [6]);
    assert_eq!(list(&["--tenant", "nobody"]), [0; 0]);
    run(&url, &["events", "list", "--limit", "0"]).fails(2, &["--limit"]);
    run(&url, &["events", "list"]).says("ABLY_ERROR 40009");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_data_and_no_secret_is_shown_unless_asked_for() {
    let outbox = Outbox::create("private").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let payload = r#"{"name": "hunter2", "number": 12345678901234567890123}"#;
    let id = insert_failed(&client, "a\u{1b}[2J", payload).await;
    insert(&client, "b", payload).await;
    client.batch_execute("update outbox.event set headers = '{\"h\":\"hunter2\"}'").await.unwrap();
    for args in [
        &["events", "list"][..],
        &["events", "list", "--json"],
        &["events", "list", "--status", "pending"],
        &["events", "show", &id],
        &["events", "show", &id, "--json"],
        &["events", "requeue", "--all", "--dry-run"],
        &["events", "requeue", &id, "--dry-run"],
        &["events", "discard", &id, "--reason", "x", "--log-level", "trace"],
        &["holds", "list"],
    ] {
        let ran = run(&url, args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let all = ran.stdout + &ran.stderr;
        assert!(!all.contains("hunter2") && !all.contains('\u{1b}'), "{args:?}: {all}");
    }
    for args in [
        &["events", "show", &id, "--payload"][..],
        &["events", "show", &id, "--payload", "--json"],
        &["events", "list", "--discarded", "--payload", "--json"],
    ] {
        let ran = run(&url, args);
        ran.says("hunter2");
        ran.says("12345678901234567890123");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_with_its_remedy_its_tenants_hold_and_its_history() {
    let outbox = Outbox::create("show").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let id = insert_failed(&client, "a", "{}").await;
    client
        .batch_execute(
            "insert into outbox.hold (tenant_id, until, reason, message) values ('a', 'infinity', 'blocked', 'why')",
        )
        .await
        .unwrap();
    let shown = run(&url, &["events", "show", "1"]);
    for part in [
        id.as_str(),
        "ABLY_ERROR 40009: too large",
        "remedy",
        "until somebody acts",
        "blocked: why",
    ] {
        shown.says(part);
    }
    run(&url, &["events", "requeue", &id, "--by", "alice"]).says("requeued 1 event");
    let shown = run(&url, &["events", "show", &id, "--json"]).objects();
    let shown = &shown[0];
    assert_eq!((&shown["id"], &shown["status"]), (&id.as_str().into(), &"pending".into()));
    assert_eq!((&shown["generation"], &shown["error"]), (&1.into(), &Value::Null));
    assert_eq!((&shown["hold"], &shown["remedy"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["audit"][0]["actor"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_an_outbox_or_with_an_older_one_is_told_so() {
    let outbox = Outbox::create("older").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    run(&url, &["events", "list", "--schema", "other"]).fails(78, &["no outbox"]);
    client
        .batch_execute("delete from outbox.schema_history where name = '0002_dead_letters'")
        .await
        .unwrap();
    run(&url, &["holds", "list"]).fails(78, &["0002_dead_letters is missing"]);
}
