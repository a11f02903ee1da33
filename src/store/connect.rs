//! Makes a connection, in bounded time, to the right one of several servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{
    ChannelBinding as PgChannelBinding, SslMode, SslNegotiation, TargetSessionAttrs,
};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect_error::{ConnectError, ConnectErrorKind, TlsProblem};
use super::driver::Driver;
use super::dsn::{ChannelBinding, Dsn, Host, Server, SessionWanted, TlsMode};
use super::tls;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// How a connection is made. What the connection string itself says wins, except for the name.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// What `pg_stat_activity` shows; the string's own is the application's, not ours.
    pub application_name: String,
    /// For each host: look-up, TCP, TLS, authentication and session check together. 5 s.
    pub connect_timeout: Duration,
    /// Silence before the first keepalive probe. 20 s; the kernel's default would be 2 h.
    pub keepalive_idle: Duration,
    /// Between probes. 5 s.
    pub keepalive_interval: Duration,
    /// Unanswered probes before the connection is dead. 3, so a silent peer is noticed after 35 s; on Linux
    /// `tcp_user_timeout` takes this count's place, and one unanswered probe ends it: after 25 s (measured,
    /// with the loopback interface taken down).
    pub keepalive_count: u32,
    /// How long something sent may stay unacknowledged (Linux). 15 s: a lost path shows within it, and a
    /// failover of a cloud's network (5 to 10 s) does not cut sessions that would have lived.
    pub tcp_user_timeout: Duration,
}

impl ConnectOptions {
    /// The defaults, with a name for `pg_stat_activity`.
    pub fn new(application_name: impl Into<String>) -> Self {
        Self {
            application_name: application_name.into(),
            connect_timeout: Duration::from_secs(5),
            keepalive_idle: Duration::from_secs(20),
            keepalive_interval: Duration::from_secs(5),
            keepalive_count: 3,
            tcp_user_timeout: Duration::from_secs(15),
        }
    }

    /// The options with what the string itself says.
    fn with(&self, dsn: &Dsn) -> Self {
        let given = &dsn.sockets;
        Self {
            application_name: self.application_name.clone(),
            connect_timeout: given.connect_timeout.unwrap_or(self.connect_timeout),
            keepalive_idle: given.keepalive_idle.unwrap_or(self.keepalive_idle),
            keepalive_interval: given.keepalive_interval.unwrap_or(self.keepalive_interval),
            keepalive_count: given.keepalive_count.unwrap_or(self.keepalive_count),
            tcp_user_timeout: given.tcp_user_timeout.unwrap_or(self.tcp_user_timeout),
        }
    }
}

/// Connects to the first of the string's servers that will do.
///
/// Time is bounded by `connect_timeout` for each host, whatever the peer does. Spawn the [`Driver`] before
/// the first query.
///
/// # Errors
/// A [`ConnectError`]: of the only host, of the one that refused us for good, or of all together.
pub async fn connect(
    dsn: &Dsn,
    options: &ConnectOptions,
) -> Result<(Client, Driver), ConnectError> {
    let options = options.with(dsn);
    let mut servers: Vec<&Server> = dsn.servers.iter().collect();
    if dsn.shuffle {
        fastrand::shuffle(&mut servers);
    }
    let mut failures = Vec::new();
    for server in servers {
        let attempt = Attempt { dsn, options: &options, server };
        match attempt.run().await {
            Ok(connected) => return Ok(connected),
            Err(error) if error.is_final() => return Err(error.at(server)),
            Err(error) => failures.push(error.at(server)),
        }
    }
    Err(ConnectError::of_all(failures))
}

