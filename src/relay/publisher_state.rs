//! What is known of Ably's health: how long to pause after a failure of the whole publisher, and how
//! often to say so. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::backoff::Backoff;
use crate::domain::failure::{FailureClass, PublishFailure};

/// After an outage: soon, for most are blips; then at most every 15 s, so that recovery is seen quickly.
const OUTAGE: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));

/// After account-wide throttling: Ably's windows are a second.
const THROTTLED: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// With a bad key: somebody must act, and publishing goes on within half a minute when they have.
const CONFIGURATION: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Longest pause that a `Retry-After` may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Time between two log lines about the same trouble.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// Failures in a row, if any.
#[derive(Debug, Default)]
pub(super) struct PublisherState {
    failures: u32,
    /// End of the pause that the last of them has led to.
    until: Option<Instant>,
    class: Option<FailureClass>,
    since: Option<Instant>,
    said_at: Option<Instant>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// How long to claim nothing.
    pub(super) wait: Duration,
    /// Whether to log it: the first of its kind, and then every [`REPEAT_INTERVAL`].
    pub(super) say: bool,
}

impl PublisherState {
    /// Notes a failure of the whole publisher.
    pub(super) fn failed(&mut self, failure: &PublishFailure, now: Instant, random: u64) -> Pause {
        let backoff = match failure.class {
            FailureClass::Configuration => CONFIGURATION,
            FailureClass::ThrottledAccount => THROTTLED,
            FailureClass::Outage
            | FailureClass::Content
            | FailureClass::ThrottledChannel
            | FailureClass::Capability
            | FailureClass::Unknown => OUTAGE,
        };
        let other = self.class != Some(failure.class);
        // All batches that were out when it happened fail at once: that is one failure, not sixteen.
        let same_wave = !other && self.until.is_some_and(|until| now < until);
        self.failures = match (other, same_wave) {
            (true, _) => 1,
            (false, true) => self.failures,
            (false, false) => self.failures.saturating_add(1),
        };
        self.class = Some(failure.class);
        self.since.get_or_insert(now);
        let say = other || self.said_at.is_none_or(|at| now - at >= REPEAT_INTERVAL);
        if say {
            self.said_at = Some(now);
        }
        let asked = failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let mut wait = backoff.wait(self.failures, random);
        if let Some(until) = self.until.filter(|_| same_wave) {
            wait = wait.min(until - now);
        }
        let wait = wait.max(asked);
        self.until = Some(self.until.map_or(now + wait, |until| until.max(now + wait)));
        Pause { wait, say }
    }

    /// Notes that Ably accepted something. Returns how long it had not, when there was trouble.
    pub(super) fn accepted(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.map(|since| now - since);
        *self = Self::default();
        since
    }

    /// Whether it failed and has accepted nothing since.
    pub(super) fn is_interrupted(&self) -> bool {
        self.since.is_some()
    }

    /// Failures of the same class in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, retry_after: Option<u64>) -> PublishFailure {
        PublishFailure {
            class,
            status: None,
            code: None,
            message: "no".into(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_grow_and_start_again_after_success() {
        let begun = Instant::now();
        let mut now = begun;
        let mut state = PublisherState::default();
        let outage = failure(FailureClass::Outage, None);
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let wait = state.failed(&outage, now, 0).wait;
                now += wait;
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [125, 250, 500, 1_000]);
        assert_eq!(state.accepted(begun + Duration::from_secs(3)), Some(Duration::from_secs(3)));
        assert_eq!(state.accepted(now), None);
        assert_eq!(state.failed(&outage, now, 0).wait.as_millis(), 125);
    }

    #[test]
    fn batches_that_fail_together_are_one_failure() {
        let now = Instant::now();
        let mut state = PublisherState::default();
        let outage = failure(FailureClass::Outage, None);
        for n in 0..16 {
            let at = now + Duration::from_millis(n);
            assert!(at + state.failed(&outage, at, 0).wait <= now + Duration::from_millis(125));
        }
        let later = now + Duration::from_millis(125);
        assert_eq!((state.failures(), state.failed(&outage, later, 0).wait.as_millis()), (1, 250));
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        let now = Instant::now();
        let mut state = PublisherState::default();
        let throttled = failure(FailureClass::ThrottledAccount, Some(7));
        assert_eq!(state.failed(&throttled, now, 0).wait, Duration::from_secs(7));
        let absurd = failure(FailureClass::ThrottledAccount, Some(86_400));
        assert_eq!(state.failed(&absurd, now, 0).wait, RETRY_AFTER_MAX);
    }

    #[test]
    fn the_same_trouble_is_said_once_in_a_while_and_another_at_once() {
        let now = Instant::now();
        let mut state = PublisherState::default();
        let outage = failure(FailureClass::Outage, None);
        assert!(state.failed(&outage, now, 0).say);
        assert!(!state.failed(&outage, now + Duration::from_secs(1), 0).say);
        assert!(state.failed(&outage, now + REPEAT_INTERVAL, 0).say);
        let key = failure(FailureClass::Configuration, None);
        assert!(state.failed(&key, now + REPEAT_INTERVAL, 0).say);
    }
}
