//! PostgreSQL's programs as child processes, and where they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, chown};

/// Statics are never dropped: the server ends because the guard's stdin closes with this process,
/// however the process ends.
const GUARD: &str = r#"
d=$1; shift; exec 3<&0 </dev/null
"$@" 3<&- & pg=$!
{ cat <&3 >/dev/null; kill -INT $pg; sleep 5; kill -QUIT $pg; } 2>/dev/null & w=$!
exec 3<&-; wait $pg; rc=$?; kill $w; rm -rf "$d"; exit $rc
"#;

/// A server on the files in `data` of its directory; dropped, it ends and its directory goes.
pub(crate) struct ServerProcess {
    guard: Child,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl ServerProcess {
    /// Starts `postgres` with its socket in `directory` and waits until it is ready; `None` when it ended
    /// instead, after saying why.
    pub(crate) fn boot(directory: &Path, arguments: &[String]) -> Option<Self> {
        let data = directory.join("data");
        // Read through this handle: the guard removes the directory as soon as the server ends.
        let mut log = tempfile::tempfile().expect("a log file");
        let mut command = as_server(Path::new("/bin/sh"), directory);
        command.args(["-c", GUARD, "guard"]).arg(directory).arg(binaries().join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(directory).args(["-c", "fsync=off"]);
        command.args(arguments);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(log.try_clone().expect("its second handle"));
        let mut guard = command.spawn().expect("the guard starts");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|line| line.starts_with("ready")) {
                return Some(Self { guard });
            }
            if guard.try_wait().expect("the guard's state").is_some() {
                let mut said = String::new();
                log.rewind().and_then(|()| log.read_to_string(&mut said)).expect("the log");
                // Into the test's own output.
                let _ = writeln!(std::io::stderr(), "the server ended: {said}");
                return None;
            }
            assert!(Instant::now() < deadline, "the server is not ready after 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A standby that follows another server.
pub(crate) struct Standby {
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    _server: ServerProcess,
}

impl Standby {
    /// Follows the server whose socket is in `primary`.
    pub(crate) fn of(primary: &Path, primary_port: u16, arguments: &[&str]) -> Self {
        let standby = (0..3).find_map(|_| {
            let directory = private_directory("follower");
            copy_of(primary, primary_port, &directory);
            let port = free_port();
            let mut all = vec!["-p".to_owned(), port.to_string()];
            all.extend(["-c".to_owned(), "listen_addresses=127.0.0.1".to_owned()]);
            let follow = format!("host={} port={primary_port} user=postgres", primary.display());
            all.extend(["-c".to_owned(), format!("primary_conninfo={follow}")]);
            all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            let server = ServerProcess::boot(&directory, &all)?;
            Some(Self { port, directory, _server: server })
        });
        standby.expect("the standby starts")
    }
}

/// Copies the running server's files to `directory`, to be started as its standby. By hand, for npm's PostgreSQL has
/// no `pg_basebackup`. In a thread of its own: the session of the backup must stay, and we may be in a runtime.
fn copy_of(primary: &Path, port: u16, directory: &Path) {
    let dsn = format!("host={} port={port} user=postgres dbname=postgres", primary.display());
    let copy = async {
        let client = super::postgres::connect(&dsn).await;
        let text = async |sql: &str| {
            client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        };
        let data: String = text("show data_directory").await.get(0);
        let major: i32 =
            text("select current_setting('server_version_num')::int / 10000").await.get(0);
        let (start, stop) = if major < 15 {
            ("select pg_start_backup('standby', true, false)::text", "pg_stop_backup(false, false)")
        } else {
            ("select pg_backup_start('standby', true)::text", "pg_backup_stop(false)")
        };
        text(start).await;
        // A file may go while it is copied: what matters of it is in the log.
        let _ =
            as_server(Path::new("cp"), directory).args(["-a", &data, "data"]).output().expect("cp");
        let label: String = text(&format!("select labelfile from {stop}")).await.get(0);
        let data = directory.join("data");
        for leftover in ["postmaster.pid", "postmaster.opts"] {
            let _ = fs::remove_file(data.join(leftover));
        }
        write_private(&data.join("backup_label"), &label);
        write_private(&data.join("standby.signal"), "");
    };
    std::thread::scope(|scope| {
        let copied = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(copy);
        });
        copied.join().expect("the copy is made");
    });
}

/// The directory of PostgreSQL's server programs: `PG_BIN`, else what is installed.
pub(crate) fn binaries() -> PathBuf {
    if let Some(given) = std::env::var_os("PG_BIN").filter(|given| !given.is_empty()) {
        return fs::canonicalize(given).expect("PG_BIN");
    }
    directory_of(&["initdb", "postgres"])
        .expect("PostgreSQL's programs, in PATH or /usr/lib/postgresql")
}

/// `psql`, of whatever version: npm's PostgreSQL has none.
pub(crate) fn psql() -> PathBuf {
    directory_of(&["psql"]).expect("psql, in PATH or /usr/lib/postgresql").join("psql")
}

/// The directory that has all of `programs`, where links lead to.
fn directory_of(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    candidates.extend(installed.into_iter().rev());
    candidates
        .into_iter()
        .filter_map(|directory| fs::canonicalize(directory.join(programs[0])).ok())
        .filter_map(|first| first.parent().map(Path::to_owned))
        .find(|directory| programs.iter().all(|name| directory.join(name).exists()))
}

/// PostgreSQL refuses to run as root.
fn server_user() -> Option<(Uid, Gid)> {
    if !Uid::effective().is_root() {
        return None;
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| (user.uid, user.gid))
}

/// A program that runs as the server's user, without settings of the caller's environment.
pub(crate) fn as_server(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    let ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("PG") || name.starts_with("LC_") || name == "LANG"
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    if let Some((uid, gid)) = server_user() {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    command
}

/// An empty directory that only the server's user may enter.
pub(crate) fn private_directory(name: &str) -> PathBuf {
    // Below tmpfs for speed, and short: a socket's path has 107 bytes at most.
    let base = ["/dev/shm", "/tmp"].iter().find(|path| Path::new(path).is_dir()).expect("/tmp");
    let path = Path::new(base).join(format!("relay-{name}-{:08x}", fastrand::u32(..)));
    fs::DirBuilder::new().mode(0o700).create(&path).expect("a private directory");
    give(&path);
    path
}

/// A file that only the server's user may read.
pub(crate) fn write_private(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("the file is written");
    give(path);
}

fn give(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).expect("chown");
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