/// One try at one server.
struct Attempt<'a> {
    dsn: &'a Dsn,
    options: &'a ConnectOptions,
    server: &'a Server,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<(Client, Driver), ConnectError> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let addresses = match &self.server.host {
            Host::Unix(_) => vec![None],
            Host::Tcp(name) => self.look_up(name, deadline).await?.into_iter().map(Some).collect(),
        };
        let mode = match self.server.host {
            // PostgreSQL has no TLS on unix sockets, and libpq ignores sslmode there.
            Host::Unix(_) => TlsMode::Disable,
            Host::Tcp(_) => self.dsn.tls.mode.unwrap_or_else(|| self.server.default_tls_mode()),
        };
        let connector = self.connector(mode).await?;
        let mut failures = Vec::new();
        let count = addresses.len();
        for (i, address) in addresses.into_iter().enumerate() {
            // Each address gets its share of what is left, so that a dead IPv6 route leaves time for IPv4.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - i).unwrap_or(1);
            match self.address(address, mode, &connector, share).await {
                Ok(connected) => return Ok(connected),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(ConnectError::of_all(failures))
    }

    async fn look_up(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, ConnectError> {
        if let Some(address) = self.server.address.or_else(|| name.parse().ok()) {
            return Ok(vec![address]);
        }
        let dns = |cause: String| ConnectError::new(ConnectErrorKind::Dns, cause);
        let found = timeout_at(deadline, tokio::net::lookup_host((name, self.server.port)))
            .await
            .map_err(|_| dns("the look-up of the host's name got no answer in time".to_owned()))?
            .map_err(|e| dns(e.to_string()))?;
        let mut addresses: Vec<_> = found.map(|a: SocketAddr| a.ip()).collect();
        addresses.dedup();
        if self.dsn.shuffle {
            fastrand::shuffle(&mut addresses);
        }
        addresses.truncate(ADDRESSES_MAX);
        match addresses.is_empty() {
            true => Err(dns("the host's name has no address".to_owned())),
            false => Ok(addresses),
        }
    }

    /// The TLS side; its files are read on a thread where that may block.
    async fn connector(&self, mode: TlsMode) -> Result<MakeRustlsConnect, ConnectError> {
        let tls = self.dsn.tls.clone();
        tokio::task::spawn_blocking(move || tls::client_config(&tls, mode))
            .await
            .map_err(|e| ConnectError::new(ConnectErrorKind::Other, e.to_string()))?
            .map(MakeRustlsConnect::new)
    }

    /// One address, and for the two wavering modes a second try the other way, as libpq does.
    async fn address(
        &self,
        address: Option<IpAddr>,
        mode: TlsMode,
        connector: &MakeRustlsConnect,
        limit: Duration,
    ) -> Result<(Client, Driver), ConnectError> {
        let (first, second) = match mode {
            TlsMode::Disable => (SslMode::Disable, None),
            TlsMode::Allow => (SslMode::Disable, Some(SslMode::Require)),
            TlsMode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => (SslMode::Require, None),
        };
        let both = async {
            match (self.once(address, first, connector, limit).await, second) {
                (Err(error), Some(second)) if may_go_the_other_way(&error) => {
                    let other = self.once(address, second, connector, limit).await;
                    // When both ways fail, the wanted one tells what to mend.
                    other.map_err(|_| error)
                }
                (result, _) => result,
            }
        };
        let late = || {
            let cause = format!("no answer within {limit:.1?}; is it PostgreSQL?");
            ConnectError::new(ConnectErrorKind::Timeout, cause)
        };
        timeout(limit, both).await.map_err(|_| late())?
    }

    async fn once(
        &self,
        address: Option<IpAddr>,
        ssl: SslMode,
        connector: &MakeRustlsConnect,
        limit: Duration,
    ) -> Result<(Client, Driver), ConnectError> {
        let config = self.config(address, ssl, limit);
        let (client, wire) =
            config.connect(connector.clone()).await.map_err(|e| ConnectError::of_driver(&e))?;
        let mut driver = Driver::new(wire);
        // Both statements go out together, so this costs one round trip.
        let prepared = async { tokio::join!(self.check(&client), self.tell_keepalives(&client)).0 };
        tokio::select! {
            biased;
            checked = prepared => checked?,
            ended = driver.drive(None) => {
                let closed = || ConnectError::new(ConnectErrorKind::Closed, "the server closed the connection");
                return Err(ended.map_or_else(|e| ConnectError::of_driver(&e), |()| closed()));
            }
        }
        Ok((client, driver))
    }

    fn config(
        &self,
        address: Option<IpAddr>,
        ssl: SslMode,
        limit: Duration,
    ) -> tokio_postgres::Config {
        let (dsn, options) = (self.dsn, self.options);
        let mut config = tokio_postgres::Config::new();
        match &self.server.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(directory) => config.host_path(directory),
        };
        if let Some(address) = address {
            config.hostaddr(address);
        }
        config
            .port(self.server.port)
            .application_name(&options.application_name)
            .ssl_mode(ssl)
            .ssl_negotiation(match dsn.tls.direct && ssl == SslMode::Require {
                true => SslNegotiation::Direct,
                false => SslNegotiation::Postgres,
            })
            .channel_binding(match dsn.tls.channel_binding {
                ChannelBinding::Disable => PgChannelBinding::Disable,
                ChannelBinding::Prefer => PgChannelBinding::Prefer,
                ChannelBinding::Require => PgChannelBinding::Require,
            })
            // Our own check knows `primary`, and its error is typed.
            .target_session_attrs(TargetSessionAttrs::Any)
            // A little less than the whole, so that "nothing answers" and "it does not go on" differ.
            .connect_timeout(limit * 4 / 5)
            .tcp_user_timeout(options.tcp_user_timeout)
            .keepalives(!dsn.sockets.keepalives_off)
            .keepalives_idle(options.keepalive_idle)
            .keepalives_interval(options.keepalive_interval)
            .keepalives_retries(options.keepalive_count);
        if let Some(user) = &dsn.user {
            config.user(user);
        }
        if let Some(password) = &dsn.password {
            config.password(password.expose_secret());
        }
        if let Some(database) = &dsn.database {
            config.dbname(database);
        }
        if let Some(start_options) = &dsn.options {
            config.options(start_options);
        }
        config
    }

    /// Whether this server can do what is wanted of it.
    async fn check(&self, client: &Client) -> Result<(), ConnectError> {
        if self.dsn.session == SessionWanted::Any {
            return Ok(());
        }
        // The simple protocol: a pooler in transaction mode takes it too.
        let rows = client
            .simple_query(
                "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')",
            )
            .await
            .map_err(|e| ConnectError::of_driver(&e))?;
        let row = rows.iter().find_map(|message| {
            if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None }
        });
        let is = |i: usize, value: &str| row.and_then(|row| row.get(i)) == Some(value);
        let read_only = |cause| Err(ConnectError::new(ConnectErrorKind::ReadOnly, cause));
        if is(0, "t") {
            return read_only("the server is a standby, which cannot write");
        }
        if self.dsn.session == SessionWanted::ReadWrite && is(1, "on") {
            return read_only(
                "the database or user is set to read-only (default_transaction_read_only)",
            );
        }
        Ok(())
    }

    /// Asks the server to notice our death as soon as we notice its: a dead relay's row locks are released in
    /// half a minute instead of two hours. It is a favour, so its failure does not matter.
    async fn tell_keepalives(&self, client: &Client) {
        let over_tcp = matches!(self.server.host, Host::Tcp(_));
        // Start-up parameters would do, but PgBouncer refuses those that it does not know; and behind a
        // pooler in transaction mode SET would change a session of somebody else.
        if !over_tcp || self.dsn.transaction_pooler() || self.dsn.sockets.keepalives_off {
            return;
        }
        let o = self.options;
        let sets = format!(
            "SET tcp_keepalives_idle = {}; SET tcp_keepalives_interval = {}; \
             SET tcp_keepalives_count = {}; SET tcp_user_timeout = {}",
            o.keepalive_idle.as_secs().max(1),
            o.keepalive_interval.as_secs().max(1),
            o.keepalive_count,
            o.tcp_user_timeout.as_millis(),
        );
        if let Err(error) = client.batch_execute(&sets).await {
            let sqlstate = error.code().map_or("none", |code| code.code());
            tracing::debug!(sqlstate, "the server did not take keepalive settings");
        }
    }
}

/// Whether the other of TLS and plain may help: TLS failed, or `pg_hba.conf` has no line for this way.
fn may_go_the_other_way(error: &ConnectError) -> bool {
    use ConnectErrorKind as Kind;
    // Some servers hang up instead of answering the question for TLS.
    let tls_failed = matches!(error.kind(), Kind::Closed | Kind::Tls(_))
        && error.kind() != Kind::Tls(TlsProblem::File);
    tls_failed || error.sqlstate() == Some("28000")
}
