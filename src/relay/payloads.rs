//! Payloads that are too large for a message, for whoever has a link to one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::domain::payload_link::{LinkRefused, PayloadLinks};
pub use crate::store::error::StoreError as ReadError;
use crate::store::payload::{Payload, PayloadPieces};
use crate::store::session::Store;

/// Payloads that are read at the same time: each holds a database connection while its client reads.
const READERS_MAX: usize = 4;

/// Opens payloads to links. Cheap to clone; clones share the bound.
#[derive(Debug, Clone)]
pub struct Payloads {
    store: Store,
    links: PayloadLinks,
    readers: Arc<Semaphore>,
}

/// A payload that is being read.
#[derive(Debug)]
pub struct OpenPayload {
    pieces: Box<PayloadPieces>,
    _reader: OwnedSemaphorePermit,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It is not ours, or its time is over.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// The event is gone.
    #[error("there is no such event any more")]
    Missing,
    /// The payload is gone.
    #[error("the payload was taken out")]
    Scrubbed,
    /// Too many are read already.
    #[error("{READERS_MAX} payloads are being read already; come again")]
    Busy,
    /// PostgreSQL does not give it.
    #[error("PostgreSQL does not give the payload; come again")]
    Database,
}

impl Payloads {
    /// Payloads of this outbox, to links that `links` has made.
    pub fn new(store: Store, links: PayloadLinks) -> Self {
        Self { store, links, readers: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Opens the payload of an event. The signature is checked before the database is asked for anything, and the
    /// link's end by the database's clock, which it was made by.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub async fn open(
        &self,
        event_id: &str,
        expires: i64,
        signature: &str,
    ) -> Result<OpenPayload, NotOpened> {
        self.links.verify(event_id, expires, signature)?;
        let reader = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| NotOpened::Busy)?;
        let found = self.store.payload(event_id, expires).await.map_err(|error| {
            debug!(%error, "no payload: {error}");
            NotOpened::Database
        })?;
        match found {
            Payload::Missing => Err(NotOpened::Missing),
            Payload::TooLate => Err(LinkRefused::Expired.into()),
            Payload::Scrubbed => Err(NotOpened::Scrubbed),
            Payload::Found(pieces) => Ok(OpenPayload { pieces, _reader: reader }),
        }
    }
}

impl OpenPayload {
    /// The next piece of the JSON text; none at the end.
    ///
    /// # Errors
    /// When PostgreSQL does not give the rest.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        self.pieces.next().await
    }
}
