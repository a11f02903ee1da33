//! `tail`: events as they happen, also those that commit late.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::outbox::{Outbox, insert};

struct Tail {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(outbox: &Outbox, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .args(["tail", "--json"])
            .args(args)
            .env_clear()
            .env("DATABASE_URL", outbox.database.dsn())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Position and status of the next line; the test's own limit bounds the wait.
    fn next(&mut self) -> (i64, String) {
        let line: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        assert!(line.get("payload").is_none(), "nobody's data: {line}");
        (line["seq"].as_i64().unwrap(), line["status"].as_str().unwrap().to_owned())
    }

    fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn line(seq: i64, status: &str) -> (i64, String) {
    (seq, status.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_shown_when_they_come_and_when_they_are_settled() {
    let outbox = Outbox::create("tail").await;
    let (client, mut slow) = (outbox.connect().await, outbox.connect().await);
    insert(&client, "a", "{}").await;
    insert(&client, "b", "{}").await;
    let mut all = Tail::start(&outbox, &["--lines", "1"]);
    assert_eq!(all.next(), line(2, "pending"));
    let mut failed = Tail::start(&outbox, &["--lines", "1", "--failed"]);
    let mut tenant = Tail::start(&outbox, &["--lines", "2", "--tenant", "a"]);
    assert_eq!(tenant.next(), line(1, "pending"));

    let open = slow.transaction().await.unwrap();
    insert(open.client(), "a", "{}").await;
    insert(&client, "b", "{}").await;
    assert_eq!(all.next(), line(4, "pending"));
    open.commit().await.unwrap();
    assert_eq!(all.next(), line(3, "pending"), "committed behind a later one");
    assert_eq!(tenant.next(), line(3, "pending"));
    client
        .batch_execute(
            "update outbox.event set status = 'published', published_at = now() where seq = 3",
        )
        .await
        .unwrap();
    assert_eq!(all.next(), line(3, "published"));
    client
        .batch_execute("update outbox.event set status = 'failed', error = '{}' where seq = 4")
        .await
        .unwrap();
    assert_eq!(all.next(), line(4, "failed"));
    assert_eq!(failed.next(), line(4, "failed"));
    assert_eq!(tenant.next(), line(3, "published"));
    for tail in [all, failed, tenant] {
        assert_eq!(tail.interrupt(), Some(0), "being stopped is how it ends");
    }
}
