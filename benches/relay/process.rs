//! The relay as a child process, and what processes have used according to /proc.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Clock ticks a second in /proc; fixed in the kernel's interface.
const TICKS: f64 = 100.0;

/// A running relay; killed when dropped.
pub(crate) struct Relay {
    child: Child,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Relay {
    /// Starts one and waits until it hears notifications.
    pub(crate) fn start(url: &str, endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .arg("run")
            .env_clear()
            .env("DATABASE_URL", url)
            .env("ABLY_ENDPOINT", endpoint)
            .env("ABLY_API_KEY", "app.key:secret")
            .envs(settings.iter().copied())
            // For experiments: BENCH_RELAY_X=y is X=y for every relay.
            .envs(std::env::vars().filter_map(|(name, value)| {
                Some((name.strip_prefix("BENCH_RELAY_")?.to_owned(), value))
            }))
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the relay starts");
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        // Ends with the process: the pipe closes.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("BENCH_LOG").is_some() {
                    eprintln!("{line}");
                }
                lines.0.lock().unwrap().push(line);
                lines.1.notify_all();
            }
        });
        let relay = Self { child, log };
        relay.wait_for_log("listening: ");
        relay
    }

    fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut lines = self.log.0.lock().unwrap();
        while !lines.iter().any(|line| line.contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {lines:#?}");
            lines = self.log.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_of(&format!("/proc/{}/stat", self.child.id())).unwrap_or(0.0)
    }

    /// The most memory so far, in MiB.
    pub(crate) fn peak_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// As `kill -9` does.
    pub(crate) fn crash(self) {}

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of a stat file behind the command's name.
fn stat(path: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

fn seconds(ticks: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of ticks")]
    let ticks = ticks as f64;
    ticks / TICKS
}

/// CPU seconds of a process or thread, user and system.
fn cpu_of(path: &str) -> Option<f64> {
    let fields = stat(path)?;
    Some(seconds(fields[11] + fields[12]))
}

/// CPU seconds of one of our own threads.
pub(crate) fn cpu_of_thread(thread: i32) -> f64 {
    cpu_of(&format!("/proc/self/task/{thread}/stat")).unwrap_or(0.0)
}

/// The server processes under this postmaster.
pub(crate) fn servers(postmaster: i32) -> Vec<i32> {
    let parent = u64::try_from(postmaster).unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if stat(&format!("/proc/{pid}/stat")).is_some_and(|fields| fields[1] == parent) {
            found.push(pid);
        }
    }
    found
}

/// CPU seconds of a PostgreSQL so far, with those of its processes that have ended.
pub(crate) fn cpu_of_postgres(postmaster: i32) -> f64 {
    let own = stat(&format!("/proc/{postmaster}/stat")).unwrap();
    let living: f64 =
        servers(postmaster).iter().filter_map(|pid| cpu_of(&format!("/proc/{pid}/stat"))).sum();
    seconds(own[11..15].iter().sum()) + living
}

/// How busy others keep the machine: the load average of the last minute.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
