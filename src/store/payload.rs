//! One event's payload, piece by piece, so that one of a hundred megabytes costs the relay some kilobytes.

use std::fmt;
use std::pin::Pin;

use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream};

use super::error::StoreError;
use super::session::{Store, answered};
use super::statement::{StatementText, statement};

/// The statement, for the test that prepares every one.
pub static STATEMENT: StatementText = statement!("read_payload", [TEXT, INT8]);

/// What is known of a payload before it is sent.
#[derive(Debug)]
pub enum Payload {
    /// There is no such event.
    Missing,
    /// By the database's clock it is later than was asked for.
    TooLate,
    /// It was taken out.
    Scrubbed,
    /// Here it is.
    Found(Box<PayloadPieces>),
}

/// The pieces of a payload. Dropping it closes the connection, and with it ends the statement.
pub struct PayloadPieces {
    first: Option<Vec<u8>>,
    rows: Pin<Box<RowStream>>,
    _client: Client,
    _tasks: JoinSet<()>,
}

// By hand: a piece is personal data.
impl fmt::Debug for PayloadPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadPieces").finish_non_exhaustive()
    }
}

impl Store {
    /// Begins to read an event's payload, on a connection of its own, unless it is later than `expires` (seconds
    /// since 1970).
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or refuses.
    pub async fn payload(&self, event_id: &str, expires: i64) -> Result<Payload, StoreError> {
        answered(async {
            let (client, tasks) = self.raw_client().await?;
            let sql = self.schema().fill(STATEMENT.template);
            let parameters: [&(dyn ToSql + Sync); 2] = [&event_id, &expires];
            let types = STATEMENT.parameters.iter().cloned();
            let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
            let mut rows = Box::pin(client.query_typed_raw(&sql, typed).await?);
            let Some(row) = rows.next().await.transpose()? else { return Ok(Payload::Missing) };
            let scrubbed: Option<bool> = row.try_get("scrubbed")?;
            Ok(match scrubbed {
                None => Payload::Missing,
                Some(_) if row.try_get::<_, i64>("now")? > expires => Payload::TooLate,
                Some(true) => Payload::Scrubbed,
                Some(false) => {
                    let first = piece(&row)?;
                    let pieces = PayloadPieces { first, rows, _client: client, _tasks: tasks };
                    Payload::Found(Box::new(pieces))
                }
            })
        })
        .await
    }
}

impl PayloadPieces {
    /// The next piece of the JSON text, of at most 64 KiB; none at the end.
    ///
    /// # Errors
    /// When the connection is lost, or PostgreSQL is silent for 20 s.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        answered(async {
            match self.rows.next().await.transpose()? {
                Some(row) => piece(&row),
                None => Ok(None),
            }
        })
        .await
    }
}

fn piece(row: &Row) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(row.try_get("piece")?)
}
