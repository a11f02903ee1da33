//! Writes what happens in the kitchens into the outbox: one event, one transaction.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::kitchen::{AGGREGATE_TYPE, Kitchens};
use super::report::{Arrival, Report};
use crate::domain::new_event::NewEvent;
use crate::store::application::Application;
use crate::store::error::StoreError;

/// Events that may be committed and not yet have arrived; then the producer waits. It bounds memory
/// while Ably is "down", which the emulator can be told to be.
const AWAITED_MAX: usize = 20_000;

/// How far behind its rate the producer may fall and still catch up. Without a bound a stall of a
/// minute would be followed by a flood.
const BEHIND_MAX: Duration = Duration::from_millis(250);

/// What producer and subscriber know together.
#[derive(Debug)]
pub struct Ledger {
    report: Mutex<Report>,
    /// Events that may still be committed before others must arrive.
    places: Semaphore,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { report: Mutex::default(), places: Semaphore::new(AWAITED_MAX) }
    }
}

impl Ledger {
    /// The report so far.
    pub fn report(&self) -> MutexGuard<'_, Report> {
        // Counts are whole after every step; there is nothing that a panic could leave half done.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the sample events has arrived.
    pub fn arrived(&self, id: &str, now: Instant) -> Arrival {
        let arrival = self.report().arrived(id, now);
        if matches!(arrival, Arrival::First { .. }) {
            self.places.add_permits(1);
        }
        arrival
    }
}

/// The sample producer.
#[derive(Debug)]
pub struct Producer {
    /// What happens.
    pub kitchens: Kitchens,
    /// Where it is written.
    pub application: Application,
    /// Where it is noted.
    pub ledger: Arc<Ledger>,
    /// Events a second.
    pub rate: u32,
    /// Events in all; without a limit it goes on until it is stopped.
    pub limit: Option<u64>,
}

impl Producer {
    /// Writes events until the limit or `stop`, whichever comes first; never stops inside a
    /// transaction. Returns how many were committed.
    ///
    /// # Errors
    /// When PostgreSQL does not take an event.
    pub async fn run(mut self, stop: CancellationToken) -> Result<u64, StoreError> {
        let gap = Duration::from_secs(1) / self.rate.max(1);
        let mut due = tokio::time::Instant::now();
        let mut committed = 0;
        while self.limit.is_none_or(|limit| committed < limit) {
            tokio::select! {
                () = stop.cancelled() => break,
                () = turn(due, &self.ledger.places) => {}
            }
            self.write_one().await?;
            committed += 1;
            due = (due + gap).max(tokio::time::Instant::now() - BEHIND_MAX);
        }
        Ok(committed)
    }

    async fn write_one(&mut self) -> Result<(), StoreError> {
        let now = format!("{:.3}", jiff::Timestamp::now());
        let happening = self.kitchens.next(&now);
        let id = uuid::Uuid::now_v7().to_string();
        let event = NewEvent::new(&happening.tenant, happening.event_type)
            .id(&id)
            .about(AGGREGATE_TYPE, &happening.task)
            .payload(happening.payload);
        let written = self.application.write(&event).await?;
        self.ledger.report().committing(&id, &happening.tenant, Instant::now());
        written.commit().await
    }
}

/// Waits until an event is due and there is a place for it; the place comes back when it arrives.
async fn turn(due: tokio::time::Instant, places: &Semaphore) {
    sleep_until(due).await;
    // It is never closed.
    if let Ok(place) = places.acquire().await {
        place.forget();
    }
}
