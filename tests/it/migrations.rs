//! The schema: applied once by many, refused when it is not ours, and keeping its promises.

use outbox_relay::store::error::StoreError;
use outbox_relay::store::migrate::{self, StepState};
use outbox_relay::store::schema_name::SchemaName;
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;

use crate::support::outbox::{Outbox, count, insert, store_at};
use crate::support::postgres::TestDatabase;

#[tokio::test]
async fn ten_at_once_migrate_and_each_step_is_applied_once() {
    let database = TestDatabase::create("ten").await;
    let mut all = JoinSet::new();
    for _ in 0..10 {
        let store = store_at(&database.dsn(), "outbox");
        all.spawn(async move { store.migrate_up().await.unwrap() });
    }
    let mut applied: Vec<_> = all.join_all().await.into_iter().flatten().collect();
    applied.sort_unstable();
    let mut expected: Vec<_> = migrate::STEPS.iter().map(|step| step.name).collect();
    expected.sort_unstable();
    assert_eq!(applied, expected);
    assert_eq!(store_at(&database.dsn(), "outbox").migrate_verify().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_outbox_may_live_in_a_schema_of_any_name() {
    let database = TestDatabase::create("named").await;
    let name = "Mein \"Aus'gang";
    let store = store_at(&database.dsn(), name);
    store.migrate_up().await.unwrap();
    assert_eq!(store.migrate_verify().await.unwrap(), [""; 0]);
    drop(store.session().await.unwrap());
    let client = database.connect().await;
    let sql = r#"select "Mein ""Aus'gang".enqueue(tenant_id => 'a', event_type => 'a.b', payload => '{}', aggregate_type => 't', aggregate_id => '1')"#;
    let id: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn printed_sql_makes_the_schema_that_up_makes() {
    let database = TestDatabase::create("print").await;
    let client = database.connect().await;
    client.batch_execute(&migrate::print(&SchemaName::new("outbox").unwrap())).await.unwrap();
    let store = store_at(&database.dsn(), "outbox");
    assert_eq!(store.migrate_verify().await.unwrap(), [""; 0]);
    assert!(store.migrate_up().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_schema_that_is_newer_older_or_edited_is_refused() {
    let outbox = Outbox::create("refused").await;
    let (client, store) = (outbox.connect().await, outbox.store());
    client
        .batch_execute("insert into outbox.schema_history values ('9999_x', 'migration', 'c')")
        .await
        .unwrap();
    assert!(
        matches!(store.migrate_up().await, Err(StoreError::SchemaNewer { step }) if step == "9999_x")
    );
    assert!(store.session().await.is_ok(), "relays of two versions run side by side");
    client
        .batch_execute(
            "update outbox.schema_history set name = '9999_breaking_x' where name = '9999_x'",
        )
        .await
        .unwrap();
    assert!(matches!(store.session().await, Err(StoreError::SchemaNewer { .. })));

    client
        .batch_execute(
            "delete from outbox.schema_history where name in ('9999_breaking_x', 'enqueue')",
        )
        .await
        .unwrap();
    assert!(
        matches!(store.session().await, Err(StoreError::SchemaOlder { step }) if step == "enqueue")
    );
    assert_eq!(store.migrate_up().await.unwrap(), ["enqueue"]);

    client
        .batch_execute("update outbox.schema_history set checksum = 'x' where name = '0001_outbox'")
        .await
        .unwrap();
    assert!(matches!(store.migrate_up().await, Err(StoreError::SchemaEdited { .. })));
    let status = store.migrate_status().await.unwrap();
    assert_eq!(status[0].state, StepState::Changed);
}

#[tokio::test]
async fn verify_names_a_trigger_that_is_disabled_or_gone() {
    let outbox = Outbox::create("verify").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "alter table outbox.event disable trigger event_bell; drop trigger event_guard on outbox.event",
        )
        .await
        .unwrap();
    let problems = outbox.store().migrate_verify().await.unwrap();
    assert_eq!(problems, ["trigger event_bell is disabled", "trigger event_guard is missing"]);
}

#[tokio::test]
async fn a_migration_that_cannot_have_its_lock_gives_up_and_leaves_nothing() {
    let database = TestDatabase::create("locked").await;
    let store = store_at(&database.dsn(), "outbox");
    store.migrate_up().await.unwrap();
    let mut client = database.connect().await;
    client
        .batch_execute(
            "update outbox.schema_history set checksum = 'old' where name = 'event_bell'",
        )
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("lock table outbox.event in access exclusive mode").await.unwrap();
    let error = store.migrate_up().await.unwrap_err();
    assert!(error.remedy().contains("holds a lock"), "{error}: {}", error.remedy());
    transaction.rollback().await.unwrap();
    assert_eq!(store.migrate_up().await.unwrap(), ["event_bell"]);
}

#[tokio::test]
async fn a_published_event_never_becomes_pending_again() {
    let outbox = Outbox::create("guard").await;
    let client = outbox.connect().await;
    insert(&client, "a", "{}").await;
    client
        .batch_execute("update outbox.event set status = 'published', published_at = now()")
        .await
        .unwrap();
    for change in [
        "status = 'pending', published_at = null",
        "status = 'failed', published_at = null, error = '{}'",
    ] {
        let error =
            client.batch_execute(&format!("update outbox.event set {change}")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{change}");
    }
    assert_eq!(count(&client, "published").await, 1);
}

#[tokio::test]
async fn the_table_refuses_states_that_contradict_themselves() {
    let outbox = Outbox::create("checks").await;
    let client = outbox.connect().await;
    insert(&client, "a", "{}").await;
    for change in [
        "status = 'published'",
        "status = 'failed'",
        "status = 'sent'",
        "published_at = now()",
        "attempts = -1",
    ] {
        let error =
            client.batch_execute(&format!("update outbox.event set {change}")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{change}");
    }
}

#[tokio::test]
async fn enqueue_refuses_what_could_never_be_published_and_says_how_to_mend_it() {
    let outbox = Outbox::create("enqueue").await;
    let client = outbox.connect().await;
    let call = async |tenant: &str, event_type: &str, payload: &str, headers: Option<&str>| {
        client
            .query_one(
                "select outbox.enqueue(tenant_id => $1, event_type => $2, payload => $3::text::jsonb,
                   aggregate_type => 'Task', aggregate_id => '1', headers => $4::text::jsonb)",
                &[&tenant, &event_type, &payload, &headers],
            )
            .await
    };
    let large = format!("\"{}\"", "x".repeat(70_000));
    for (tenant, event_type, payload, headers) in [
        ("", "a.b", "{}", None),
        ("  ", "a.b", "{}", None),
        ("a:b", "a.b", "{}", None),
        ("a*", "a.b", "{}", None),
        ("a,b", "a.b", "{}", None),
        ("a\nb", "a.b", "{}", None),
        ("[a", "a.b", "{}", None),
        ("a", "nodot", "{}", None),
        ("a", ".b", "{}", None),
        ("a", "a.", "{}", None),
        ("a", "", "{}", None),
        ("a", "a.b", "{}", Some("[1]")),
        ("a", "a.b", "{}", Some(r#"{"x":{}}"#)),
        ("a", "a.b", large.as_str(), None),
    ] {
        let error = call(tenant, event_type, payload, headers).await.unwrap_err();
        let db = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        assert!(db.hint().is_some_and(|hint| hint.len() > 10), "{tenant:?} {event_type:?}: {db:?}");
    }
    call("tenant-1", "kitchen.task.claimed", "{}", Some(r#"{"x":1,"y":null}"#)).await.unwrap();
    assert_eq!(count(&client, "pending").await, 1);
}
