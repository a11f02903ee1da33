//! The one connection beside the drain transactions: it commits the composition of groups before
//! their request leaves, and sends the canary's notification.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::store::error::StoreError;
use crate::store::session::{Session, Store};

/// A connection that is made when needed and made anew when it is gone. Statements of several tasks
/// travel on it one behind the other without waiting for each other.
#[derive(Debug)]
pub(super) struct SideSession {
    store: Store,
    current: Mutex<Option<Arc<Session>>>,
}

impl SideSession {
    pub(super) fn new(store: Store) -> Self {
        Self { store, current: Mutex::new(None) }
    }

    /// The connection, made if need be.
    ///
    /// # Errors
    /// When no connection can be had.
    pub(super) async fn get(&self) -> Result<Arc<Session>, StoreError> {
        // Held while connecting, so that several tasks make one connection, not several.
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.store.session().await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Gives up the connection: it did not answer in time, so the next user gets a new one.
    pub(super) async fn forget(&self) {
        *self.current.lock().await = None;
    }
}
