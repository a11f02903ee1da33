//! The schema as files of other migration tools, applied to a real database as each tool would.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::outbox::store_at;
use crate::support::postgres::TestDatabase;
use crate::support::ruby;

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

/// The SQL files of a directory in the order in which tools take them: by path, repeatables last.
fn sql_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sql_files(&path));
        } else if path.extension().is_some_and(|end| end == "sql") {
            files.push(path);
        }
    }
    files.sort_by_key(|path| {
        (path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('R')), path.clone())
    });
    files
}

#[tokio::test]
async fn the_files_of_every_tool_that_takes_sql_make_the_schema_that_up_makes() {
    for format in ["sql", "prisma", "drizzle", "sqlx", "flyway"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("migrations");
        let out = out.to_str().unwrap();
        let (code, text) = run(&["migrate", "print", "--format", format, "--out", out]);
        assert_eq!(code, Some(0), "{text}");
        let database = TestDatabase::create(format).await;
        let client = database.connect().await;
        for file in sql_files(Path::new(out)) {
            let sql = std::fs::read_to_string(&file).unwrap();
            client
                .batch_execute(&sql)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let store = store_at(&database.dsn(), "outbox");
        assert_eq!(store.migrate_verify().await.unwrap(), [""; 0], "{format}");
        assert_eq!(run(&["migrate", "verify", "--dir", out]).0, Some(0));
        assert!(
            run(&["migrate", "print", "--format", format, "--out", out])
                .1
                .contains("nothing to do")
        );
    }
}

#[test]
fn rails_and_django_files_hold_the_sql_as_it_is() {
    for (format, inside) in [
        ("rails", "class OutboxRelay0001Outbox < ActiveRecord::Migration"),
        ("django", "migrations.RunSQL("),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("shop").join("migrations");
        let (code, text) =
            run(&["migrate", "print", "--format", format, "--out", out.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{text}");
        let first = text.lines().next().unwrap();
        assert!(std::fs::read_to_string(first).unwrap().contains(inside), "{first}");
        if format == "django" {
            let compiled =
                Command::new("python3").args(["-m", "compileall", "-q"]).arg(&out).status();
            assert!(compiled.is_ok_and(|status| status.success()), "it is Python");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rails_runs_the_files_and_what_they_make_is_the_schema() {
    if !ruby::has_active_record() {
        eprintln!("not run: no Active Record for ruby; scripts/test installs it on Debian");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("migrate");
    let (code, text) =
        run(&["migrate", "print", "--format", "rails", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let database = TestDatabase::create("railsfiles").await;
    ruby::run("rails_migrate.rb", &database.url(), &out);
    let store = store_at(&database.dsn(), "outbox");
    assert_eq!(store.migrate_verify().await.unwrap(), [""; 0]);
    // Ruby has its own ideas of backslashes, and of `#` with a brace.
    let own = crate::support::outbox::Outbox::create("railsown").await;
    assert_eq!(sources(&*database.connect().await).await, sources(&*own.connect().await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn django_runs_the_files_and_what_they_make_is_the_schema() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let interpreter = python.join("venv/bin/python");
    if !interpreter.exists() {
        eprintln!("not run: no Django in tests/python/venv; scripts/test installs it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("shop/migrations");
    run(&["migrate", "print", "--format", "django", "--out", out.to_str().unwrap()]);
    std::fs::write(dir.path().join("shop/__init__.py"), "").unwrap();
    let database = TestDatabase::create("djangofiles").await;
    let ran = Command::new(interpreter)
        .arg(python.join("django_migrate.py"))
        .arg(database.dsn())
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let store = store_at(&database.dsn(), "outbox");
    assert_eq!(store.migrate_verify().await.unwrap(), [""; 0]);
    let own = crate::support::outbox::Outbox::create("djangoown").await;
    assert_eq!(sources(&*database.connect().await).await, sources(&*own.connect().await).await);
}

/// Name and source of every function, and every CHECK.
async fn sources(client: &tokio_postgres::Client) -> Vec<(String, String)> {
    let sql = "select proname::text, prosrc from pg_proc where pronamespace = 'outbox'::regnamespace
               union all select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'outbox'::regnamespace
               order by 1, 2";
    let rows = client.query(sql, &[]).await.unwrap();
    assert!(rows.len() > 10, "{}", rows.len());
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn a_stale_copy_and_a_wrong_directory_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let (code, text) = run(&["migrate", "verify", "--dir", out]);
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("no files of outbox-relay"), "{text}");
    run(&["migrate", "print", "--format", "sqlx", "--out", out]);
    let newest = sql_files(dir.path()).pop().unwrap();
    std::fs::remove_file(&newest).unwrap();
    let (code, text) = run(&["migrate", "verify", "--dir", out]);
    assert!(
        code == Some(65) && text.contains("outbox_relay_functions_") && text.contains("is missing"),
        "{text}"
    );
    let (code, text) = run(&["migrate", "print", "--format", "rails", "--out", out]);
    assert!(code == Some(2) && text.contains("for Sqlx already"), "{text}");
    assert_eq!(run(&["migrate", "print", "--format", "rails"]).0, Some(2));
}
