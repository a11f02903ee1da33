//! The real Prisma: its command line applies our migrations beside its own and sees no drift, and its client writes
//! events, both by `enqueue` and into a table of its own that is adopted.

use std::path::{Path, PathBuf};
use std::process::Command;

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use serde_json::{Value, json};

use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{store_at, wait_until};
use crate::support::postgres::connect;
use crate::support::relay::RelayProcess;

fn project() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prisma");
    assert!(
        directory.join("node_modules/prisma").is_dir(),
        "the real Prisma is not installed; run: npm ci --ignore-scripts --prefix tests/prisma"
    );
    directory
}

/// An application's directory with its schema and migrations, and a database.
struct Application {
    directory: tempfile::TempDir,
    url: String,
}

impl Application {
    fn migrations(&self) -> String {
        self.directory.path().join("migrations").display().to_string()
    }

    fn node(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new("node")
            .args(args)
            .current_dir(project())
            .env("DATABASE_URL", &self.url)
            .env("PRISMA_SCHEMA", self.directory.path().join("schema.prisma"))
            .env("PRISMA_MIGRATIONS", self.migrations())
            .env("CHECKPOINT_DISABLE", "1")
            // Nobody else migrates this database, and waiting for the lock takes it ten seconds a command.
            .env("PRISMA_SCHEMA_DISABLE_ADVISORY_LOCK", "1")
            .env("PRISMA_HIDE_UPDATE_MESSAGE", "1")
            .output()
            .expect("node must be installed to test with Prisma");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    }

    #[track_caller]
    fn prisma(&self, args: &[&str]) -> String {
        let (ended_well, text) =
            self.node(&[&["node_modules/prisma/build/index.js"], args].concat());
        assert!(ended_well, "{args:?}: {text}");
        text
    }

    /// The next change of its own: `migrate dev` makes a migration of that and of nothing else, and a third time finds
    /// nothing to do.
    fn changes_its_own_table(&self) {
        let path = self.directory.path().join("schema.prisma");
        let schema = std::fs::read_to_string(&path).unwrap();
        let before = self.migration_names();
        let changed = schema
            .replace("  status        Outbox", "  note          String?\n  status        Outbox");
        assert_ne!(schema, changed);
        std::fs::write(&path, changed).unwrap();
        self.prisma(&["migrate", "dev", "--name", "note", "--skip-generate"]);
        let made: Vec<String> =
            self.migration_names().into_iter().filter(|name| !before.contains(name)).collect();
        let [made] = made.as_slice() else { panic!("{made:?}") };
        let sql = self.directory.path().join("migrations").join(made).join("migration.sql");
        let sql = std::fs::read_to_string(sql).unwrap();
        let statements: Vec<&str> =
            sql.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
        let expected = "ALTER TABLE \"tenant\".\"OutboxEvent\" ADD COLUMN     \"note\" TEXT;";
        assert_eq!(statements, [expected], "{sql}");
        let again = self.prisma(&["migrate", "dev", "--name", "nothing", "--skip-generate"]);
        assert!(again.contains("Already in sync"), "{again}");
        assert_eq!(self.migration_names().len(), before.len() + 1);
    }

