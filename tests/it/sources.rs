//! Several databases from one process: each published from, and none slowed or ended by another's trouble.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, insert, store_at};
use crate::support::postgres::TestDatabase;
use crate::support::relay::{RelayCommand, RelayProcess};
use crate::support::server_process::free_port;

/// Events of one source reach Ably within this, whatever the others do.
const PROMPT: Duration = Duration::from_secs(5);

/// Configuration files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn source(&self, name: &str, dsn: &str, more: &str) -> PathBuf {
        let path = self.0.path().join(format!("{name}.toml"));
        std::fs::write(&path, format!("[database]\nurl = \"{dsn}\"\n{more}")).unwrap();
        path
    }
}

fn start(files: &[PathBuf], ably: &LocalAbly) -> RelayProcess {
    let command = RelayCommand::new("", ably).without("DATABASE_URL");
    let with = |command: RelayCommand, file: &PathBuf| {
        command.arg("--source").arg(file.to_str().expect("a path"))
    };
    files.iter().fold(command, with).start()
}

/// Lines of the log that a source has written with this in the message.
fn lines_of(relay: &RelayProcess, source: &str, text: &str) -> usize {
    let log = relay.log();
    let of = log.iter().filter(|line| line["threadName"] == source);
    of.filter(|line| line["message"].as_str().is_some_and(|m| m.contains(text))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_database_is_published_from_and_the_trouble_of_one_is_its_own() {
    let (files, ably) = (Files::new(), LocalAbly::start().await);
    let (one, two) = (Outbox::create("one").await, Outbox::create("two").await);
    let empty = TestDatabase::create("unmigrated").await;
    let nowhere = format!("postgres://u@127.0.0.1:{}/d", free_port());
    let relay = start(
        &[
            files.source("one", &one.database.dsn(), ""),
            files.source("two", &two.database.dsn(), ""),
            files.source("empty", &empty.dsn(), ""),
            files.source("nowhere", &nowhere, ""),
        ],
        &ably,
    );
    relay.wait_for_log("listening", 2);
    relay.wait_for_log("nothing is published from this source", 2);
    for (source, cause) in [("empty", "no outbox in schema"), ("nowhere", "refused")] {
        assert!(lines_of(&relay, source, cause) > 0, "{source}: {:#?}", relay.log());
    }
    let (first, second) = (one.connect().await, two.connect().await);
    // Nothing of the second source can be claimed: its table is locked.
    let mut locker = two.connect().await;
    insert(&second, "b", "{\"n\":0}").await;
    ably.wait_for(1).await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("lock table outbox.event in access exclusive mode").await.unwrap();
    let begun = Instant::now();
    for n in 0..20 {
        insert(&first, "a", &format!("{{\"n\":{n}}}")).await;
    }
    let got = ably.wait_for(21).await;
    assert!(begun.elapsed() < PROMPT, "it took {:?} beside a locked table", begun.elapsed());
    assert!(got[1..].iter().map(Got::n).eq(0..20), "{got:#?}");
    lock.rollback().await.unwrap();
    insert(&second, "b", "{\"n\":1}").await;
    ably.wait_for(22).await;
    // Somebody mends the third: no restart is needed.
    store_at(&empty.dsn(), "outbox").migrate_up().await.unwrap();
    let third = empty.connect().await;
    insert(&third, "c", "{\"n\":0}").await;
    ably.wait_for(23).await;
    assert_eq!(lines_of(&relay, "empty", "relay started"), 1);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_run_does_all_sources_and_names_the_one_that_failed() {
    let (files, ably) = (Files::new(), LocalAbly::start().await);
    let one = Outbox::create("onceone").await;
    let client = one.connect().await;
    insert(&client, "a", "{\"n\":0}").await;
    let nowhere = format!("postgres://u@127.0.0.1:{}/d", free_port());
    let sources =
        [files.source("nowhere", &nowhere, ""), files.source("one", &one.database.dsn(), "")];
    let mut relay = RelayCommand::new("", &ably).without("DATABASE_URL").arg("--once");
    for source in &sources {
        relay = relay.arg("--source").arg(source.to_str().unwrap());
    }
    let mut relay = relay.start();
    assert_eq!(relay.wait(), Some(69));
    assert!(relay.says("error: nowhere: ") && relay.says("refused"), "{:#?}", relay.log());
    assert_eq!(ably.accepted().await.len(), 1);
}

#[test]
fn sources_that_would_get_into_each_others_way_are_refused() {
    let files = Files::new();
    let http = "[http]\nlisten = \"127.0.0.1:9464\"\n";
    let (a, b) =
        (files.source("a", "postgres://u@h/a", http), files.source("b", "postgres://u@h/b", http));
    let plain = files.source("plain", "postgres://u@h/c", "");
    let none = files.0.path().join("none.toml");
    let run = |sources: &[&PathBuf], env: &[(&str, &str)], words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        command
            .arg("run")
            .env_clear()
            .env("ABLY_API_KEY", "app.key:hunter2")
            .envs(env.iter().copied());
        for source in sources {
            command.arg("--source").arg(source);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    run(&[&a, &b], &[], &["a and b", "http.listen", "remedy: give each file a port"]);
    run(&[&plain, &plain], &[], &["two sources are called plain", "remedy: give their files"]);
    run(&[&plain, &none], &[], &["none.toml", "remedy: "]);
    let env = [("DATABASE_URL", "postgres://u:hunter2@h/d")];
    run(&[&a, &plain], &env, &["database.url", "DATABASE_URL", "remedy: unset it"]);
}
