//! PgBouncer, the real one, before a test's server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server_process::{as_server, free_port, private_directory, write_private};

/// Ends the pooler when this process ends, however it ends: then the guard's standard input closes.
const GUARD: &str = r#"
d=$1; shift; exec 3<&0 </dev/null
"$@" 3<&- & p=$!
{ cat <&3 >/dev/null; kill -TERM $p; } 2>/dev/null & w=$!
exec 3<&-; wait $p; rc=$?; kill $w 2>/dev/null; rm -rf "$d"; exit $rc
"#;

/// A running pooler; ended when dropped.
pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    guard: Child,
}

impl PgBouncer {
    /// Starts one for all databases of the server whose socket is in `socket_dir`. Every user and password
    /// is let in, and becomes the superuser.
    pub(crate) fn start(socket_dir: &Path, server_port: u16, pool_mode: &str) -> Self {
        // The port may be taken between our look and the pooler's.
        (0..3)
            .find_map(|_| Self::try_start(socket_dir, server_port, pool_mode))
            .expect("PgBouncer starts")
    }

    fn try_start(socket_dir: &Path, server_port: u16, pool_mode: &str) -> Option<Self> {
        let (directory, port) = (private_directory("bouncer"), free_port());
        let settings = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={server_port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = 20\n{}",
            socket_dir.display(),
            // From 1.21 on it can keep track of prepared statements, and from 1.24 on it does.
            if minor_version() >= 21 { "max_prepared_statements = 0\n" } else { "" },
        );
        write_private(&settings, &text);
        let mut command = as_server(Path::new("/bin/sh"), &directory);
        command.args(["-c", GUARD, "guard"]).arg(&directory).arg(program()).arg(&settings);
        let log = File::create(directory.join("log")).expect("a log file");
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut guard = command.spawn().expect("the guard starts");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if guard.try_wait().expect("the guard's state").is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { port, guard });
            }
            assert!(Instant::now() < deadline, "PgBouncer does not listen after 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `database` through the pooler.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://anybody:any-password@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The second number of its version.
fn minor_version() -> u32 {
    let output = Command::new(program()).arg("--version").output().expect("pgbouncer's version");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().next().and_then(|line| line.split('.').nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("which version is {text}?"))
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("pgbouncer"))
        .find(|file| file.is_file())
        .expect("pgbouncer: install the package of that name, or run scripts/test as root")
}
