//! Where a run's outbox is: a database in the shared server, a server of its own, or a primary with a
//! standby.

use std::path::PathBuf;

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config};

use super::row::Place as Kind;
use super::writers::connect;
use crate::support::outbox::{Outbox, store_at};
use crate::support::pgbouncer::PgBouncer;
use crate::support::server_process::Standby;

/// Port in the name of a private server's socket.
const SOCKET_PORT: u16 = 5432;

/// The database of a run.
pub(crate) enum Place {
    Shared(Outbox),
    Own(Box<PrivatePostgres>),
    Pair(Box<PrivatePostgres>, Standby),
    Pooled(Box<PrivatePostgres>, Option<PgBouncer>),
}

impl Place {
    pub(crate) async fn make(kind: Kind, hint: &str) -> Self {
        match kind {
            Kind::Shared => Self::Shared(Outbox::create(hint).await),
            Kind::Own => Self::Own(Box::new(own_server().await)),
            Kind::Pair => {
                let primary = own_server().await;
                // It must keep what it has confirmed, too, and has no settings of the first one's command line.
                let keep = ["-c", "synchronous_commit=on"];
                let standby = Standby::of(primary.socket_dir(), SOCKET_PORT, &keep);
                let place = Self::Pair(Box::new(primary), standby);
                place.wait_for_the_standby().await;
                place
            }
            Kind::Pooled => {
                let server = own_server().await;
                let pooler = PgBouncer::start(server.socket_dir(), SOCKET_PORT, "transaction");
                Self::Pooled(Box::new(server), Some(pooler))
            }
        }
    }

    /// Whoever commits from now on waits for the standby.
    async fn wait_for_the_standby(&self) {
        let (client, _driver) = connect(&self.dsn()).await.expect("the primary");
        for statement in
            ["alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"]
        {
            client.batch_execute(statement).await.expect(statement);
        }
        wait_until(
            &client,
            "select exists (select from pg_stat_replication where sync_state = 'sync')",
        )
        .await;
    }

    /// Connection string for writers and relays.
    pub(crate) fn dsn(&self) -> String {
        match self {
            Self::Shared(outbox) => outbox.database.dsn(),
            Self::Own(server) | Self::Pooled(server, _) => server.dsn("postgres"),
            Self::Pair(primary, standby) => format!(
                "host={},{} port={SOCKET_PORT},{} user=postgres dbname=postgres \
                 target_session_attrs=read-write",
                primary.socket_dir().display(),
                standby.directory.display(),
                standby.port
            ),
        }
    }

    /// Connection string for relays.
    pub(crate) fn relay_dsn(&self) -> String {
        match self {
            Self::Pooled(_, Some(pooler)) => pooler.url("postgres") + "?pgbouncer=true",
            Self::Shared(_) | Self::Own(_) | Self::Pair(..) | Self::Pooled(_, None) => self.dsn(),
        }
    }

    /// The server's socket, for a proxy before it.
    pub(crate) fn socket(&self) -> PathBuf {
        let config: Config = self.dsn().parse().expect("connection string");
        let port = config.get_ports().first().copied().unwrap_or(SOCKET_PORT);
        match config.get_hosts().first() {
            Some(Host::Unix(directory)) => directory.join(format!(".s.PGSQL.{port}")),
            other => panic!("the matrix needs a server with a socket, not {other:?}"),
        }
    }

    /// The same database by TCP through a proxy.
    pub(crate) fn dsn_through(&self, proxy: std::net::SocketAddr) -> String {
        let config: Config = self.dsn().parse().expect("connection string");
        let database = config.get_dbname().expect("a database");
        format!(
            "host=127.0.0.1 port={} user=postgres dbname={database} sslmode=disable",
            proxy.port()
        )
    }

    fn server(&mut self) -> &mut PrivatePostgres {
        match self {
            Self::Own(server) | Self::Pair(server, _) | Self::Pooled(server, _) => server,
            Self::Shared(_) => panic!("the shared server belongs to all rows"),
        }
    }

    /// A pooler keeps its connections when its clients have gone: those are no leak.
    pub(crate) fn end_the_pooler(&mut self) {
        if let Self::Pooled(_, pooler) = self {
            *pooler = None;
        }
    }

    pub(crate) async fn restart(&mut self) {
        self.server().restart().await.expect("restart");
    }

    pub(crate) async fn crash(&mut self) {
        self.server().crash().await.expect("crash");
    }

    /// Makes the standby the one that can write.
    pub(crate) async fn promote(&self) {
        let Self::Pair(_, standby) = self else { panic!("there is no standby") };
        let dsn = format!(
            "host={} port={} user=postgres dbname=postgres",
            standby.directory.display(),
            standby.port
        );
        let (client, _driver) = connect(&dsn).await.expect("the standby");
        client.batch_execute("select pg_promote(true, 60)").await.expect("promote");
    }

    /// The old primary comes back as a server that only reads.
    pub(crate) async fn come_back_as_reader(&mut self) {
        let signal = self.server().data_dir().join("standby.signal");
        std::fs::write(signal, "").expect("standby.signal");
        self.restart().await;
    }
}

async fn own_server() -> PrivatePostgres {
    // The default forgives a crash of the machine, not of the server: what was committed must survive one.
    let settings = [("synchronous_commit", "on"), ("max_connections", "60")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = PostgresOptions { settings, ..PostgresOptions::default() };
    let server = PrivatePostgres::start(options).await.expect("server");
    store_at(&server.dsn("postgres"), "outbox").migrate_up().await.expect("migrate");
    server
}

/// Waits until a query of one boolean says true.
pub(crate) async fn wait_until(client: &Client, sql: &str) {
    let wait = async {
        while !client.query_one(sql, &[]).await.expect(sql).get::<_, bool>(0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| panic!("never true: {sql}"));
}
