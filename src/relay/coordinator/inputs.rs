//! What reaches the coordinator from outside its own batches, and what it tells those outside.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::Coordinator;
use crate::relay::adjust::{Adjusted, Change};
use crate::relay::asked::Asked;
use crate::relay::drain::ClaimRead;
use crate::relay::floor::Floor;
use crate::relay::metrics::WokenBy;
use crate::relay::wake::{FlagAnswer, Input};
use crate::store::pause::Paused;

/// Two readings of when a pause ends are the same within this.
const SAME_END: Duration = Duration::from_millis(20);

/// What the last claim saw paused.
#[derive(Debug, Default)]
pub(super) struct PauseState {
    seen: Paused,
    due: Option<Instant>,
}

/// What reaches the coordinator from outside its own batches.
pub(in crate::relay) struct Inputs {
    pub(in crate::relay) bell: Arc<Notify>,
    pub(in crate::relay) inbox: mpsc::Receiver<Input>,
    pub(in crate::relay) requests: mpsc::Receiver<Asked>,
    pub(in crate::relay) adjusted: Adjusted,
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

    pub(super) fn flag_answered(&mut self, answer: FlagAnswer) {
        let now = Instant::now();
        // Until the flag ran out, whoever had raised it owed the claim (seen: 2 events of 3,600 that waited for another
        // relay's throttled channel counted as missed).
        let silent = match answer {
            FlagAnswer::Raised { .. } => Some(now),
            FlagAnswer::Seen { ahead_ms, .. } => {
                let over = Duration::from_millis(ahead_ms.min(0).unsigned_abs());
                now.checked_sub(over)
            }
            FlagAnswer::Lowered { .. }
            | FlagAnswer::Fenced { .. }
            | FlagAnswer::Rung
            | FlagAnswer::Failed { .. } => None,
        };
        self.heard = self.heard.max(silent);
        self.wake.handle(Input::Flag(answer), now);
    }

    pub(super) fn more(&self, more: bool) {
        if more {
            self.drain.metrics.woken(WokenBy::More);
        }
    }

    /// Takes note of what a claim saw paused. Nobody rings when a pause ends by itself, so a claim falls due then.
    pub(super) fn pauses(&mut self, paused: Option<Paused>) {
        let now = Instant::now();
        let seen = paused.unwrap_or_default();
        if let Some(end) = seen.ends_in.map(|wait| now + wait) {
            let known = self.paused.due.filter(|due| *due > now);
            if known.is_none_or(|due| end > due + SAME_END || due > end + SAME_END) {
                self.paused.due = Some(end);
                self.wake.handle(Input::DueAt(end), now);
            }
        }
        let seen = Paused { ends_in: None, ..seen };
        if seen == self.paused.seen {
            return;
        }
        self.paused.seen = seen;
        self.monitor.paused(seen);
        let Paused { everything, tenants, types, .. } = seen;
        if seen == Paused::default() {
            info!("nothing is paused any more");
        } else {
            info!(
                everything,
                tenants,
                types,
                "an operator has paused publishing: {}",
                seen.in_words()
            );
        }
    }

    /// Somebody has changed a setting.
    pub(super) fn adjust(&mut self, change: &Change) {
        if let Some(rate) = change.channel_rate {
            self.channels.set_rate(rate);
        }
        if change.key {
            // The pause was the old key's; should the new one be refused too, it begins anew.
            self.wake.handle(Input::Recovered, Instant::now());
        }
        self.wake.handle(Input::Notice, Instant::now());
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
