//! Connection strings as people have them: libpq's two forms, with what Prisma, node-postgres, Neon
//! and RDS put into them. Pure: nothing is opened, looked up or read here.
//!
//! # What a string means here
//! - `sslmode` is libpq's: `disable`, `allow`, `prefer`, `require` (encrypted, not verified), `verify-ca`,
//!   `verify-full`; also node-postgres' `no-verify`. As in libpq, `require` with an `sslrootcert` file
//!   verifies the chain, and `sslrootcert=system` goes with `verify-full` only.
//! - Without `sslmode`: `verify-full` when an `sslrootcert` is given; `prefer` for a host on this machine
//!   or a private network by its look (unix socket, loopback or private address, a name without a dot
//!   as Docker has them, `.local`, `.internal`, `.svc`, `.cluster.local`, `.localhost`); `require` for any
//!   other. `require` everywhere would refuse the stock containers of every compose file; `prefer`
//!   everywhere would send rows over the Internet in the clear when a server lost its TLS;
//!   `verify-full` everywhere would refuse RDS and many others without their root file.
//! - `target_session_attrs` is `read-write` unless `any` or `primary` is given: on a standby the relay can do
//!   nothing, and with several hosts this finds the primary.
//! - `host` in the parameters replaces the URL's, `hostaddr` saves the look-up, without any host the usual
//!   socket directories and then `localhost` are tried.
//! - The root file of the user's home directory, `.pgpass`, service files and `PG*` variables are not read.

mod error;
mod names;
mod parameters;
mod server;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use error::DsnError;
pub(super) use server::{Host, Server};

/// The most hosts in one string. Each may take a whole connect time-out, and a cluster with more
/// members than this has a proxy.
const HOSTS_MAX: usize = 16;

/// A connection string that was understood, and what its writer should know.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The connection string.
    pub dsn: Dsn,
    /// One line each, for a log at start; never a value, so never a secret.
    pub warnings: Vec<String>,
}

/// Where and how to connect. `Debug` and `Display` show user, servers and database, never the password.
#[derive(Clone)]
pub struct Dsn {
    pub(super) servers: Vec<Server>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) database: Option<String>,
    pub(super) options: Option<String>,
    pub(super) tls: Tls,
    pub(super) session: SessionWanted,
    pub(super) shuffle: bool,
    pub(super) sockets: SocketOptions,
    schema: Option<String>,
    transaction_pooler: bool,
}

/// How far the connection must be protected; libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsMode {
    Disable,
    /// Plain first, TLS when the server refuses that.
    Allow,
    /// TLS first, plain when the server has none.
    Prefer,
    /// TLS with anybody.
    Require,
    /// TLS with a server whose certificate a known authority signed.
    VerifyCa,
    /// The same, and the certificate is for the host we asked for.
    VerifyFull,
}

/// Whether the password exchange is tied to the TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// The TLS side of a connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// `None`: by the look of the host.
    pub(super) mode: Option<TlsMode>,
    /// PEM file with the roots to trust; `None` means the system's.
    pub(super) root_file: Option<PathBuf>,
    /// PEM files of our certificate chain and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// TLS from the first byte (PostgreSQL 17 and newer), without PostgreSQL's own question before.
    pub(super) direct: bool,
    /// Whether the host's name is sent in the clear, for proxies that route by it.
    pub(super) send_name: bool,
    /// Refuses TLS 1.2. Older versions are never spoken.
    pub(super) tls13_only: bool,
    /// Whether the SCRAM exchange is tied to the TLS connection.
    pub(super) channel_binding: ChannelBinding,
}

/// What the session must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionWanted {
    Any,
    ReadWrite,
    /// Not in recovery, even when it is read-only by setting.
    Primary,
}

/// Socket settings that the string itself gave; they win over [`super::connect::ConnectOptions`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SocketOptions {
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalives_off: bool,
    pub(super) keepalive_idle: Option<Duration>,
    pub(super) keepalive_interval: Option<Duration>,
    pub(super) keepalive_count: Option<u32>,
    pub(super) tcp_user_timeout: Option<Duration>,
}

impl Dsn {
    /// Reads a connection string, URL or keyword form.
    ///
    /// # Errors
    /// A [`DsnError`] with cause and remedy in one line when the string cannot be read, is ambiguous,
    /// has an unknown parameter, or asks for protection that is not supported.
    pub fn parse(text: &str) -> Result<Parsed, DsnError> {
        parameters::read(&text::take_apart(text)?)
    }

    /// Prisma's `schema`: where the application's tables are. For messages and hints; the outbox has a
    /// schema of its own.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether the string, or a host's name, says that a pooler in transaction mode answers there: no
    /// LISTEN, no prepared statements and no session settings that last.
    pub fn transaction_pooler(&self) -> bool {
        self.transaction_pooler
    }

    /// The same server and user with another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self { database: Some(name.to_owned()), ..self.clone() }
    }
}

/// `user@host:port/database`, with what would break a line escaped.
impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{}@", printable(user))?;
        }
        for (i, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if i == 0 { "" } else { "," })?;
        }
        match &self.database {
            Some(database) => write!(f, "/{}", printable(database)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({self})")
    }
}

/// The text with control characters escaped: names come from outside and end up in logs.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
