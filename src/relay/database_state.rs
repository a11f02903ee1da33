//! How long PostgreSQL has been out of reach, when to try again, and how often to say so.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::news::News;
use super::publisher_state::Pause;

/// Delays between attempts: jittered, so that a fleet of relays does not storm a server that has just
/// come back; capped low, because a failover takes seconds and events wait.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(RETRY_FIRST)
    .with_max_delay(RETRY_CAP)
    .without_max_times();
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(3);

/// Failures in a row, if any.
#[derive(Debug, Default)]
pub(super) struct DatabaseState {
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    said: bool,
    news: News,
    delays: ExponentialBackoff,
    /// Several batches fail together when a server goes; they count as one attempt.
    next_attempt: Instant,
    wait: Duration,
}

impl DatabaseState {
    /// Notes a failure with this cause.
    pub(super) fn failed(&mut self, cause: &str, now: Instant) -> Pause {
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: now,
            said: false,
            news: News::default(),
            delays: RETRY.build(),
            next_attempt: now,
            wait: Duration::ZERO,
        });
        if trouble.next_attempt <= now {
            trouble.wait = trouble.delays.next().unwrap_or(RETRY_CAP);
            trouble.next_attempt = now + trouble.wait;
        }
        // A single lost connection is routine (a pooler's idle limit, a backend ended); two are trouble.
        let say = now > trouble.since && trouble.news.is_new(cause, now);
        trouble.said |= say;
        Pause { wait: trouble.next_attempt.saturating_duration_since(now), say }
    }

    /// Notes success. Returns how long it had been out of reach, when that was said.
    pub(super) fn worked(&mut self, now: Instant) -> Option<Duration> {
        let trouble = self.trouble.take()?;
        trouble.said.then(|| now - trouble.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_at_once_are_one_attempt() {
        let now = Instant::now();
        let mut state = DatabaseState::default();
        let first = state.failed("gone", now).wait;
        assert!(first >= RETRY_FIRST);
        assert_eq!(state.failed("gone", now).wait, first);
        assert!(state.failed("gone", now + first).wait >= 2 * RETRY_FIRST);
    }

    #[test]
    fn a_single_lost_connection_is_not_news() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut state = DatabaseState::default();
        assert!(!state.failed("gone", now).say);
        assert_eq!(state.worked(later), None);
        assert!(!state.failed("gone", now).say);
        assert!(state.failed("gone", later).say);
        assert!(!state.failed("gone", later + Duration::from_secs(1)).say);
        assert!(state.failed("refused", later + Duration::from_secs(1)).say);
        assert_eq!(state.worked(later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_wait_stays_bounded() {
        let mut now = Instant::now();
        let mut state = DatabaseState::default();
        for _ in 0..100 {
            let wait = state.failed("gone", now).wait;
            assert!(wait <= 2 * RETRY_CAP, "{wait:?}");
            now += wait;
        }
    }
}
