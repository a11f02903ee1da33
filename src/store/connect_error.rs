//! Why no connection came about: a kind, one line of cause, one line of remedy.

use std::error::Error as _;
use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

use super::tls;

/// A connection that could not be made.
///
/// `Display` is the cause in one line, with the server's own words where it spoke; it never has the
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    cause: String,
    transient: bool,
    sqlstate: Option<String>,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The host's name has no address.
    Dns,
    /// Nothing listens there, or no route leads there.
    Refused,
    /// No answer in time, or an answer that stopped half-way.
    Timeout,
    /// The peer closed the connection while it was set up.
    Closed,
    /// TLS did not come about.
    Tls(TlsProblem),
    /// Wrong user, password or method, or `pg_hba.conf` says no (28P01, 28000).
    Authentication,
    /// The user may not connect to this database (42501).
    Permission,
    /// 3D000.
    DatabaseMissing,
    /// 53300.
    TooManyConnections,
    /// Starting, stopping or recovering (57P03).
    StartingUp,
    /// A standby or a read-only database, where a writer is needed.
    ReadOnly,
    /// A pooler does not take a parameter of ours.
    PoolerRefused,
    /// Anything else.
    Other,
}

/// What went wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server has no TLS.
    NotOffered,
    /// The certificate's authority is not among the trusted ones.
    UnknownAuthority,
    /// The certificate is for another host.
    NameMismatch,
    /// Expired, or not valid yet.
    Expired,
    /// Anything else about the server's certificate.
    BadCertificate,
    /// The server did not like our certificate, or the lack of one.
    RefusedByServer,
    /// A certificate or key file of ours is unreadable.
    File,
    /// The operating system trusts no authority.
    NoRoots,
    /// No common version or cipher, or no TLS at all behind the port.
    Handshake,
}

impl ConnectError {
    /// An error of a kind whose transience follows from the kind.
    pub(super) fn new(kind: ConnectErrorKind, cause: impl Into<String>) -> Self {
        use ConnectErrorKind as Kind;
        let transient = match kind {
            // A name may be missing for a moment too: a compose service that is not up yet has none.
            Kind::Dns | Kind::Refused | Kind::Timeout | Kind::Closed => true,
            Kind::TooManyConnections | Kind::StartingUp | Kind::ReadOnly => true,
            Kind::Tls(_) | Kind::Authentication | Kind::Permission => false,
            Kind::DatabaseMissing | Kind::PoolerRefused | Kind::Other => false,
        };
        Self { kind, cause: one_line(&cause.into()), transient, sqlstate: None }
    }

