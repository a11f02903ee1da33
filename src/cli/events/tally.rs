//! How fast a command goes, and what it has done so far.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cli::operate::counted;
use crate::cli::table;
use crate::domain::event::TenantId;
use crate::store::decide::Decided;

/// Events in one transaction at most: as many as one claim takes of a tenant.
const BATCH_MAX: usize = 500;

/// Tenants that are named in the summary.
const NAMED_MAX: usize = 20;

/// Time between two lines that say how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Events a second.
pub(super) struct Pace {
    rate: u32,
    next: Instant,
}

impl Pace {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// At most what a second allows.
    pub(super) fn batch(&self) -> usize {
        usize::try_from(self.rate).map_or(BATCH_MAX, |rate| rate.min(BATCH_MAX))
    }

    /// Waits for the turn of the next batch; `false` when told to stop.
    pub(super) async fn wait(&self, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = sleep_until(self.next) => true,
        }
    }

    /// The next batch's turn after this many events.
    pub(super) fn took(&mut self, events: usize, now: Instant) {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.next += Duration::from_secs(1) / self.rate * events;
        // A slow database does not earn a burst afterwards.
        self.next = self.next.max(now);
    }
}

/// What has been done.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) asked: usize,
    changed: usize,
    still_blocked: BTreeSet<TenantId>,
    released: usize,
    said: Option<Instant>,
}

impl Tally {
    pub(super) fn add(&mut self, tenant: &TenantId, asked: usize, decided: &Decided) {
        self.asked += asked;
        self.changed += decided.changed.len();
        self.released += usize::from(decided.released);
        self.still_blocked.remove(tenant);
        if decided.still_blocked && self.still_blocked.len() < NAMED_MAX {
            self.still_blocked.insert(tenant.clone());
        }
    }

    pub(super) fn say_progress(&mut self, past: &str) {
        let said = *self.said.get_or_insert_with(Instant::now);
        if said.elapsed() >= PROGRESS_INTERVAL {
            self.said = Some(Instant::now());
            tracing::info!("{} {} events so far", past, self.changed);
        }
    }

    pub(super) fn summary(&self, past: &str) -> Vec<String> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let changed = counted(count(self.changed), "event");
        let mut lines = vec![format!("{} {changed}", past)];
        let others = self.asked - self.changed;
        if others > 0 {
            let others = counted(count(others), "event");
            lines.push(format!("left {others} alone: somebody else was faster"));
        }
        if self.released > 0 {
            lines.push(format!("{} no longer blocked", counted(count(self.released), "tenant")));
        }
        for tenant in &self.still_blocked {
            let tenant = table::clean(tenant.as_str());
            lines.push(format!(
                "tenant {tenant} is still blocked: see `events list --tenant {tenant}`"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_a_pause_earns_no_burst() {
        let mut pace = Pace::new(10);
        let start = pace.next;
        assert_eq!((pace.batch(), Pace::new(u32::MAX).batch()), (10, BATCH_MAX));
        for second in 1..4 {
            pace.took(10, start);
            assert_eq!(pace.next, start + Duration::from_secs(second));
        }
        let late = start + Duration::from_secs(60);
        pace.took(10, late);
        assert_eq!(pace.next, late);
        pace.took(10, late);
        assert_eq!(pace.next, late + Duration::from_secs(1));
    }
}