    fn migration_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.migrations()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[track_caller]
    fn relay(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .args(args)
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("DATABASE_URL", &self.url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prisma_migrates_without_drift_and_its_clients_table_is_adopted() {
    let server =
        PrivatePostgres::start(PostgresOptions { tcp: true, ..PostgresOptions::default() });
    let server = server.await.unwrap_or_else(|error| panic!("{error}"));
    connect(&server.dsn("postgres")).await.batch_execute("create database app").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(project().join("schema.prisma"), directory.path().join("schema.prisma")).unwrap();
    let application = Application { directory, url: server.tcp_url("app").unwrap() };

    application.prisma(&["migrate", "dev", "--name", "init", "--skip-generate"]);
    // From the schema's own place: the client is made beside the packages that are installed there.
    let schema = project().join("schema.prisma").display().to_string();
    application.prisma(&["generate", "--schema", &schema]);
    application.relay(&[
        "migrate",
        "print",
        "--format",
        "prisma",
        "--out",
        &application.migrations(),
    ]);
    let deployed = application.prisma(&["migrate", "deploy"]);
    assert!(deployed.contains("outbox_relay_0001_outbox"), "{deployed}");
    assert_eq!(store_at(&server.dsn("app"), "outbox").migrate_verify().await.unwrap(), [""; 0]);
    application.relay(&["migrate", "verify", "--dir", &application.migrations()]);

    // Neither the outbox nor the triggers are drift, to `db push`, which compares the database with the schema, and to
    // `migrate dev`, which replays all migrations in a shadow database first: ours among them.
    application.relay(&["adopt", "--table", "tenant.\"OutboxEvent\"", "--yes"]);
    let compared = application.prisma(&["db", "push", "--skip-generate"]);
    assert!(compared.contains("already in sync"), "{compared}");
    application.changes_its_own_table();
    assert!(application.prisma(&["migrate", "status"]).contains("migrations found"));

    let ably = LocalAbly::start().await;
    let relay = RelayProcess::start(&server.dsn("app"), &ably);
    let (ended_well, text) = application.node(&["application.mjs"]);
    assert!(ended_well, "{text}");
    let saw: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(saw["created"], "pending", "{text}");
    assert_eq!(saw["pending"], 0, "another publisher would find none: {text}");
    let got = ably.wait_for(5).await;
    assert_eq!(got.iter().map(Got::n).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let client = connect(&server.dsn("app")).await;
    wait_until(
        &client,
        "select count(*) = 4 and bool_and(status = 'published' and published_at is not null) from tenant.\"OutboxEvent\"",
    )
    .await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_table_is_adopted_under_its_client_and_its_own_publisher() {
    let server =
        PrivatePostgres::start(PostgresOptions { tcp: true, ..PostgresOptions::default() });
    let server = server.await.unwrap_or_else(|error| panic!("{error}"));
    connect(&server.dsn("postgres")).await.batch_execute("create database app").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in [("older.prisma", "schema.prisma"), ("older.mjs", "older.mjs")] {
        std::fs::copy(project().join(from), directory.path().join(to)).unwrap();
    }
    let modules = directory.path().join("node_modules");
    std::os::unix::fs::symlink(project().join("node_modules"), modules).unwrap();
    let application = Application { directory, url: server.tcp_url("app").unwrap() };
    let schema = application.directory.path().join("schema.prisma").display().to_string();
    application.prisma(&["db", "push", "--skip-generate"]);
    application.prisma(&["generate", "--schema", &schema]);
    application.relay(&["migrate", "up"]);
    application.relay(&["adopt", "--table", "\"OutboxEvent\"", "--yes"]);

    let ably = LocalAbly::start().await;
    let relay = RelayProcess::start(&server.dsn("app"), &ably);
    let script = application.directory.path().join("older.mjs").display().to_string();
    let (ended_well, text) = application.node(&[&script]);
    assert!(ended_well, "{text}");
    let saw: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&saw["statuses"], &saw["rows"]), (&json!(["pending"]), &json!(42)), "{text}");
    assert_eq!(saw["taken"], json!([]), "the old publisher never sees one");
    let got = ably.accepted().await;
    assert_eq!(got.iter().map(Got::n).collect::<Vec<_>>(), (1..=42).collect::<Vec<_>>());
    let ids = got.iter().map(|got| got.envelope["id"].as_str().unwrap());
    assert!(ids.into_iter().all(|id| id.starts_with('c')), "cuids of the application");
    application.relay(&["adopt", "--table", "\"OutboxEvent\"", "--remove", "--yes"]);
    let compared = application.prisma(&["db", "push", "--skip-generate"]);
    assert!(compared.contains("already in sync"), "{compared}");
    assert_eq!(relay.terminate(), Some(0));
}
