//! A running relay from outside: its metrics, its health, and the request to publish now. Whoever asks
//! waits; the relay never does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::asked::Asked;
use super::health::{self, Check, Grade, Noted};
use super::history::History;
use super::metrics::Metrics;
use crate::domain::failure::PublishFailure;
use crate::store::observe::Observer;
use crate::store::pause::Paused;
use crate::store::session::Store;

mod charts;

pub use self::charts::Now;

/// The least time between two looks at the database for metrics, however many ask.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a look may take before its numbers are left out: a scrape must not wait for a slow database.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests to publish now that may wait for one another.
const REQUESTS_MAX: usize = 8;

/// A running relay, seen from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    noted: Mutex<Noted>,
    store: Store,
    look: AsyncMutex<Look>,
    history: Mutex<History>,
    requests: mpsc::Sender<Asked>,
}

#[derive(Debug, Default)]
struct Look {
    observer: Option<Observer>,
    at: Option<Instant>,
}

/// What a request to publish now came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Drained {
    /// Events that it published.
    pub published: usize,
    /// Events that failed for good.
    pub failed: usize,
    /// Events that were claimed for it and are pending still: on hold, or Ably is away.
    pub skipped: usize,
    /// Age of the oldest event that is still pending, in seconds; zero when nothing waits.
    pub oldest_pending_seconds: f64,
}

/// Why nothing was published on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDrained {
    /// Too many requests wait already.
    #[error("{REQUESTS_MAX} such requests are waiting already")]
    Busy,
    /// The relay is starting or stopping.
    #[error("the relay is not running")]
    NotRunning,
    /// PostgreSQL did not say what is pending.
    #[error("PostgreSQL does not say what is pending")]
    Database,
}

impl Monitor {
    pub(super) fn new(store: Store, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Asked>) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (noted, look, history) = (Mutex::default(), AsyncMutex::default(), Mutex::default());
        let shared = Shared { metrics, noted, store, look, history, requests };
        (Self { shared: Arc::new(shared) }, inbox)
    }

    /// The metrics as OpenMetrics text. Looks at the database if nobody has for two seconds.
    pub async fn metrics(&self) -> String {
        self.look(LOOK_INTERVAL).await;
        self.shared.metrics.text()
    }

    /// Looks at the database unless somebody has within this time.
    async fn look(&self, interval: Duration) {
        let mut look = self.shared.look.lock().await;
        if look.at.is_none_or(|at| at.elapsed() >= interval) {
            let seen = timeout(LOOK_TIMEOUT, async {
                let mut observer = self.observer(&mut look).await?;
                let seen = observer.look().await.inspect_err(|e| debug!(%e, "no look")).ok()?;
                Some((observer, seen))
            });
            let (observer, observation) = seen.await.ok().flatten().unzip();
            look.observer = observer;
            look.at = Some(Instant::now());
            self.shared.metrics.observed(observation);
        }
    }

    /// Publishes at most `limit` events now, through the relay's own batches: pauses, holds and rates hold
    /// for them too. Waits for at most 10 s.
    ///
    /// # Errors
    /// When the relay cannot be asked, or it is not known what is left.
    pub async fn drain(&self, limit: usize) -> Result<Drained, NotDrained> {
        let (reply, done) = oneshot::channel();
        self.shared.requests.try_send(Asked::new(limit, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotDrained::Busy,
            mpsc::error::TrySendError::Closed(_) => NotDrained::NotRunning,
        })?;
        let drained = done.await.map_err(|_| NotDrained::NotRunning)?;
        let mut look = self.shared.look.lock().await;
        let asked = timeout(LOOK_TIMEOUT, async {
            let mut observer = self.observer(&mut look).await?;
            let age = observer.oldest_pending_age().await.ok()?;
            Some((observer, age))
        });
        let (observer, age) = asked.await.ok().flatten().unzip();
        look.observer = observer;
        let oldest_pending_seconds = age.ok_or(NotDrained::Database)?.unwrap_or_default();
        Ok(Drained { oldest_pending_seconds, ..drained })
    }

    /// Taken out while it is used: one that did not answer in time is given up with its connection.
    async fn observer(&self, look: &mut Look) -> Option<Observer> {
        match look.observer.take() {
            Some(observer) => Some(observer),
            None => self.shared.store.observer().await.inspect_err(|e| debug!(%e, "no look")).ok(),
        }
    }

    /// Whether the process does anything at all.
    pub fn liveness(&self) -> Check {
        health::liveness(&self.noted(), Instant::now())
    }

    /// How each part is. The relay is ready unless one of them fails.
    pub fn readiness(&self) -> Vec<Check> {
        health::readiness(&self.noted(), Instant::now())
    }

    /// The worst of [`Monitor::readiness`].
    pub fn grade(&self) -> Grade {
        self.readiness().into_iter().map(|check| check.grade).max().unwrap_or(Grade::Failing)
    }

    pub(super) fn tick(&self) {
        self.noted().tick = Some(Instant::now());
    }

    pub(super) fn stopping(&self) {
        self.noted().stopping = true;
    }

    pub(super) fn listener(&self, up: bool) {
        self.noted().listening = up;
        self.shared.metrics.listener(up);
    }

    pub(super) fn database_failed(&self, cause: &str) {
        self.shared.metrics.database_failed();
        let mut noted = self.noted();
        let since = noted.database.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        noted.database = Some((cause.to_owned(), since));
    }

    pub(super) fn database_works(&self) {
        self.noted().database = None;
    }

    pub(super) fn interrupted(&self, failure: &PublishFailure) {
        self.shared.metrics.interrupted(failure);
        let mut noted = self.noted();
        let since = noted.publisher.as_ref().map_or_else(Instant::now, |(.., since)| *since);
        noted.publisher = Some((failure.class, failure.to_string(), since));
    }

    pub(super) fn resumed(&self) {
        self.shared.metrics.resumed();
        self.noted().publisher = None;
    }

    pub(super) fn paused(&self, paused: Paused) {
        self.noted().paused = paused;
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
