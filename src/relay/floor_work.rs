//! Asks PostgreSQL what `floor` wants to know, on a connection of its own that is made when first needed: beside the
//! batches, so that no claim waits for an answer. No policy here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::fault_point;
use super::floor::{Ask, Floor};
use crate::store::error::StoreError;
use crate::store::session::{Session, Store};

/// How long an answer is waited for: the batch that asks has long been over by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// The floor, shared by all batches.
#[derive(Debug)]
pub(super) struct FloorWork {
    floor: Mutex<Floor>,
    session: tokio::sync::Mutex<Option<Session>>,
}

impl FloorWork {
    pub(super) fn new(now: Instant) -> Self {
        let mut floor = Floor::new(now);
        if let Some(length) = fault_point::floor_wanted() {
            floor.want_until(now + length);
        }
        Self { floor: Mutex::new(floor), session: tokio::sync::Mutex::new(None) }
    }

    /// Works with the state; no lock is held beyond.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Floor) -> T) -> T {
        // Whoever panicked has left a state that is as good as any other: each of its steps is one assignment, or it is forgotten.
        work(&mut self.floor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks what is to be asked. Returns whether something waits that claims do not see: from now on they do.
    pub(super) async fn ask(&self, store: &Store) -> bool {
        let Some((ask, era)) = self.with(|f| f.ask(Instant::now()).map(|ask| (ask, f.era())))
        else {
            return false;
        };
        let asked = Asking { floor: self, answered: false };
        let begun = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.put(ask, era, begun, store)).await;
        match answer {
            Ok(Ok(found)) => {
                asked.answered();
                found
            }
            Ok(Err(error)) => {
                debug!(%error, "no floor for claims");
                false
            }
            Err(_) => false,
        }
    }

    async fn put(
        &self,
        ask: Ask,
        era: u64,
        begun: Instant,
        store: &Store,
    ) -> Result<bool, StoreError> {
        let mut kept = self.session.lock().await;
        // Taken out: when this is given up or fails, the connection ends.
        let session = match kept.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => store.session().await?,
        };
        let found = match ask {
            Ask::Look(from) => {
                let look = session.look_for_floor(from).await?;
                let floor = self.with(|floor| {
                    floor.looked(era, look, Instant::now());
                    floor.start().floor
                });
                debug!(floor, "where claims begin");
                false
            }
            Ask::Check(below) => {
                let found = session.waits_below(below).await?;
                let now = Instant::now();
                if found {
                    debug!(floor = below, "something waits below where claims begin");
                }
                self.with(|floor| floor.checked(era, found, now - begun, now))
            }
        };
        *kept = Some(session);
        Ok(found)
    }
}

/// A question under way: whoever gives up waiting for its answer has had none.
struct Asking<'a> {
    floor: &'a FloorWork,
    answered: bool,
}

impl Asking<'_> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.floor.with(|floor| floor.unanswered(Instant::now()));
        }
    }
}
