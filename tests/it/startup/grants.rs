//! What `migrate grants` gives, and everything that it does not.

use tokio_postgres::error::SqlState;

use super::server::Place;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::count;
use crate::support::postgres::TestClient;
use crate::support::relay::RelayProcess;

const ENQUEUE: &str = "select outbox.enqueue(tenant_id => 't', event_type => 'a.b', payload => '{}', \
                       aggregate_type => 'A', aggregate_id => '1')";
const INSERT: &str = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                      values ('t', 'A', '1', 'a.b', '{}')";

/// What none of the three may do.
const NOBODY: [&str; 9] = [
    "delete from outbox.event",
    "truncate outbox.event",
    "update outbox.event set payload = '{}'",
    "update outbox.event set tenant_id = 'x'",
    "drop table outbox.event",
    "create table outbox.mine ()",
    "alter table outbox.event disable trigger all",
    "insert into outbox.schema_history values ('x', 'migration', 'x')",
    "insert into outbox.audit (actor, action, operation, tenant_id, count) values ('x', 'discard', 'x', 'x', 1)",
];

/// As the owner: what was written and is there to be stolen.
fn migrate(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(["migrate", "grants"])
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .env("DATABASE_URL", super::server::server().dsn(&place.name))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[track_caller]
fn denied(result: Result<(), tokio_postgres::Error>, sql: &str) {
    let error = result.expect_err(sql);
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error}");
}

async fn as_role(place: &Place, role: &str) -> TestClient {
    let client = place.admin().await;
    client.batch_execute(&format!("set role \"{role}\"")).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_its_work_and_nothing_else() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let relay = place.name.clone();
    let [producer, viewer, writer] =
        ["P \"x", "viewer", "writer"].map(|role| format!("{relay} {role}"));
    let admin = place.admin().await;
    for role in [&producer, &viewer, &writer] {
        admin
            .batch_execute(&format!("create role \"{}\"", role.replace('"', "\"\"")))
            .await
            .unwrap();
    }
    let roles = ["--relay", &relay, "--producer", &producer, "--viewer", &viewer];
    let (code, printed) = migrate(&place, &roles);
    assert_eq!(code, Some(0), "{printed}");
    let strict = as_role(&place, &viewer).await;
    denied(strict.batch_execute("select id from outbox.event").await, "printing grants nothing");
    assert_eq!(migrate(&place, &[&roles[..], &["--apply"]].concat()), (Some(0), printed));
    let (code, text) = migrate(&place, &["--producer", &writer, "--allow-insert", "--apply"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = migrate(&place, &["--relay", "nobody here", "--apply"]);
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("there is no role \"nobody here\""), "{text}");

    let quoted = producer.replace('"', "\"\"");
    let client = as_role(&place, &quoted).await;
    client.batch_execute(ENQUEUE).await.expect("a producer enqueues");
    for sql in
        NOBODY.iter().chain(&[INSERT, "select id from outbox.event", "select * from outbox.hold"])
    {
        denied(client.batch_execute(sql).await, sql);
    }
    let client = as_role(&place, &writer).await;
    client.batch_execute(ENQUEUE).await.expect("enqueues");
    client.batch_execute(INSERT).await.expect("inserts");
    let settled = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, adopted_from) \
                   values ('t', 'A', '1', 'a.b', '{}', 1)";
    for sql in NOBODY.iter().chain(&[settled, "select id from outbox.event"]) {
        denied(client.batch_execute(sql).await, sql);
    }
    let client = as_role(&place, &viewer).await;
    for table in ["hold", "in_flight", "audit", "crash", "redelivery", "adopted"] {
        client.batch_execute(&format!("select * from outbox.{table}")).await.expect(table);
    }
    client.batch_execute("select id, status, error from outbox.event").await.expect("sees");
    let stolen = [
        "select payload from outbox.event",
        "select headers from outbox.event",
        "select * from outbox.event",
        "update outbox.event set status = 'pending'",
        ENQUEUE,
        INSERT,
        "delete from outbox.hold",
    ];
    for sql in NOBODY.iter().chain(&stolen) {
        denied(client.batch_execute(sql).await, sql);
    }
    let running = RelayProcess::start(&place.url(), &ably);
    ably.wait_for(3).await;
    crate::support::outbox::wait_until(
        &admin,
        "select count(*) = 3 from outbox.event where status = 'published'",
    )
    .await;
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(count(&admin, "published").await, 3);
    let client = place.as_role().await;
    for sql in NOBODY.iter().chain(&[INSERT, ENQUEUE, "select * from outbox.audit"]) {
        denied(client.batch_execute(sql).await, sql);
    }
}

#[tokio::test]
async fn a_viewers_lists_need_no_payloads() {
    let place = Place::with_outbox().await;
    migrate(&place, &["--viewer", &place.name, "--apply"]);
    let admin = place.admin().await;
    admin.batch_execute(INSERT).await.unwrap();
    let list = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .args(["events", "list", "--status", "pending"])
            .args(more)
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("DATABASE_URL", place.url())
            .output()
            .unwrap()
    };
    let output = list(&[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("a.b"), "{output:?}");
    assert_eq!(list(&["--json", "--payload"]).status.code(), Some(77));
}
