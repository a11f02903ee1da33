//! Bad input, as a new user meets it: each thing that is wrong is a one-line cause and a one-line remedy,
//! at the start and while running, and no secret is in either.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod clock;
mod database;
mod doctor;
mod grants;
mod host;
mod neighbours;
mod pooler;
mod privileges;
mod publisher;
mod retention;
mod running;
mod schema;
mod server;
mod standby;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::relay::RelayProcess;

/// Passwords and key secrets of these tests have this in them; no output may.
const SECRET: &str = "hunter2";

/// A well-formed key.
const KEY: &str = "app.key:hunter2-secret";

/// A command that fails ends within this: connection time-outs are 5 s a host.
const PROMPT: Duration = Duration::from_secs(20);

/// What a failed command had to say.
struct Failed {
    code: i32,
    cause: String,
    remedy: String,
}

impl Failed {
    /// Asserts exit code and key words.
    fn is(&self, code: i32, cause: &[&str], remedy: &[&str]) {
        let Self { code: found, cause: c, remedy: r } = self;
        assert_eq!(*found, code, "{c}\n{r}");
        assert!(cause.iter().all(|word| c.contains(word)), "{cause:?} in {c}");
        assert!(remedy.iter().all(|word| r.contains(word)), "{remedy:?} in {r}");
    }
}

/// Runs a command that must fail, soon, with two lines beside its log.
fn fails(args: &[&str], environment: &[(&str, &str)]) -> Failed {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(started.elapsed() < PROMPT, "it took {:?}", started.elapsed());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains(SECRET), "a secret in {stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    let lines: Vec<&str> =
        stderr.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
    let [cause, remedy] = lines[..] else { panic!("two lines in\n{stderr}") };
    let text = |line: &str, name: &str| {
        line.strip_prefix(name).unwrap_or_else(|| panic!("{name} in {stderr}")).to_owned()
    };
    Failed {
        code: output.status.code().expect("no signal ended it"),
        cause: text(cause, "error: "),
        remedy: text(remedy, "remedy: "),
    }
}

/// `run`, with a key that is never sent anywhere.
fn run_fails(database_url: &str, more: &[&str]) -> Failed {
    let environment = [
        ("DATABASE_URL", database_url),
        ("ABLY_API_KEY", KEY),
        ("ABLY_ENDPOINT", "http://127.0.0.1:1"),
    ];
    fails(&[&["run"], more].concat(), &environment)
}

/// The complaint with `text` in its message: its remedy. No secret is in the log.
fn remedy_of(relay: &RelayProcess, text: &str) -> String {
    let log = relay.log();
    assert!(!format!("{log:?}").contains(SECRET), "a secret in {log:#?}");
    let says = |line: &&Value| line["message"].as_str().is_some_and(|m| m.contains(text));
    let line = relay.complaints().iter().find(says).cloned();
    let line = line.unwrap_or_else(|| panic!("no complaint {text:?} in {log:#?}"));
    line["remedy"].as_str().expect("a remedy").to_owned()
}

/// Watches a relay in trouble for three seconds: it goes on, and does not flood the log. A line for the
/// drain, one for the listener, and little more is what an operator can use.
async fn stays_calm(relay: &RelayProcess) {
    let shown = || {
        let mut log = relay.log();
        // There with RELAY_TEST_LOG.
        log.retain(|line| line["level"] != "DEBUG");
        log
    };
    let before = shown().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = shown();
    assert!(log.len() - before <= 4, "{:#?}", &log[before..]);
}
