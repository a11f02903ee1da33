//! What a dashboard shows of a running relay: this moment, the last hours, and one event's way.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Monitor;
use crate::domain::event::Seq;
use crate::relay::health::Check;
use crate::relay::history::{History, Level, Sample, Span};
use crate::relay::metrics::Gauges;
use crate::relay::recent::Timeline;
use crate::store::observe::Observation;

/// A relay at one moment.
#[derive(Debug, Clone)]
pub struct Now {
    /// How each part is.
    pub checks: Vec<Check>,
    /// What the process says of itself.
    pub gauges: Gauges,
    /// What the last look at the database has seen; `None` when it failed.
    pub observation: Option<Observation>,
    /// The last second.
    pub sample: Option<Sample>,
    /// Events that only the sweep found, since the relay began.
    pub swept: u64,
    /// Failed events by code, since the relay began.
    pub codes: BTreeMap<String, u64>,
}

impl Monitor {
    /// From now on each event's way is remembered, a few thousand of them.
    pub fn keep_timelines(&self) {
        self.shared.metrics.recent.keep();
    }

    /// Notes one second for the charts. `at`: seconds since 1970, only to be shown.
    pub fn note_second(&self, at: i64) {
        let level = self.shared.metrics.observation().map(|seen| Level {
            pending: seen.pending,
            oldest_seconds: seen.oldest_pending_age.unwrap_or_default(),
            dead_letters: seen.dead_letters,
        });
        let counts = self.shared.metrics.counts().clone();
        self.history().tick(at, counts, level);
    }

    /// Looks at the database, for the charts and for [`Monitor::now`], unless somebody has within this time.
    pub async fn refresh(&self, interval: Duration) {
        self.look(interval).await;
    }

    /// This moment, without waiting for anything.
    pub fn now(&self) -> Now {
        let (swept, codes) = {
            let counts = self.shared.metrics.counts();
            (counts.swept, counts.codes.clone())
        };
        Now {
            checks: self.readiness(),
            gauges: self.shared.metrics.gauges(),
            observation: self.shared.metrics.observation(),
            sample: self.history().newest(),
            swept,
            codes,
        }
    }

    /// The samples of the charts, oldest first.
    pub fn samples(&self, span: Span) -> Vec<Sample> {
        self.history().samples(span)
    }

    /// An event's way through this relay, if it is among the last few thousand.
    pub fn timeline(&self, seq: i64) -> Option<Timeline> {
        self.shared.metrics.recent.timeline(Seq(seq))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.shared.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
