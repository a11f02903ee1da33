//! Connections to real servers: every TLS mode, several hosts, typed failures, notices, dead peers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test")]

mod certificates;
mod clock;
pub(crate) mod cluster;
mod driver;
mod failures;
mod hosts;
mod tls;

use std::time::Duration;

use outbox_relay::store::connect::{ConnectOptions, connect};
use outbox_relay::store::connect_error::ConnectError;
use outbox_relay::store::driver::NoticeSender;
use outbox_relay::store::dsn::Dsn;
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// A client with its driver in a set of its own: dropping it closes the socket.
struct Connected {
    client: Client,
    driver: JoinSet<Result<(), tokio_postgres::Error>>,
}

fn parse(dsn: &str) -> Dsn {
    Dsn::parse(dsn).unwrap_or_else(|e| panic!("{e}")).dsn
}

fn options() -> ConnectOptions {
    ConnectOptions::new("relay-test")
}

async fn open_with(
    dsn: &str,
    options: &ConnectOptions,
    notices: Option<NoticeSender>,
) -> Result<Connected, ConnectError> {
    let (client, ours) = connect(&parse(dsn), options).await?;
    let mut driver = JoinSet::new();
    driver.spawn(ours.run(notices));
    Ok(Connected { client, driver })
}

async fn open(dsn: &str) -> Result<Connected, ConnectError> {
    open_with(dsn, &options(), None).await
}

/// The failure of a string that must not work.
async fn failure(dsn: &str) -> ConnectError {
    match open(dsn).await {
        Ok(_) => panic!("connected, and should not have"),
        Err(error) => {
            let shown = format!("{error} {error:?} {}", error.remedy());
            assert!(!shown.contains(cluster::PASSWORD), "the password shows");
            assert!(!error.to_string().contains('\n') && !error.remedy().is_empty());
            error
        }
    }
}

impl Connected {
    async fn text(&self, sql: &str) -> String {
        let row = within(self.client.query_one(sql, &[])).await.unwrap();
        row.get(0)
    }

    async fn is_encrypted(&self) -> bool {
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        within(self.client.query_one(sql, &[])).await.unwrap().get(0)
    }
}

/// No test waits for ever.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}
