//! The official JavaScript client as a process: `tests/js/subscribe.mjs` and `publish.mjs`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Long enough for node to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running script. Dropping it kills the process.
pub(crate) struct JsClient {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// Lines that were read while waiting for another kind.
    pub(crate) passed_over: Vec<Value>,
}

impl JsClient {
    /// Subscribes to the channels and returns when all are attached.
    pub(crate) async fn subscribe(url: &str, key: &str, channels: &[&str]) -> Self {
        let mut client = Self::start("subscribe.mjs", &[&[url, key], channels].concat(), &[]);
        client.next("attached").await;
        client
    }

    /// Starts a script of `tests/js`.
    pub(crate) fn start(script: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
        assert!(
            directory.join("node_modules/ably").is_dir(),
            "the official Ably client is not installed; run: npm ci --prefix tests/js"
        );
        let mut child = Command::new("node")
            .arg(directory.join(script))
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node must be installed to test with the official Ably client");
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines, passed_over: Vec::new() }
    }

    /// The next line of this `type`.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let wanted = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| {
                    panic!("the script ended without {kind:?}; it said {:?}", self.passed_over)
                });
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["type"] == kind {
                    return line;
                }
                self.passed_over.push(line);
            }
        };
        timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("no {kind:?} in {PATIENCE:?}"))
    }

    /// The ids of the next messages of any channel.
    pub(crate) async fn message_ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.next("message").await["id"].as_str().unwrap().to_owned());
        }
        ids
    }

    /// Writes a line to its stdin.
    pub(crate) async fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Closes its stdin.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Closes its stdin and waits for its end; the exit code.
    pub(crate) async fn end(mut self) -> Option<i32> {
        self.close_stdin();
        timeout(PATIENCE, self.child.wait()).await.expect("the script ends").unwrap().code()
    }
}
