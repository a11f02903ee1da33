//! The real binary as a child process: `outbox-relay run`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::local_ably::{LIMIT, LocalAbly, ably_environment};

/// A running relay; killed when dropped.
pub(crate) struct RelayProcess {
    child: Child,
    log: Arc<(Mutex<Vec<Value>>, Condvar)>,
}

/// How to start one.
pub(crate) struct RelayCommand(Command);

impl RelayCommand {
    /// `run` on this database, publishing to this emulator.
    pub(crate) fn new(database_url: &str, ably: &LocalAbly) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_outbox-relay")), database_url, ably)
    }

    /// The same by another program.
    pub(crate) fn of(program: &Path, database_url: &str, ably: &LocalAbly) -> Self {
        let mut command = Command::new(program);
        command
            .arg("run")
            .env_clear()
            .env("DATABASE_URL", database_url)
            .envs(ably_environment(ably))
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Self(command)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.0.arg(arg);
        self
    }

    pub(crate) fn start(mut self) -> RelayProcess {
        if std::env::var_os("RELAY_TEST_LOG").is_some() {
            self.0.env("RUST_LOG", "debug");
        }
        let mut child = self.0.spawn().expect("relay");
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        // Ends with the process: the pipe closes.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("RELAY_TEST_LOG").is_some() {
                    // Where the harness shows what a failed test has written.
                    drop(writeln!(std::io::stderr(), "{line}"));
                }
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.0.lock().unwrap().push(value);
                lines.1.notify_all();
            }
        });
        RelayProcess { child, log }
    }
}

impl RelayProcess {
    /// A relay with default settings.
    pub(crate) fn start(database_url: &str, ably: &LocalAbly) -> Self {
        RelayCommand::new(database_url, ably).start()
    }

    /// Waits until the log has `count` lines whose message contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str, count: usize) {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.log.0.lock().unwrap();
        while lines.iter().filter(|line| says(line, text)).count() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {lines:#?}");
            lines = self.log.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Whether the log has a line whose message contains `text`.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.log().iter().any(|line| says(line, text))
    }

    /// Waits until notifications have been proven to arrive.
    pub(crate) fn wait_until_listening(&self) {
        self.wait_for_log("listening", 1);
    }

    /// Where it answers over HTTP, once it has said so.
    pub(crate) fn address(&self) -> Option<String> {
        let lines = self.log.0.lock().unwrap();
        lines.iter().find_map(|line| line["address"].as_str()).map(str::to_owned)
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.0.lock().unwrap().clone()
    }

    /// Lines of level WARN or ERROR.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let bad = |line: &Value| {
            line.is_string() || matches!(line["level"].as_str(), Some("WARN" | "ERROR"))
        };
        self.log().into_iter().filter(bad).collect()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// The most memory it has had so far, in MiB (`VmHWM`, Linux).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") / 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("signal");
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Waits for the end; the exit code, if it was not ended by a signal.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.ended() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the relay does not end: {:#?}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // It may have ended already; a test that failed must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line of the log says this.
pub(crate) fn says(line: &Value, text: &str) -> bool {
    line.as_str().or_else(|| line["message"].as_str()).is_some_and(|m| m.contains(text))
}
