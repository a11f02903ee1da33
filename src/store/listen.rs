//! A connection that does nothing but LISTEN.

use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::connect::connect;
use super::driver::{NoticeReceiver, notices};
use super::error::StoreError;
use super::session::{Store, answered};

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// On which channel.
    pub channel: String,
    /// With what payload; equal ones that wait together are heard once.
    pub payload: String,
}

/// A listening connection. Dropping it closes the socket.
#[derive(Debug)]
pub struct Listening {
    notices: NoticeReceiver,
    driver: JoinSet<Result<(), tokio_postgres::Error>>,
    // A client that is dropped ends its connection.
    _client: Client,
}

impl Store {
    /// Listens to these channels on a new connection, outside any transaction: a listener inside one
    /// hears nothing and holds back the queue of the whole server.
    ///
    /// # Errors
    /// When no connection can be had, or the server is a standby, which cannot LISTEN.
    pub async fn listen(&self, channels: &[&str]) -> Result<Listening, StoreError> {
        let (client, driver) = connect(self.dsn(), self.options()).await?;
        let (sender, notices) = notices();
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run(Some(sender)));
        let listen: Vec<String> = channels
            .iter()
            .map(|channel| format!("listen \"{}\"", channel.replace('"', "\"\"")))
            .collect();
        answered(async { Ok(client.batch_execute(&listen.join("; ")).await?) }).await.map_err(
            // LISTEN is refused during recovery only, never because a session is read-only.
            |error| if matches!(error, StoreError::ReadOnly) { StoreError::Standby } else { error },
        )?;
        Ok(Listening { notices, driver: tasks, _client: client })
    }
}

impl Listening {
    /// The next notification. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is lost; what came after the last notification heard may be lost with it.
    pub async fn next(&mut self) -> Result<Heard, StoreError> {
        match self.notices.recv().await {
            Some(notice) => Ok(Heard { channel: notice.channel, payload: notice.payload }),
            None => Err(match self.driver.join_next().await {
                Some(Ok(Err(error))) => error.into(),
                Some(Ok(Ok(())) | Err(_)) | None => {
                    StoreError::Lost("the server closed the listening connection".into())
                }
            }),
        }
    }
}
