//! Databases that are wrong, unreachable or empty.

use super::server::{Place, port};
use super::{fails, run_fails};
use crate::support::outbox::store_at;
use crate::support::server_process::free_port;

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url = format!("postgres://u:hunter2@127.0.0.1:{}/d", free_port());
    run_fails(&url, &[]).is(69, &["127.0.0.1:", "refused"], &["host and port", "listen_addresses"]);
    let nowhere = run_fails("postgres://u:hunter2@does-not-exist.invalid/d", &[]);
    nowhere.is(69, &["does-not-exist.invalid:5432"], &["spelling"]);
}

#[tokio::test]
async fn a_wrong_user_password_or_database_is_told_apart() {
    let place = Place::with_outbox().await;
    let wrong = run_fails(&place.url_with("hunter2-wrong"), &[]);
    wrong.is(77, &["password authentication failed", &place.name], &["check user and password"]);
    let none = run_fails(&place.url().replace(&format!(":hunter2-{}@", place.name), "@"), &[]);
    none.is(77, &["asks for a password"], &["check user and password"]);
    run_fails(&place.url_of("nowhere"), &[]).is(
        78,
        &["\"nowhere\" does not exist"],
        &["create it"],
    );
    place.sql("revoke connect on database ROLE from public").await;
    run_fails(&place.url(), &[]).is(77, &["permission denied for database"], &["GRANT CONNECT"]);
}

#[tokio::test]
async fn a_connection_string_that_cannot_be_read_is_not_repeated() {
    for (url, cause, remedy) in [
        ("mysql://u:hunter2@h/d", "neither a postgres:// URL", "PostgreSQL connection string"),
        ("hunter2", "neither a postgres:// URL", "PostgreSQL connection string"),
        ("postgres://u:hunter2@h:x/d", "port", "DATABASE_URL"),
        ("postgres://u:hunter2/a@b@h/d", "ambiguous", "%40"),
        ("postgres://u:hunter2@h/d?sslmod=require", "sslmod", "sslmode"),
        ("postgres://u:hunter2@h/d?sslmode=often", "sslmode", "DATABASE_URL"),
    ] {
        run_fails(url, &[]).is(78, &[cause], &[remedy]);
    }
}

#[tokio::test]
async fn a_database_without_the_outbox_names_the_command_that_makes_it() {
    let place = Place::empty().await;
    let missing = run_fails(&place.admin_url(), &[]);
    missing.is(78, &["no outbox in schema \"outbox\"", &place.name], &["outbox-relay migrate up"]);
    let place = Place::with_outbox().await;
    let other = run_fails(&place.admin_url(), &["--schema", "other"]);
    other.is(78, &["no outbox in schema \"other\""], &["migrate up", "--schema"]);
    place.sql("delete from outbox.schema_history where name = 'enqueue'").await;
    let older = run_fails(&place.admin_url(), &[]);
    older.is(78, &["older", "enqueue is missing"], &["outbox-relay migrate up"]);
    place.sql("insert into outbox.schema_history values ('9999_breaking', 'migration', 'x')").await;
    run_fails(&place.admin_url(), &[]).is(78, &["newer", "9999_breaking"], &["at least as new"]);
}

#[tokio::test]
async fn a_role_that_may_not_migrate_is_told_who_may() {
    let (empty, outbox) = (Place::empty().await, Place::with_outbox().await);
    for (place, action, cause) in [
        (&empty, "up", "permission denied for database"),
        (&outbox, "up", "permission denied for schema outbox"),
        (&outbox, "status", "permission denied for schema outbox"),
        (&outbox, "verify", "permission denied for schema outbox"),
    ] {
        let failed = fails(&["migrate", action], &[("DATABASE_URL", &place.url())]);
        failed.is(77, &[cause], &["outbox's owner", "GRANT CREATE ON DATABASE"]);
    }
    // The remedy, taken at its word.
    empty.sql("grant create on database ROLE to ROLE").await;
    store_at(&empty.url(), "outbox").migrate_up().await.expect("migrate");
}

#[tokio::test]
async fn a_read_only_database_is_unavailable_to_a_writer() {
    let place = Place::with_outbox().await;
    place.sql("alter role ROLE set default_transaction_read_only = on").await;
    let failed = run_fails(&place.url(), &[]);
    failed.is(69, &["default_transaction_read_only", &port().to_string()], &["primary"]);
}
