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
    nothing_is_everybodys(&place).await;
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

/// After `migrate grants` nobody but its owner and whom it names may do anything with any object; an event's positions,
/// least of all, are nobody's to draw or to set.
async fn nothing_is_everybodys(place: &Place) {
    let admin = place.admin().await;
    let sql = "select coalesce(string_agg(name, ', '), '') from (
                 select p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                  where p.pronamespace = 'outbox'::regnamespace and a.grantee = 0
                 union all
                 select c.relname from pg_class c, aclexplode(c.relacl) a
                  where c.relnamespace = 'outbox'::regnamespace and a.grantee = 0
                    -- Every writer asks it whether a relay is awake.
                    and (c.relname, a.privilege_type) <> ('awake_until', 'SELECT')
                 union all
                 select 'schema' from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'outbox' and a.grantee = 0) o(name)";
    let found: String = admin.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(found, "", "everybody's");
    for role in ["P \"\"x", "viewer", "writer"].map(|role| format!("{} {role}", place.name)) {
        let client = as_role(place, &role).await;
        for sql in [
            "select nextval('outbox.event_seq_seq')",
            "select setval('outbox.event_seq_seq', 1)",
            "select setval('outbox.awake_until', 1)",
            "select outbox.note_settled()",
            "create trigger t after insert on outbox.event execute function outbox.ring_bell()",
        ] {
            denied(client.batch_execute(sql).await, sql);
        }
    }
    let client = place.as_role().await;
    for sql in
        ["select nextval('outbox.event_seq_seq')", "select setval('outbox.event_seq_seq', 1)"]
    {
        denied(client.batch_execute(sql).await, sql);
    }
}

/// What a producer has put where names are looked up first is not what `enqueue`, which acts for the owner, calls.
#[tokio::test]
async fn a_producers_own_functions_and_operators_are_not_called_as_the_owner() {
    let place = Place::with_outbox().await;
    migrate(&place, &["--producer", &place.name, "--apply"]);
    let admin = place.admin().await;
    admin.batch_execute(&format!("grant create on database {0} to {0}", place.name)).await.unwrap();
    let client = place.as_role().await;
    client
        .batch_execute(
            "create schema evil;
             create table evil.event (like pg_catalog.pg_class);
             create function evil.octet_length(text) returns int language plpgsql as $$ begin raise 'called as %', current_user; end $$;
             create function evil.ascii(text) returns int language plpgsql as $$ begin raise 'called as %', current_user; end $$;
             create function evil.same(text, text) returns bool language plpgsql as $$ begin raise 'called as %', current_user; end $$;
             create operator evil.~ (leftarg = text, rightarg = text, function = evil.same);
             create function evil.join(text, text) returns text language plpgsql as $$ begin raise 'called as %', current_user; end $$;
             create operator evil.|| (leftarg = text, rightarg = text, function = evil.join);
             create temporary table event (id text); create temporary table awake_until (id text);
             set search_path = evil, pg_temp, pg_catalog",
        )
        .await
        .unwrap();
    let taken = client.batch_execute("select 'a'::text ~ 'a'::text").await.unwrap_err();
    assert!(taken.as_db_error().unwrap().message().starts_with("called as"), "{taken}");
    client.batch_execute(ENQUEUE).await.expect("by what PostgreSQL has of these names");
    assert_eq!(count(&admin, "pending").await, 1);
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
