//! Schemas of another version, half applied or edited by hand, as the program meets them.

use std::process::{Command, Stdio};

use super::server::Place;
use super::{Failed, fails, run_fails};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::wait_until;
use crate::support::relay::RelayProcess;

/// A step of a version that is not there yet, which older relays can do without.
const NEWER: &str = "insert into outbox.schema_history values ('9999_more', 'migration', 'x')";

fn migrate_fails(place: &Place, action: &str) -> Failed {
    fails(&["migrate", action], &[("DATABASE_URL", &place.admin_url())])
}

/// What a `migrate` that works writes.
fn migrate(place: &Place, action: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(["migrate", action])
        .env_clear()
        .env("DATABASE_URL", place.admin_url())
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_relay_works_on_a_newer_schema_unless_the_schema_says_otherwise() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    place.sql(NEWER).await;
    let relay = RelayProcess::start(&place.admin_url(), &ably);
    relay.wait_until_listening();
    assert_eq!(relay.terminate(), Some(0));
    place
        .sql("update outbox.schema_history set name = '9999_breaking' where name = '9999_more'")
        .await;
    run_fails(&place.admin_url(), &[]).is(78, &["newer", "9999_breaking"], &["at least as new"]);
}

#[tokio::test]
async fn a_downgrade_leaves_the_schema_alone_and_says_so() {
    let place = Place::with_outbox().await;
    place.sql(NEWER).await;
    // A trigger that the newer version has brought must stay, too.
    place
        .sql("update outbox.schema_history set checksum = 'newer' where kind = 'repeatable'")
        .await;
    for action in ["up", "status", "verify"] {
        let failed = migrate_fails(&place, action);
        failed.is(78, &["newer than this program", "9999_more"], &["at least as new"]);
    }
    let sql =
        "select bool_and(checksum = 'newer') from outbox.schema_history where kind = 'repeatable'";
    let admin = place.admin().await;
    wait_until(&admin, sql).await;
}

#[tokio::test]
async fn a_newer_relay_names_the_first_step_that_an_older_schema_lacks() {
    let place = Place::with_outbox().await;
    place.sql("drop table outbox.crash, outbox.event_archive").await;
    place
        .sql("delete from outbox.schema_history where name in ('0003_crashes', '0004_archive')")
        .await;
    let failed = run_fails(&place.admin_url(), &[]);
    failed.is(78, &["older than this program", "0003_crashes"], &["outbox-relay migrate up"]);
    // The remedy, taken at its word.
    assert_eq!(migrate(&place, "up"), "applied 0003_crashes\napplied 0004_archive\n");
    migrate(&place, "verify");
}

#[tokio::test]
async fn a_migration_that_is_killed_in_the_middle_of_a_step_leaves_nothing_of_that_step() {
    let place = Place::empty().await;
    let (client, watch) = (place.admin().await, place.admin().await);
    // Each statement that makes a table of a step waits behind it for the lock of this test.
    client
        .batch_execute(
            "create function public.wait() returns event_trigger language plpgsql as $$
               begin
                 if exists (select from pg_event_trigger_ddl_commands() where object_identity = 'outbox.crash') then
                   perform pg_advisory_xact_lock(42);
                 end if;
               end $$;
             create event trigger wait on ddl_command_end when tag in ('CREATE TABLE') execute function public.wait();
             select pg_advisory_lock(42)",
        )
        .await
        .unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(["migrate", "up"])
        .env_clear()
        .env("DATABASE_URL", place.admin_url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let waits = "select exists (select from pg_locks where locktype = 'advisory' and objid = 42 and not granted
                   and database = (select oid from pg_database where datname = current_database()))";
    wait_until(&watch, waits).await;
    process.kill().unwrap();
    process.wait().unwrap();
    client.batch_execute("select pg_advisory_unlock(42); drop event trigger wait").await.unwrap();
    let failed = run_fails(&place.admin_url(), &[]);
    failed.is(78, &["older", "0003_crashes is missing"], &["outbox-relay migrate up"]);
    let applied = migrate(&place, "up");
    assert!(applied.starts_with("applied 0003_crashes\n"), "{applied}");
    migrate(&place, "verify");
}

#[tokio::test]
async fn a_step_that_another_tool_has_applied_by_half_is_named_with_what_to_do() {
    let place = Place::with_outbox().await;
    place.sql("delete from outbox.schema_history where name = '0003_crashes'").await;
    let failed = migrate_fails(&place, "up");
    failed.is(
        78,
        &["0003_crashes", "there already", "\"crash\""],
        &["migrate print", "its last statement"],
    );
    // The remedy, taken at its word.
    let script = migrate(&place, "print");
    let (_, step) = script.split_once("-- migration 0003_crashes\n").unwrap();
    let (step, _) = step.split_once("-- migration 0004").unwrap();
    let line = &step[step.find("insert into").expect("the line of history")..];
    place.sql(line).await;
    assert_eq!(migrate(&place, "up"), "nothing to do: the schema is up to date\n");
}

#[tokio::test]
async fn a_history_that_was_edited_by_hand_is_refused_with_what_to_do() {
    let place = Place::with_outbox().await;
    place.sql("update outbox.schema_history set checksum = 'x' where name = '0001_outbox'").await;
    migrate_fails(&place, "up").is(
        78,
        &["0001_outbox", "another text"],
        &["restore", "migrate print"],
    );
    let place = Place::with_outbox().await;
    place.sql("alter table outbox.schema_history drop column checksum").await;
    for action in ["up", "status", "verify"] {
        let failed = migrate_fails(&place, action);
        failed.is(78, &["schema_history", "checksum"], &["migrate print"]);
    }
    let failed = run_fails(&place.admin_url(), &[]);
    failed.is(78, &["schema_history", "checksum"], &["migrate print"]);
}

#[tokio::test]
async fn a_table_that_is_gone_although_the_history_has_it_is_named() {
    let place = Place::with_outbox().await;
    place.sql("drop table outbox.crash").await;
    let failed = migrate_fails(&place, "verify");
    failed.is(65, &["crash is missing"], &["migrate print"]);
    // What sends people to `verify`.
    let run = run_fails(&place.admin_url(), &[]);
    run.is(69, &["crash"], &["migrate verify"]);
}
