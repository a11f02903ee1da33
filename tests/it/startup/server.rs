//! A server with passwords, for these tests alone: roles and their passwords are a whole cluster's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use outbox_relay::dev::postgres::{PostgresOptions, PrivatePostgres};

use crate::support::outbox::store_at;
use crate::support::postgres::{TestClient, connect};

/// Started on first use, outside the runtime of the test that happens to come first.
pub(super) fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| std::thread::spawn(start).join().expect("the server starts"))
}

fn start() -> PrivatePostgres {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let options = PostgresOptions { tcp: true, ..PostgresOptions::default() };
    runtime.block_on(PrivatePostgres::start(options)).unwrap_or_else(|error| panic!("{error}"))
}

/// The port of the server's socket and of TCP.
pub(super) fn port() -> u16 {
    let url = server().tcp_url("d").expect("TCP");
    let (_, rest) = url.rsplit_once(':').expect("a port");
    rest.trim_end_matches("/d").parse().expect("a number")
}

/// A new database and a login role of its own, with a password.
pub(super) struct Place {
    pub(super) name: String,
}

impl Place {
    /// Without an outbox.
    pub(super) async fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("place{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&server().dsn("postgres")).await;
        admin.batch_execute(&format!("create database {name}")).await.expect("database");
        let role = format!("create role {name} login password 'hunter2-{name}'");
        admin.batch_execute(&role).await.expect("role");
        Self { name }
    }

    /// With an outbox, which the superuser owns.
    pub(super) async fn with_outbox() -> Self {
        let place = Self::empty().await;
        store_at(&server().dsn(&place.name), "outbox").migrate_up().await.expect("migrate");
        place
    }

    /// As the superuser.
    pub(super) async fn admin(&self) -> TestClient {
        connect(&server().dsn(&self.name)).await
    }

    /// As its own role.
    pub(super) async fn as_role(&self) -> TestClient {
        connect(&self.url()).await
    }

    /// Through TCP, as its own role.
    pub(super) fn url(&self) -> String {
        self.url_with(&format!("hunter2-{}", self.name))
    }

    /// The same with a password.
    pub(super) fn url_with(&self, password: &str) -> String {
        format!("postgres://{0}:{password}@127.0.0.1:{1}/{0}", self.name, port())
    }

    /// The same role and password at another database.
    pub(super) fn url_of(&self, database: &str) -> String {
        format!("postgres://{0}:hunter2-{0}@127.0.0.1:{1}/{database}", self.name, port())
    }

    /// Through TCP, as the superuser.
    pub(super) fn admin_url(&self) -> String {
        server().tcp_url(&self.name).expect("TCP")
    }

    /// Runs statements as the superuser; `ROLE` stands for its role.
    pub(super) async fn sql(&self, sql: &str) {
        let sql = sql.replace("ROLE", &self.name);
        self.admin().await.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Cuts every session of its database, and waits until they have gone.
    pub(super) async fn cut(&self) {
        let admin = connect(&server().dsn("postgres")).await;
        let sql =
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1";
        admin.query(sql, &[&self.name]).await.expect("terminate");
    }
}
