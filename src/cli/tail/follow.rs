//! Which events to look at again: those that are pending, and positions that were passed over because
//! their transactions had not yet committed. Pure, and bounded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::event::Seq;

/// Events that are watched at most; beyond that the oldest are given up.
const WATCHED_MAX: usize = 10_000;

/// How long a position that is missing is waited for: most belong to transactions that were rolled back.
const MISSING_TIME: Duration = Duration::from_secs(60);

/// One outbox being followed.
#[derive(Debug)]
pub(super) struct Follow {
    cursor: i64,
    watched: BTreeMap<i64, Watched>,
}

#[derive(Debug)]
enum Watched {
    /// Found, and not yet shown.
    New,
    /// Not committed, or never to be.
    Missing { until: Instant },
    /// Shown as pending.
    Pending,
}

impl Follow {
    /// Starts behind a position.
    pub(super) fn from(cursor: i64) -> Self {
        Self { cursor, watched: BTreeMap::new() }
    }

    /// The highest position so far.
    pub(super) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Takes note of positions, lowest first, and of those between them.
    pub(super) fn found(&mut self, seqs: &[Seq], now: Instant) {
        for seq in seqs {
            // A long gap is a sequence's cache or an import that was rolled back.
            let first = (self.cursor + 1).max(seq.0 - 100);
            for missing in first..seq.0 {
                self.watched.insert(missing, Watched::Missing { until: now + MISSING_TIME });
            }
            self.watched.insert(seq.0, Watched::New);
            self.cursor = seq.0;
        }
        while self.watched.len() > WATCHED_MAX {
            self.watched.pop_first();
        }
    }

    /// Gives up what lies before a position.
    pub(super) fn skip_to(&mut self, cursor: i64) {
        self.cursor = cursor;
    }

    /// What to look at.
    pub(super) fn open(&self) -> Vec<Seq> {
        self.watched.keys().map(|seq| Seq(*seq)).collect()
    }

    /// Whether an event that was looked at is to be shown: it is new, or its status has changed.
    pub(super) fn changed(&mut self, seq: i64, status: &str) -> bool {
        let Some(watched) = self.watched.get_mut(&seq) else { return false };
        if status != "pending" {
            self.watched.remove(&seq);
            return true;
        }
        !matches!(std::mem::replace(watched, Watched::Pending), Watched::Pending)
    }

    /// Gives up positions that have been missing for too long, and events that are gone.
    pub(super) fn forget(&mut self, now: Instant) {
        self.watched.retain(|_, watched| match watched {
            // Found, and gone when it was looked at: pruned or deleted.
            Watched::New => false,
            Watched::Missing { until } => now < *until,
            Watched::Pending => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_when_it_comes_and_when_it_is_settled_however_late_it_commits() {
        let now = Instant::now();
        let mut follow = Follow::from(4);
        follow.found(&[Seq(5), Seq(8)], now);
        assert_eq!(follow.open(), [5, 6, 7, 8].map(Seq));
        assert!(follow.changed(5, "pending") && follow.changed(8, "published"));
        follow.forget(now);
        assert!(!follow.changed(5, "pending"), "nothing new");
        assert!(follow.changed(7, "pending"), "a late commit");
        assert!(follow.changed(5, "failed") && follow.changed(7, "published"));
        assert_eq!(follow.open(), [Seq(6)]);
        follow.forget(now + MISSING_TIME);
        assert_eq!(follow.open(), [Seq(0); 0]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut follow = Follow::from(0);
        let seqs: Vec<Seq> = (1..50_000).map(|n| Seq(n * 50)).collect();
        follow.found(&seqs, Instant::now());
        assert!(follow.watched.len() <= WATCHED_MAX);
        assert_eq!(follow.cursor(), 49_999 * 50);
    }
}
