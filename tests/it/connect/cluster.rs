//! PostgreSQL servers for the connection tests: with TLS, without, and a standby.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, chown};

use super::certificates::{Authority, Certificate};

/// The superuser's password: everything that URLs, libpq's quotes and SCRAM trip over.
pub(super) const PASSWORD: &str = r"p@ss:w/rd#?%&=+ 'q' \é";

pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("The CA"));
pub(super) static WRONG_AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("Another CA"));
/// An authority that is the server's certificate itself, as `openssl req -x509` makes them.
pub(super) static SELF_SIGNED: LazyLock<Certificate> = LazyLock::new(Certificate::self_signed);

/// Has TLS with a certificate for `localhost`.
pub(super) static WITH_TLS: LazyLock<Cluster> = LazyLock::new(|| {
    let certificate = AUTHORITY.server("localhost");
    Cluster::start("tls", Some(&certificate), false)
});
/// Has none; the role `writer` is read-only by default here, and only here.
pub(super) static WITHOUT_TLS: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start("plain", None, false));
/// Never leaves recovery, and shows a self-signed Ed25519 certificate.
pub(super) static STANDBY: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start("standby", Some(&SELF_SIGNED), true));

/// Statics are never dropped: the server ends because the guard's stdin closes with this process,
/// however the process ends.
const GUARD: &str = r#"
d=$1; shift; exec 3<&0 </dev/null
"$@" 3<&- & pg=$!
{ cat <&3 >/dev/null; kill -INT $pg; sleep 5; kill -QUIT $pg; } 2>/dev/null & w=$!
exec 3<&-; wait $pg; rc=$?; kill $w; rm -rf "$d"; exit $rc
"#;

const HBA: &str = "
local     all all       trust
hostssl   all certified 127.0.0.1/32 cert
hostnossl all tlsonly   127.0.0.1/32 reject
hostssl   all plainonly 127.0.0.1/32 reject
host      all all       127.0.0.1/32 scram-sha-256
";

pub(crate) struct Cluster {
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    guard: Child,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Cluster {
    fn start(name: &str, certificate: Option<&Certificate>, standby: bool) -> Self {
        // The port may be taken between our look and the server's; then everything anew.
        let cluster = (0..3).find_map(|_| Self::try_start(name, certificate, standby));
        let cluster = cluster.expect("the server starts");
        if !standby {
            cluster.roles(certificate.is_none());
        }
        cluster
    }

    fn try_start(name: &str, certificate: Option<&Certificate>, standby: bool) -> Option<Self> {
        let directory = private_directory(name);
        let data = directory.join("data");
        let password = directory.join("password");
        write_private(&password, &format!("{PASSWORD}\n"));
        let mut initdb = as_server(&binaries().join("initdb"), &directory);
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]);
        let made = initdb.output().expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        write_private(&data.join("pg_hba.conf"), HBA);
        if let Some(certificate) = certificate {
            write_private(&data.join("server.crt"), &certificate.chain);
            write_private(&data.join("server.key"), &certificate.key);
            write_private(&data.join("root.crt"), &AUTHORITY.pem);
        }
        if standby {
            write_private(&data.join("standby.signal"), "");
        }
        let (guard, port) = Self::boot(&directory, certificate.is_some())?;
        Some(Self { port, directory, guard })
    }

    /// A standby that follows the server whose socket is in `primary`.
    pub(crate) fn standby_of(primary: &Path, port: u16) -> Self {
        let standby = (0..3).find_map(|_| {
            let directory = private_directory("follower");
            let mut copy = as_server(&binaries().join("pg_basebackup"), &directory);
            copy.arg("-h").arg(primary).args(["-p", &port.to_string(), "-U", "postgres"]);
            copy.arg("-D").arg(directory.join("data")).args(["-R", "-c", "fast", "-N"]);
            let made = copy.output().expect("pg_basebackup starts");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let (guard, port) = Self::boot(&directory, false)?;
            Some(Self { port, directory, guard })
        });
        standby.expect("the standby starts")
    }

    fn boot(directory: &Path, tls: bool) -> Option<(Child, u16)> {
        let port = free_port();
        let data = directory.join("data");
        // Read through this handle: the guard removes the directory as soon as the server ends.
        let mut log = tempfile::tempfile().expect("a log file");
        let mut command = as_server(Path::new("/bin/sh"), directory);
        command.args(["-c", GUARD, "guard"]).arg(directory).arg(binaries().join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(directory).args(["-p", &port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off"] {
            command.args(["-c", setting]);
        }
        if tls {
            command.args(["-c", "ssl=on", "-c", "ssl_ca_file=root.crt"]);
        }
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(log.try_clone().expect("its second handle"));
        let mut guard = command.spawn().expect("the guard starts");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if pid_file.lines().nth(7).is_some_and(|line| line.starts_with("ready")) {
                return Some((guard, port));
            }
            if guard.try_wait().expect("the guard's state").is_some() {
                let mut said = String::new();
                log.rewind().and_then(|()| log.read_to_string(&mut said)).expect("the log");
                eprintln!("the server ended: {said}");
                return None;
            }
            assert!(Instant::now() < deadline, "the server is not ready after 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn roles(&self, writer_is_read_only: bool) {
        let password = PASSWORD.replace('\'', "''");
        let mut sql = String::from("CREATE DATABASE \"app/two\";");
        for (role, options) in [
            ("writer", ""),
            ("certified", ""),
            ("tlsonly", ""),
            ("plainonly", ""),
            ("crowded", "CONNECTION LIMIT 0"),
        ] {
            sql += &format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' {options};");
        }
        if writer_is_read_only {
            sql += "ALTER ROLE writer SET default_transaction_read_only = on;";
        }
        for statement in sql.split_terminator(';') {
            let mut psql = as_server(&binaries().join("psql"), &self.directory);
            psql.arg("-h").arg(&self.directory).args(["-p", &self.port.to_string()]);
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-c", statement]);
            let ran = psql.output().expect("psql starts");
            assert!(ran.status.success(), "psql: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }

    /// The server in keyword form as `user` over TCP, with its password and `more`.
    pub(super) fn dsn(&self, user: &str, more: &str) -> String {
        let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
        let port = self.port;
        format!(
            "host=localhost port={port} dbname=postgres user={user} password='{password}' {more}"
        )
    }
}

pub(crate) fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    candidates.extend(installed.into_iter().rev());
    candidates
        .into_iter()
        .filter_map(|directory| fs::canonicalize(directory.join("initdb")).ok())
        .filter_map(|initdb| initdb.parent().map(Path::to_owned))
        .find(|directory| ["postgres", "psql"].iter().all(|name| directory.join(name).exists()))
        .expect("PostgreSQL's programs, in PATH or /usr/lib/postgresql")
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

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
