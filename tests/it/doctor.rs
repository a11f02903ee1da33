//! `doctor` finds each planted defect, with the right remedy, and its SQL mends it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::local_ably::{LocalAbly, ably_environment};
use crate::support::outbox::{Outbox, insert};
use crate::support::postgres::{FLUSH_STATISTICS, TestClient};

/// Where `doctor` runs.
pub(crate) struct Ward {
    environment: Vec<(String, String)>,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    code: Option<i32>,
    text: String,
    json: Value,
}

impl Ward {
    pub(crate) fn new(dsn: &str, ably: &LocalAbly) -> Self {
        let mut environment = vec![("DATABASE_URL".to_owned(), dsn.to_owned())];
        environment.extend(ably_environment(ably));
        Self { environment }
    }

    pub(crate) fn env(&self, name: &str, value: &str) -> Self {
        let mut environment = self.environment.clone();
        environment.retain(|(known, _)| known != name);
        environment.push((name.to_owned(), value.to_owned()));
        Self { environment }
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        let environment = self.environment.iter().filter(|(known, _)| known != name);
        Self { environment: environment.cloned().collect() }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Diagnosis {
        let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .arg("doctor")
            .args(args)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let errors = String::from_utf8(output.stderr).unwrap();
        for secret in ["hunter2", "emulator\""] {
            assert!(!text.contains(secret) && !errors.contains(secret), "{text}{errors}");
        }
        Diagnosis { code: output.status.code(), text: text + &errors, json }
    }

    pub(crate) fn look(&self) -> Diagnosis {
        self.run(&["--json", "--max-snapshot-age", "1s"])
    }
}

impl Diagnosis {
    pub(crate) fn code(&self) -> Option<i32> {
        self.code
    }

    /// The finding of a check: `category.check`.
    pub(crate) fn of(&self, name: &str) -> &Value {
        let found = self.json["checks"].as_array().into_iter().flatten().find(|check| {
            format!("{}.{}", check["category"].as_str().unwrap(), check["check"].as_str().unwrap())
                == name
        });
        found.unwrap_or_else(|| panic!("no {name}: {}", self.text))
    }

    /// Every check that is not as it should be.
    pub(crate) fn not_ok(&self) -> BTreeSet<String> {
        let bad = |check: &&Value| check["level"] != "ok";
        let checks = self.json["checks"].as_array().into_iter().flatten().filter(bad);
        let name = |c: &Value| {
            format!("{}.{}", c["category"].as_str().unwrap(), c["check"].as_str().unwrap())
        };
        checks.map(name).collect()
    }

