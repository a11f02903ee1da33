//! A running `dev`, what it says, and what is left of it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Many times what a session needs on an idle machine.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// A running `dev`; killed when dropped.
pub(super) struct Dev {
    pub(super) child: Child,
    pub(super) lines: Receiver<String>,
    _directory: tempfile::TempDir,
}

/// How it ended.
pub(super) struct End {
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<String>,
    pub(super) stderr: String,
}

impl Dev {
    pub(super) fn start(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .arg("dev")
            .args(args)
            .current_dir(directory.path())
            // Must be of no consequence.
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
            .env("ABLY_ENDPOINT", "http://127.0.0.1:1")
            .env("OUTBOX_RELAY_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        // Ends with the process: the pipe closes.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, _directory: directory }
    }

    pub(super) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("another line of output in time")
    }

    pub(super) fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The first line of `--json`.
    pub(super) fn started(&self) -> Value {
        let started: Value = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(started["type"], "started");
        started
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end, reading what it still says.
    pub(super) fn end(mut self) -> End {
        let stdout = std::iter::from_fn(|| {
            self.lines.recv_timeout(LIMIT).map_or_else(
                |error| match error {
                    RecvTimeoutError::Timeout => panic!("it does not end"),
                    RecvTimeoutError::Disconnected => None,
                },
                Some,
            )
        });
        let stdout = stdout.collect();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        End { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Fails when it has ended, as it should have.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The directory of the private PostgreSQL.
pub(super) fn cluster(started: &Value) -> PathBuf {
    let psql = started["database"]["psql"].as_str().unwrap();
    let directory = PathBuf::from(psql.split(' ').nth(2).unwrap());
    assert!(directory.join(".s.PGSQL.5432").exists(), "{psql}");
    assert!(!processes_of(&directory).is_empty());
    directory
}

/// Processes that were started for this directory, or work in it.
pub(super) fn processes_of(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |entry: std::fs::DirEntry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let works_in = std::fs::read_link(entry.path().join("cwd"));
        let concerned = command.contains(directory.to_str().unwrap())
            || works_in.is_ok_and(|place| place.starts_with(directory));
        concerned.then(|| format!("{}: {command}", entry.file_name().to_string_lossy()))
    };
    entries.filter_map(of).collect()
}

pub(super) fn assert_nothing_is_left(directory: &Path) {
    assert_eq!(processes_of(directory), Vec::<String>::new());
    assert!(!directory.exists(), "{} is left", directory.display());
}

pub(super) fn assert_nothing_is_left_soon(directory: &Path) {
    let deadline = Instant::now() + LIMIT;
    while directory.exists() || !processes_of(directory).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", processes_of(directory));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The summary: the last line, with its keys in the promised order.
pub(super) fn summary(stdout: &[String]) -> Value {
    let last = stdout.last().expect("a last line");
    let mut rest = last.as_str();
    for key in [
        "{\"published\":",
        "\"delivered\":",
        "\"duplicates\":",
        "\"out_of_order\":",
        "\"latency_ms\":{\"p50\":",
        "\"p95\":",
        "\"p99\":",
    ] {
        rest = rest.split_once(key).unwrap_or_else(|| panic!("{key} is not next in {last}")).1;
    }
    serde_json::from_str(last).unwrap()
}

/// Ends with a cause and a remedy; before them there may be warnings about the flags themselves.
pub(super) fn assert_two_lines(stderr: &str, cause: &str) {
    let mut lines = stderr.lines().skip_while(|line| line.starts_with('{'));
    let error = lines.next().unwrap_or_default();
    assert!(error.starts_with("error: ") && error.contains(cause), "{stderr}");
    assert!(lines.next().is_some_and(|line| line.starts_with("remedy: ")), "{stderr}");
    assert_eq!(lines.next(), None, "{stderr}");
}
