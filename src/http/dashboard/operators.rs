//! Connections to ask with: two at most, and one that is kept for the next question for half a minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::answer::Refused;
use crate::store::error::StoreError;
use crate::store::operator::Operator;
use crate::store::session::Store;

/// Questions at a time. The relay's own connections are others.
const AT_ONCE: usize = 2;

/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a connection is kept unused.
const KEPT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Operators {
    store: Store,
    turns: Semaphore,
    idle: Mutex<Option<Asker>>,
}

/// A connection, and when it was made.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) operator: Operator,
    made: Instant,
    used: Instant,
}

impl Asker {
    /// The server's clock, in ms since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        let since = i64::try_from(self.made.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.operator.now_ms().saturating_add(since)
    }
}

impl Operators {
    pub(super) fn new(store: Store) -> Self {
        Self { store, turns: Semaphore::new(AT_ONCE), idle: Mutex::default() }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Asks. A connection on which something went wrong is given up.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut Asker) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Refused::Busy) };
        let kept = self.idle().take();
        let mut asker = match kept {
            Some(asker) => asker,
            None => Box::pin(self.connect()).await?,
        };
        let answer = question(&mut asker).await;
        if !matches!(answer, Err(Refused::Store(_))) {
            asker.used = Instant::now();
            *self.idle() = Some(asker);
        }
        answer
    }

    async fn connect(&self) -> Result<Asker, StoreError> {
        let operator = self.store.operator().await?;
        Ok(Asker { operator, made: Instant::now(), used: Instant::now() })
    }

    /// Gives up a connection that nobody has used for a while.
    pub(super) fn tidy(&self) {
        let mut idle = self.idle();
        if idle.as_ref().is_some_and(|asker| asker.used.elapsed() > KEPT) {
            *idle = None;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Option<Asker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