    pub(crate) fn assert(&self, name: &str, level: &str, remedy: &str) {
        let found = self.of(name);
        let told = found["remedy"].as_str().unwrap_or_default();
        assert!(found["level"] == level && told.contains(remedy), "{name}: {found}");
        if level == "critical" {
            assert_eq!(self.code, Some(1), "{}", self.text);
        }
    }
}

/// Defects of a database that SQL plants: the check, its level, what was measured (JSON, or `> number`, or `~ part of a
/// text`), what the remedy says, whether `--fix-sql` mends it.
const DEFECTS: [(&str, &str, &str, &str, &str, bool); 27] = [
    ("alter table outbox.event disable trigger event_bell", "schema.triggers", "critical", "\"event_bell\"", "enable it", true),
    ("alter table outbox.event disable trigger event_guard", "schema.triggers", "critical", "\"event_guard\"", "enable it", true),
    ("alter table outbox.event enable replica trigger event_bell", "schema.triggers", "critical", "\"event_bell\"", "enable it", true),
    ("drop trigger event_guard on outbox.event", "schema.triggers", "critical", "\"event_guard\"", "migrate up", false),
    ("create or replace function outbox.ring_bell() returns trigger language plpgsql as 'begin return null; end'",
     "schema.functions", "critical", "[\"ring_bell\"]", "migrate print", false),
    ("drop index outbox.event_pending", "schema.indexes", "critical", "\"event_pending\"", "make it", true),
    ("drop index outbox.event_failed", "schema.indexes", "critical", "\"event_failed\"", "make it", true),
    ("update pg_index set indisvalid = false where indexrelid = 'outbox.event_pending'::regclass",
     "schema.indexes", "critical", "\"event_pending\"", "make it anew", true),
    ("drop index outbox.event_pending", "schema.claim_plan", "critical", "~ Scan", "analyze", false),
    ("alter table outbox.event enable row level security", "schema.table", "critical", "\"row level security\"", "turn it off", true),
    // What refers to it must be unlogged first.
    ("alter table outbox.redelivery set unlogged; alter table outbox.adopted_owed set unlogged; alter table outbox.event set unlogged",
     "schema.table", "critical", "\"unlogged\"", "make it logged", true),
    ("alter table outbox.event set (autovacuum_enabled = off)", "schema.autovacuum", "critical", "\"table\"", "turn it on", true),
    ("delete from outbox.schema_history where name = '0004_archive'", "schema.version", "critical", "\"0004_archive\"", "migrate up", false),
    ("insert into outbox.schema_history values ('9999_future', 'migration', 'x')", "schema.version", "critical", "null", "at least as new", false),
    ("update outbox.schema_history set checksum = 'x' where name = '0001_outbox'", "schema.version", "critical", "\"0001_outbox\"", "restore", false),
    ("update outbox.schema_history set checksum = 'x' where name = 'enqueue'", "schema.version", "warning", "\"enqueue\"", "migrate up", false),
    ("grant select on outbox.event to public", "privileges.public", "warning", "[\"SELECT\"]", "take it away", true),
    ("do $$ begin execute format('alter database %I set outbox.max_message_bytes = 262144', current_database()); end $$",
     "schema.message_bytes", "warning", "262144", "your Ably package", true),
    ("do $$ begin execute format('alter database %I set outbox.max_message_bytes = ''much''', current_database()); end $$",
     "schema.message_bytes", "critical", "\"much\"", "a number of bytes", true),
    ("do $$ begin execute format('alter database %I set idle_session_timeout = 60000', current_database()); end $$",
     "postgres.idle_timeout", "warning", "60000", "turn it off", false),
    ("do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
     "postgres.primary", "critical", "\"read only\"", "primary", true),
    ("insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, created_at)
      values ('a', 'b', 'c', 'd.e', '{}', now() - interval '2 min')", "outbox.oldest_pending", "warning", "> 120", "holds list", false),
    ("insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, created_at)
      values ('a', 'b', 'c', 'd.e', '{}', now() - interval '10 min')", "outbox.oldest_pending", "critical", "> 600", "holds list", false),
    ("insert into outbox.hold (tenant_id, until, reason, message) values ('a', 'infinity', 'blocked', 'm')",
     "outbox.holds", "warning", "[\"1 for blocked\"]", "holds list", false),
    ("insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, error)
      values ('a', 'b', 'c', 'd.e', '{}', 'failed', '{}')", "outbox.dead_letters", "warning", "1", "events requeue", false),
    ("drop table outbox.event cascade", "schema.there", "critical", "null", "migrate up", false),
    ("drop schema outbox cascade", "schema.there", "critical", "null", "migrate up", false),
];

/// Whether a measured value is as the table says.
fn fits(measured: &Value, wanted: &str) -> bool {
    if let Some(least) = wanted.strip_prefix("> ") {
        let least: f64 = least.parse().unwrap();
        return measured.as_f64().is_some_and(|value| value >= least && value < least + 60.0);
    }
    match wanted.strip_prefix("~ ") {
        Some(part) => measured.as_str().is_some_and(|text| text.contains(part)),
        None => *measured == serde_json::from_str::<Value>(wanted).unwrap(),
    }
}

#[test]
fn at_least_twenty_different_defects_are_planted() {
    let planted: BTreeSet<&str> = DEFECTS.iter().map(|defect| defect.0).collect();
    let checks: BTreeSet<&str> = DEFECTS.iter().map(|defect| defect.1).collect();
    assert!(planted.len() >= 20 && checks.len() >= 14, "{} of {checks:?}", planted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_defect_of_the_database_is_found_and_what_sql_mends_is_mended() {
    let ably = LocalAbly::start().await;
    let healthy = Outbox::create("healthy").await;
    let before = Ward::new(&healthy.database.dsn(), &ably).look();
    for (defect, check, level, measured, remedy, mends) in DEFECTS {
        assert!(!before.not_ok().contains(check), "{check} without a defect: {}", before.text);
        let outbox = Outbox::create("defect").await;
        let client = outbox.connect().await;
        client.batch_execute(defect).await.unwrap_or_else(|error| panic!("{defect}: {error:?}"));
        let ward = Ward::new(&outbox.database.dsn(), &ably);
        let found = ward.look();
        found.assert(check, level, remedy);
        let value = &found.of(check)["measured"];
        assert!(fits(value, measured), "{defect}: {check} measured {value}, not {measured}");
        let sql = ward.run(&["--fix-sql"]).text;
        assert_eq!(mends, sql.contains(&format!("-- {check}:")) && mends, "{check}: {sql}");
        if mends {
            mend(&client, &ward, check).await;
            assert_eq!(ward.look().of(check)["level"], "ok", "{check} after {sql}");
        }
    }
}

/// Runs the SQL of one finding, statement by statement: some of it wants no transaction.
pub(crate) async fn mend(client: &TestClient, ward: &Ward, check: &str) {
    let found = ward.look();
    let sql = found.of(check)["fixSql"].as_str().expect("SQL").to_owned();
    client.batch_execute("set default_transaction_read_only = off").await.unwrap();
    for statement in sql.split_terminator(';') {
        client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_outbox_is_told_to_people_and_to_machines() {
    let (outbox, ably) = (Outbox::create("fine").await, LocalAbly::start().await);
    let ward = Ward::new(&outbox.database.dsn(), &ably);
    let found = ward.look();
    assert_eq!(found.code, Some(0), "{}", found.text);
    assert!(!found.text.contains("\"critical\""), "{}", found.text);
    for check in [
        "postgres.reachable",
        "postgres.listen",
        "schema.version",
        "schema.claim_plan",
        "ably.reachable",
        "ably.key",
    ] {
        assert_eq!(found.of(check)["level"], "ok", "{}", found.text);
    }
    assert!(found.of("postgres.listen")["measured"].as_f64() > Some(0.0));
    let people = ward.run(&[]);
    assert!(people.code == Some(0) && people.text.contains("  ok       listen"), "{}", people.text);
    // A superuser runs it, and no relay does.
    assert_eq!(ward.run(&["--strict"]).code, Some(3));
    assert!(ably.accepted().await.is_empty(), "nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn defects_of_ably_and_of_settings_are_found() {
    let (outbox, ably) = (Outbox::create("ablydefects").await, LocalAbly::start().await);
    let ward = Ward::new(&outbox.database.dsn(), &ably);
    let wrong = ward.env("ABLY_API_KEY", "dev.local:hunter2").look();
    wrong.assert("ably.key", "critical", "check ABLY_API_KEY");
    assert!(fits(&wrong.of("ably.key")["measured"], "> 40100"), "{}", wrong.text);
    let fast = ward.env("OUTBOX_RELAY_CHANNEL_RATE", "80").look();
    fast.assert("outbox.channel_rate", "warning", "45");
    assert_eq!(fast.of("outbox.channel_rate")["measured"], 80);
    ably.fault(r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:*"}"#).await;
    let barred = ward.look();
    barred.assert("ably.key", "critical", "publish capability for tenant:*");
    assert_eq!(barred.of("ably.key")["measured"], 40_160);
    ward.without("ABLY_API_KEY").look().assert("ably.key", "critical", "set ABLY_API_KEY");
    ably.stop().await;
    ward.look().assert("ably.reachable", "critical", "ABLY_ENDPOINT");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_vacuum_back_and_what_that_leaves_is_found() {
    let (outbox, ably) = (Outbox::create("vacuum").await, LocalAbly::start().await);
    let (client, old) = (outbox.connect().await, outbox.connect().await);
    let pid: i32 = old.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    old.batch_execute("begin isolation level repeatable read; select 'the culprit'").await.unwrap();
    client
        .batch_execute(
            "alter table outbox.event set (autovacuum_enabled = off);
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, error)
             select 'a', 'b', 'c', 'd.e', '{}', 'failed', '{}' from generate_series(1, 12000);
             update outbox.event set attempts = 1; update outbox.event set attempts = 2;
             select pg_sleep(1.1)",
        )
        .await
        .unwrap();
    client.batch_execute(FLUSH_STATISTICS).await.unwrap();
    let ward = Ward::new(&outbox.database.dsn(), &ably);
    let found = ward.look();
    found.assert("postgres.old_snapshots", "warning", "end that transaction");
    let snapshot = found.of("postgres.old_snapshots");
    let says = snapshot["says"].as_str().unwrap();
    assert!(says.contains(&pid.to_string()), "{snapshot}");
    // Whose query it is, without what it carries.
    assert!(says.contains("select …") && !found.text.contains("culprit"), "{snapshot}");
    assert!(fits(&snapshot["measured"], "> 1"), "{snapshot}");
    assert!(found.of("outbox.dead_rows")["measured"].as_i64() >= Some(12_000), "{}", found.text);
    found.assert("outbox.dead_rows", "warning", "vacuum");
    mend(&client, &ward, "postgres.old_snapshots").await;
    assert_eq!(ward.look().of("postgres.old_snapshots")["level"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_counted_by_version() {
    let (outbox, ably) = (Outbox::create("versions").await, LocalAbly::start().await);
    let ward = Ward::new(&outbox.database.dsn(), &ably);
    ward.look().assert("outbox.relays", "warning", "outbox-relay run");
    let (old, new) = (outbox.connect().await, outbox.connect().await);
    old.batch_execute("set application_name = 'outbox-relay 0.0.1'").await.unwrap();
    assert_eq!(ward.look().of("outbox.relays")["level"], "ok");
    new.batch_execute("set application_name = 'outbox-relay 0.0.2'").await.unwrap();
    let two = ward.look();
    two.assert("outbox.relays", "warning", "roll-out");
    let both = serde_json::json!(["outbox-relay 0.0.1", "outbox-relay 0.0.2"]);
    assert_eq!(two.of("outbox.relays")["measured"], both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_does_not_make_doctor_slow() {
    let (outbox, ably) = (Outbox::create("large").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 't' || n % 5000, 'a', 'b', 'c.d', '{}' from generate_series(1, 100000) n",
        )
        .await
        .unwrap();
    insert(&client, "a", "{}").await;
    let begun = std::time::Instant::now();
    let found = Ward::new(&outbox.database.dsn(), &ably).look();
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    let says = found.of("outbox.oldest_pending")["says"].as_str().unwrap().to_owned();
    assert!(says.starts_with("more than 10000 events wait"), "{says}");
}
