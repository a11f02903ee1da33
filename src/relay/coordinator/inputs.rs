//! What reaches the coordinator from outside its own batches, and what it tells those outside.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Coordinator;
use crate::relay::asked::Asked;
use crate::relay::drain::ClaimRead;
use crate::relay::floor::Floor;
use crate::relay::metrics::WokenBy;
use crate::relay::wake::Input;

/// What reaches the coordinator from outside its own batches.
pub(in crate::relay) struct Inputs {
    pub(in crate::relay) bell: Arc<Notify>,
    pub(in crate::relay) inbox: mpsc::Receiver<Input>,
    pub(in crate::relay) requests: mpsc::Receiver<Asked>,
}

impl Coordinator {
    /// Notes for those outside that the loop goes round, and why it will claim.
    pub(super) fn note(&mut self) {
        let now = Instant::now();
        self.monitor.tick();
        self.drain.metrics.batches_in_flight(self.wake.in_flight());
        if self.wake.sweeps(now) {
            self.drain.metrics.woken(WokenBy::Sweep);
        }
        if self.wake.is_due(now) {
            self.drain.metrics.woken(WokenBy::Due);
        }
    }

    pub(super) fn woken(&mut self, by: WokenBy) {
        self.drain.metrics.woken(by);
        self.drain.floor.with(Floor::woken);
        let input = if by == WokenBy::ListenerUp { Input::ListenerUp } else { Input::Notice };
        self.wake.handle(input, Instant::now());
    }

    pub(super) fn listener_said(&mut self, input: Input) {
        // Requeues may have gone unheard, and it may be another server.
        self.drain.floor.with(Floor::forget);
        if input == Input::ListenerUp {
            self.listening.cancel();
            self.monitor.listener(true);
            self.woken(WokenBy::ListenerUp);
            return;
        }
        if input == Input::ListenerDown {
            self.monitor.listener(false);
        }
        self.wake.handle(input, Instant::now());
    }

    pub(super) fn more(&self, more: bool) {
        if more {
            self.drain.metrics.woken(WokenBy::More);
        }
    }

    /// Answers the request that is being served.
    pub(super) fn answer(&mut self) {
        if let Some(asked) = self.asked.take() {
            asked.answer();
        }
    }
}

/// Waits for as long as a request is served.
pub(super) async fn patience(asked: Option<&Asked>) {
    match asked {
        Some(asked) => sleep_until(asked.until()).await,
        None => std::future::pending().await,
    }
}

/// Waits for the claim under way, for ever when there is none.
pub(super) async fn wait_for(
    claiming: &mut Option<oneshot::Receiver<ClaimRead>>,
) -> Option<ClaimRead> {
    match claiming {
        Some(read) => read.await.ok(),
        None => std::future::pending().await,
    }
}
