//! When the last few thousand events passed each stage, in this process: what no row says. Bounded, and empty unless
//! somebody may look.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::WokenBy;
use crate::domain::event::Seq;

/// Events that are remembered: some 300 KiB.
const EVENTS_MAX: usize = 4_096;

/// Wake-ups that are remembered, to name the one that led to a claim.
const WAKES_MAX: usize = 32;

/// What a batch's events have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stages {
    /// Why the relay looked, and when it was told to.
    pub(super) woken: Option<(WokenBy, Instant)>,
    /// The claim began.
    pub(super) began: Instant,
    /// It had read the events.
    pub(super) claimed: Instant,
    /// The request left; `None` when there was none.
    pub(super) sent: Option<Instant>,
    /// Ably's answers were complete.
    pub(super) accepted: Option<Instant>,
    /// The outcome was committed.
    pub(super) settled: Instant,
}

/// An event's way through this relay, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeline {
    /// From the event's commit (or insertion) until the claim had read it; `None` when that means nothing, as
    /// after a requeue. The other times count from that reading.
    pub waited: Option<Duration>,
    /// Why the relay looked.
    pub woken_by: Option<&'static str>,
    /// How long before the reading it was told to.
    pub woken_before: Option<Duration>,
    /// How long before the reading the claim began.
    pub began_before: Duration,
    /// How long after the reading the request left.
    pub sent_after: Option<Duration>,
    /// How long after the reading Ably's answers were complete.
    pub accepted_after: Option<Duration>,
    /// How long after the reading the outcome was committed.
    pub settled_after: Duration,
    /// It failed for good.
    pub failed: bool,
}

/// The ring. Nothing is kept until [`Recent::keep`].
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    kept: bool,
    wakes: VecDeque<(WokenBy, Instant)>,
    events: VecDeque<(Seq, Option<Duration>, bool, Arc<Stages>)>,
}

impl Recent {
    /// From now on.
    pub(super) fn keep(&self) {
        self.ring().kept = true;
    }

    pub(super) fn woken(&self, by: WokenBy) {
        let mut ring = self.ring();
        if !ring.kept {
            return;
        }
        if ring.wakes.len() >= WAKES_MAX {
            ring.wakes.pop_front();
        }
        ring.wakes.push_back((by, Instant::now()));
    }

    /// The last reason to look before a claim began.
    pub(super) fn reason(&self, began: Instant) -> Option<(WokenBy, Instant)> {
        self.ring().wakes.iter().rev().find(|(_, at)| *at <= began).copied()
    }

    /// A batch was settled: its events with how long each had waited, and whether it failed.
    pub(super) fn settled(
        &self,
        stages: Stages,
        events: impl Iterator<Item = (Seq, Option<Duration>, bool)>,
    ) {
        let mut ring = self.ring();
        if !ring.kept {
            return;
        }
        let stages = Arc::new(stages);
        for (seq, waited, failed) in events {
            if ring.events.len() >= EVENTS_MAX {
                ring.events.pop_front();
            }
            ring.events.push_back((seq, waited, failed, Arc::clone(&stages)));
        }
    }

    /// The last time that this relay settled the event.
    pub(super) fn timeline(&self, seq: Seq) -> Option<Timeline> {
        let ring = self.ring();
        let (_, waited, failed, stages) =
            ring.events.iter().rev().find(|(known, ..)| *known == seq)?;
        let claimed = stages.claimed;
        let after = |at: Instant| at.saturating_duration_since(claimed);
        Some(Timeline {
            waited: *waited,
            woken_by: stages.woken.map(|(by, _)| by.as_str()),
            woken_before: stages.woken.map(|(_, at)| claimed.saturating_duration_since(at)),
            began_before: claimed.saturating_duration_since(stages.began),
            sent_after: stages.sent.map(after),
            accepted_after: stages.accepted.map(after),
            settled_after: after(stages.settled),
            failed: *failed,
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_remembered_and_the_reason_is_that_before_the_claim() {
        let (recent, now) = (Recent::default(), Instant::now());
        let ms = Duration::from_millis;
        let stages = Stages {
            woken: Some((WokenBy::Notification, now)),
            began: now + ms(1),
            claimed: now + ms(3),
            sent: Some(now + ms(4)),
            accepted: Some(now + ms(24)),
            settled: now + ms(26),
        };
        let one = |seq| std::iter::once((Seq(seq), Some(ms(5)), false));
        recent.settled(stages, one(1));
        assert_eq!(recent.timeline(Seq(1)), None, "nobody may look");
        recent.keep();
        recent.woken(WokenBy::Sweep);
        assert_eq!(recent.reason(now), None, "it woke later");
        assert_eq!(recent.reason(Instant::now()).map(|(by, _)| by), Some(WokenBy::Sweep));
        let most = i64::try_from(EVENTS_MAX).unwrap();
        for seq in 0..=most {
            recent.settled(stages, one(seq));
        }
        assert_eq!(recent.timeline(Seq(0)), None);
        let timeline = recent.timeline(Seq(most)).unwrap();
        assert_eq!((timeline.waited, timeline.woken_by), (Some(ms(5)), Some("notification")));
        assert_eq!(timeline.woken_before, Some(ms(3)));
        assert_eq!(
            (timeline.sent_after, timeline.accepted_after, timeline.settled_after),
            (Some(ms(1)), Some(ms(21)), ms(23))
        );
    }
}