    /// What kind of failure it was; with several hosts, the most telling one.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Whether waiting may help: the network, a restart, a failover, a crowd. Otherwise somebody must
    /// change something.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The server's SQLSTATE, when the server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// What to do, in one line.
    pub fn remedy(&self) -> &'static str {
        use ConnectErrorKind as Kind;
        match self.kind {
            Kind::Dns => "check the host's spelling and that this machine can resolve it",
            Kind::Refused => {
                "check host and port, that PostgreSQL runs and listens there (listen_addresses), and firewalls"
            }
            Kind::Timeout => {
                "check the host, firewalls and security groups; a slow server may need a longer connect_timeout"
            }
            Kind::Closed => {
                "see the server's or the proxy's log; the port may belong to another service"
            }
            Kind::Tls(problem) => problem.remedy(),
            Kind::Authentication => {
                "check user and password (percent-encoded in a URL) and the server's pg_hba.conf"
            }
            Kind::Permission => "GRANT CONNECT ON DATABASE ... TO the user",
            Kind::DatabaseMissing => "check the database's name or create it",
            Kind::TooManyConnections => {
                "raise max_connections or the role's limit, or free connections; it is tried again"
            }
            Kind::StartingUp => "wait: the server is starting, stopping or recovering",
            Kind::ReadOnly => {
                "give the primary's host, or all hosts of the cluster with target_session_attrs=read-write"
            }
            Kind::PoolerRefused => {
                "give the direct connection string, or remove the parameter (often options) that the pooler refuses"
            }
            Kind::Other => "see the log of the server, or of the pooler before it",
        }
    }

    /// Whether libpq, too, would not try the next host: the servers of one cluster agree about this.
    pub(super) fn is_final(&self) -> bool {
        use ConnectErrorKind as Kind;
        matches!(
            self.kind,
            Kind::Authentication | Kind::Permission | Kind::DatabaseMissing | Kind::PoolerRefused
        )
    }

    /// The same error with its place in front.
    pub(super) fn at(self, place: &dyn fmt::Display) -> Self {
        Self { cause: format!("{place}: {}", self.cause), ..self }
    }

    /// One error for several tries: their causes, and the kind of the one that got furthest.
    pub(super) fn of_all(failures: Vec<Self>) -> Self {
        let mut causes: Vec<&str> = failures.iter().map(|e| e.cause.as_str()).collect();
        causes.dedup();
        let cause = one_line(&causes.join("; "));
        let transient = failures.iter().any(|e| e.transient);
        match failures.into_iter().max_by_key(|e| e.kind.telling()) {
            Some(error) => Self { cause, transient, ..error },
            None => Self::new(ConnectErrorKind::Dns, "the host's name has no address"),
        }
    }

    /// Reads the driver's error.
    pub(super) fn of_driver(error: &tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::of_server(db.code(), db.message());
        }
        if error.is_closed() {
            return Self::new(ConnectErrorKind::Closed, "the server closed the connection");
        }
        let source = error.source();
        if let Some(io) = source.and_then(|e| e.downcast_ref::<io::Error>()) {
            return Self::of_io(io);
        }
        // What has neither type nor code is known by the driver's words; the tests pin them down.
        let words = source.map_or_else(String::new, ToString::to_string);
        match words.as_str() {
            "server does not support TLS" => Self::new(
                ConnectErrorKind::Tls(TlsProblem::NotOffered),
                "the server does not offer TLS, and sslmode demands it",
            ),
            "password missing" => Self::new(
                ConnectErrorKind::Authentication,
                "the server asks for a password and the connection string has none",
            ),
            _ if error.to_string() == "authentication error" => Self::new(
                ConnectErrorKind::Authentication,
                format!("authentication failed: {words}"),
            ),
            _ => Self::new(ConnectErrorKind::Other, format!("{error}: {words}")),
        }
    }

    fn of_server(code: &SqlState, message: &str) -> Self {
        use ConnectErrorKind as Kind;
        let kind = match code.code() {
            "28P01" | "28000" => Kind::Authentication,
            "3D000" => Kind::DatabaseMissing,
            "42501" => Kind::Permission,
            "53300" => Kind::TooManyConnections,
            "57P01" | "57P02" | "57P03" => Kind::StartingUp,
            // PgBouncer answers a start-up parameter that it does not know with a protocol violation.
            "08P01" if message.contains("startup parameter") => Kind::PoolerRefused,
            // And so it does with what PostgreSQL has codes of its own for.
            "08P01" if message.starts_with("no such database") => Kind::DatabaseMissing,
            "08P01" if message.starts_with("database ") && message.ends_with("does not exist") => {
                Kind::DatabaseMissing
            }
            "08P01" if message.starts_with("no such user") => Kind::Authentication,
            _ => Kind::Other,
        };
        let mut error = Self::new(kind, format!("{message} (SQLSTATE {})", code.code()));
        // Connection exceptions, exhausted resources, operator intervention, system errors. And what only a
        // prepared statement can be told, which is none of ours yet: a pooler's server still had it for a
        // client that has left (PgBouncer 1.18, when that one had pipelined).
        error.transient |= kind == Kind::Other
            && ["08", "26", "42P05", "53", "57", "58"].iter().any(|c| code.code().starts_with(c));
        error.sqlstate = Some(code.code().to_owned());
        error
    }

    fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        let rustls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(rustls) = rustls {
            let (problem, cause) = tls::problem(rustls);
            return Self::new(ConnectErrorKind::Tls(problem), cause);
        }
        let kind = if error.kind() == Io::TimedOut {
            ConnectErrorKind::Timeout
        } else if matches!(
            error.kind(),
            Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof
        ) {
            ConnectErrorKind::Closed
        } else {
            // Refused, no route, and for unix sockets: no such file, no permission.
            ConnectErrorKind::Refused
        };
        Self::new(kind, error.to_string())
    }
}

impl ConnectErrorKind {
    /// Which of several hosts' failures to show: who got furthest.
    fn telling(self) -> u8 {
        match self {
            Self::Dns => 0,
            Self::Refused => 1,
            Self::Timeout => 2,
            Self::Other => 3,
            Self::Closed => 4,
            Self::Tls(_) => 5,
            Self::StartingUp => 6,
            Self::TooManyConnections => 7,
            Self::ReadOnly => 8,
            Self::Authentication
            | Self::Permission
            | Self::DatabaseMissing
            | Self::PoolerRefused => 9,
        }
    }
}

impl TlsProblem {
    fn remedy(self) -> &'static str {
        match self {
            Self::NotOffered => {
                "switch TLS on at the server (ssl = on), or in a trusted network give sslmode=prefer or disable"
            }
            Self::UnknownAuthority => {
                "give the authority's certificate as sslrootcert=/path/ca.pem (for RDS: its global bundle)"
            }
            Self::NameMismatch => {
                "connect by a name that the certificate has, or give sslmode=verify-ca if the authority is your own"
            }
            Self::Expired => "renew the server's certificate; check this machine's clock",
            Self::BadCertificate => {
                "issue an X.509 version 3 certificate with a subjectAltName for the server"
            }
            Self::RefusedByServer => {
                "the server may want a client certificate: give sslcert and sslkey, signed by its authority"
            }
            Self::File => "check the file's path, permissions and PEM format",
            Self::NoRoots => "install the ca-certificates package, or give sslrootcert",
            Self::Handshake => {
                "check that the port is PostgreSQL's and that the server speaks TLS 1.2 or 1.3"
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for ConnectError {}

/// One line, and not a page: a peer that is no PostgreSQL may say anything.
fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 1_000;
    let clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clean.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}
