//! What operators' commands change, what they refuse to change, and what is remembered of it.

use tokio_postgres::Client;

use super::{insert_failed, run};
use crate::support::outbox::{Outbox, insert};

/// Everything in the outbox that a command could change.
async fn everything(client: &Client) -> String {
    let sql = "select concat_ws('/',
        (select string_agg(e::text, ';' order by e.seq) from outbox.event e),
        (select string_agg(h::text, ';' order by h.tenant_id) from outbox.hold h),
        (select string_agg(a::text, ';' order by a.id) from outbox.audit a),
        (select string_agg(r::text, ';' order by r.seq) from outbox.redelivery r))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn block(client: &Client, tenant: &str) {
    let sql = "insert into outbox.hold (tenant_id, until, reason, message)
               values ($1, 'infinity', 'blocked', 'x')";
    client.execute(sql, &[&tenant]).await.unwrap();
}

async fn publish(client: &Client, id: &str) {
    let sql = "update outbox.event set status = 'published', published_at = now() where id = $1";
    client.execute(sql, &[&id]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let outbox = Outbox::create("dry").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for tenant in ["a", "a", "b"] {
        insert_failed(&client, tenant, r#"{"secret":"hunter2"}"#).await;
    }
    block(&client, "a").await;
    let before = everything(&client).await;
    for (args, said) in [
        (&["events", "requeue", "--all", "--dry-run"][..], "would requeue 3 events of 2 tenants"),
        (&["events", "requeue", "1", "2", "--dry-run"], "would requeue 2 events"),
        (
            &["events", "discard", "--tenant", "a", "--reason", "x", "--dry-run"],
            "would discard 2 events of 1 tenant",
        ),
        (&["events", "requeue", "--tenant", "nobody", "--yes"], "no failed event matches"),
        (&["holds", "release", "a", "--dry-run"], "would release a"),
    ] {
        let ran = run(&url, args);
        ran.says(said);
        assert!(!(ran.stdout + &ran.stderr).contains("hunter2"), "{args:?}");
    }
    assert_eq!(everything(&client).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_and_nothing_is_changed() {
    let outbox = Outbox::create("refuse").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let failed = insert_failed(&client, "a", "{}").await;
    let published = insert(&client, "a", "{}").await;
    publish(&client, &published).await;
    let pending = insert(&client, "a", "{}").await;
    let discarded = insert_failed(&client, "a", "{}").await;
    run(&url, &["events", "discard", &discarded, "--reason", "x"]).says("discarded 1 event");
    client.execute("update outbox.event set id = '1' where id = $1", &[&discarded]).await.unwrap();
    let before = everything(&client).await;
    let requeue = |args: &[&str]| run(&url, &[&["events", "requeue"], args].concat());
    requeue(&[&failed, "no-such-event"]).fails(65, &["no event with the id or position"]);
    requeue(&[&failed, "seq:99"]).fails(65, &["seq:99"]);
    requeue(&[&failed, &published]).fails(65, &["is published: only failed events"]);
    requeue(&[&failed, &pending]).fails(65, &["is pending"]);
    requeue(&["id:1"]).fails(65, &["was discarded"]);
    requeue(&["1"]).fails(65, &["is the id of one event and the position of another"]);
    requeue(&[]).fails(2, &["neither an id nor a filter"]);
    requeue(&["--yes"]).fails(2, &["neither an id nor a filter"]);
    requeue(&["--discarded", "--yes"]).fails(2, &["neither an id nor a filter"]);
    requeue(&[&failed, "--tenant", "a"]).fails(2, &["both ids and a filter"]);
    requeue(&["--all", "--tenant", "a", "--yes"]).fails(2, &["--all and a filter"]);
    requeue(&["--tenant", "a"]).fails(2, &["--yes"]);
    requeue(&["--all"]).fails(2, &["--dry-run"]);
    requeue(&["--since", "yesterday", "--yes"]).fails(2, &["such as 90m"]);
    requeue(&[&failed, "--by", " "]).fails(2, &["blank"]);
    let discard = |args: &[&str]| run(&url, &[&["events", "discard"], args].concat());
    discard(&[&failed]).fails(2, &["--reason"]);
    discard(&["--reason", "x"]).fails(2, &["neither an id nor a filter"]);
    discard(&["--tenant", "a", "--reason", "x"]).fails(2, &["--yes"]);
    discard(&[&published, "--reason", "x"]).fails(65, &["is published"]);
    discard(&["id:1", "--reason", "x"]).fails(65, &["was discarded"]);
    run(&url, &["events", "show", "no-such-event"]).fails(65, &["no event with the id"]);
    assert_eq!(everything(&client).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_kept_with_who_when_and_why() {
    let outbox = Outbox::create("audit").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let mut ids = Vec::new();
    for tenant in ["a", "a", "b", "a"] {
        ids.push(insert_failed(&client, tenant, "{}").await);
    }
    run(&url, &["events", "requeue", &ids[0], &ids[2], "--by", "alice", "--reason", "mended"])
        .says("requeued 2 events");
    run(&url, &["events", "discard", "--tenant", "a", "--reason", "obsolete", "--yes"])
        .says("discarded 2 events");
    let rows = client
        .query(
            "select action, tenant_id, seqs, count, coalesce(filter::text, '-'), reason, actor,
                    db_role = session_user, at > now() - interval '1 minute', operation
               from outbox.audit order by id",
            &[],
        )
        .await
        .unwrap();
    type Entry = (String, String, Vec<i64>, i64, String, String);
    let entries: Vec<Entry> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5))).collect();
    let entry = |action: &str, tenant: &str, seqs: &[i64], filter: &str, reason: &str| {
        let count = i64::try_from(seqs.len()).unwrap();
        (action.into(), tenant.into(), seqs.to_vec(), count, filter.into(), reason.into())
    };
    let filter = r#"{"tenant": "a", "discarded": false}"#;
    let expected: [Entry; 3] = [
        entry("requeue", "a", &[1], "-", "mended"),
        entry("requeue", "b", &[3], "-", "mended"),
        entry("discard", "a", &[2, 4], filter, "obsolete"),
    ];
    assert_eq!(entries, expected);
    assert!(rows.iter().all(|r| r.get::<_, bool>(7) && r.get::<_, bool>(8)));
    assert_eq!(rows[0].get::<_, String>(6), "alice");
    let role: String = client.query_one("select session_user::text", &[]).await.unwrap().get(0);
    assert!(rows[2].get::<_, String>(6).starts_with(&format!("{role} (")), "role and system user");
    assert_eq!(rows[0].get::<_, String>(9), rows[1].get::<_, String>(9), "one command");

    let error = "select error::text from outbox.event where seq = 2";
    let error: String = client.query_one(error, &[]).await.unwrap().get(0);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["code"], &error["ablyErrorCode"]), (&"ABLY_ERROR".into(), &40_009.into()));
    assert_eq!(error["discarded"]["reason"], "obsolete");
    let shown = run(&url, &["events", "show", "seq:2"]);
    shown.says("obsolete");
    shown.says(filter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_can_be_taken_back_and_is_left_out_of_lists_until_then() {
    let outbox = Outbox::create("discard").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for _ in 0..3 {
        insert_failed(&client, "a", "{}").await;
    }
    // An error that somebody wrote by hand need not be an object.
    client.batch_execute("update outbox.event set error = '\"odd\"' where seq = 2").await.unwrap();
    run(&url, &["events", "discard", "1", "2", "--reason", "no use"]).says("discarded 2 events");
    let listed = |args: &[&str]| run(&url, &[&["events", "list", "--json"], args].concat());
    assert_eq!(listed(&[]).objects().len(), 1);
    assert_eq!(listed(&["--discarded"]).objects().len(), 3);
    run(&url, &["events", "requeue", "--all", "--dry-run"]).says("would requeue 1 event of");
    run(&url, &["events", "requeue", "1", "2", "--discarded"]).says("requeued 2 events");
    assert_eq!(listed(&["--discarded"]).objects().len(), 1);
    assert_eq!(listed(&["--status", "pending"]).objects()[1]["error"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_ends_when_the_last_failed_event_of_its_tenant_is_decided() {
    let outbox = Outbox::create("last").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for _ in 0..3 {
        insert_failed(&client, "a", "{}").await;
    }
    insert_failed(&client, "b", "{}").await;
    block(&client, "a").await;
    block(&client, "b").await;
    let held = || -> Vec<String> {
        let holds = run(&url, &["holds", "list", "--json"]).objects();
        holds.iter().map(|h| h["tenant_id"].as_str().unwrap().to_owned()).collect()
    };
    run(&url, &["events", "requeue", "1"]).says("tenant a is still blocked");
    run(&url, &["events", "discard", "3", "--reason", "x"]).says("tenant a is still blocked");
    assert_eq!(held(), ["a", "b"]);
    run(&url, &["events", "requeue", "2"]).says("1 tenant no longer blocked");
    assert_eq!(held(), ["b"]);
    // A hold of another kind is Ably's business, not this event's.
    client.batch_execute("update outbox.hold set reason = 'capability'").await.unwrap();
    run(&url, &["events", "requeue", "4"]).says("requeued 1 event");
    assert_eq!(held(), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_no_more_than_the_privileges_that_the_readme_names() {
    let outbox = Outbox::create("operator").await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("<!-- grants of operators -->\n```sql\n").unwrap();
    let grants = rest.split_once("```").unwrap().0;
    let role = format!("{}_operator", outbox.database.name());
    client
        .batch_execute(&format!(
            "create role {role} login; {}",
            grants.replace("operator_role", &role)
        ))
        .await
        .unwrap();
    for n in 0..4 {
        insert_failed(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    block(&client, "a").await;
    block(&client, "b").await;
    // An option of the connection: a server that was given to the tests may ask for passwords.
    let url = match (url.contains("://"), url.contains('?')) {
        (false, _) => format!("{url} options='-c role={role}'"),
        (true, true) => format!("{url}&options=-c%20role%3D{role}"),
        (true, false) => format!("{url}?options=-c%20role%3D{role}"),
    };
    run(&url, &["events", "list"]).says("seq".to_uppercase().as_str());
    run(&url, &["events", "list", "--status", "pending"]).says("SEQ");
    run(&url, &["events", "list", "--status", "published"]).says("SEQ");
    run(&url, &["events", "requeue", "1"]).says("requeued 1 event");
    run(&url, &["events", "discard", "2", "--reason", "x"]).says("discarded 1 event");
    run(&url, &["events", "requeue", "2", "--discarded"]).says("requeued 1 event");
    run(&url, &["events", "requeue", "--all", "--yes"]).says("no longer blocked");
    run(&url, &["events", "show", "1", "--payload"]).says("by ");
    run(&url, &["holds", "list"]).says("blocked");
    run(&url, &["holds", "release", "b"]).says("released b");
    run(&url, &["pause", "--tenant", "a"]).says("paused");
    run(&url, &["resume", "--tenant", "a"]).says("resumed");

    client.batch_execute(&format!("revoke insert on outbox.audit from {role}")).await.unwrap();
    insert_failed(&client, "a", "{}").await;
    let before = everything(&client).await;
    run(&url, &["events", "requeue", "5"]).fails(77, &["audit"]);
    assert_eq!(everything(&client).await, before, "nothing without a trace");
}
