//! How fast: a token bucket for each channel, so that Ably's rate per channel is rarely hit, and a rate of
//! requests for the account that halves when Ably says so and grows back slowly. Pure.
//!
//! Each relay has its own; several relays together may still be refused (42913, 42917), which a hold or a
//! pause then answers.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::event::TenantId;

/// Publishes that a channel may be ahead of its rate. With the default rate of 45 no second sees more
/// than Ably's 50.
const BURST: f64 = 5.0;

/// Buckets beyond which those that are full again are thrown away.
const BUCKETS_MAX: usize = 10_000;

/// Token buckets by tenant. A group counts as one publish, as it does at Ably.
#[derive(Debug)]
pub(super) struct ChannelPace {
    /// Publishes a second; `None` is no limit.
    rate: Option<f64>,
    buckets: HashMap<TenantId, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn at(self, now: Instant, rate: f64) -> f64 {
        (self.tokens + rate * now.saturating_duration_since(self.at).as_secs_f64()).min(BURST)
    }
}

impl ChannelPace {
    /// `per_second` publishes; 0 is no limit.
    pub(super) fn new(per_second: u32) -> Self {
        let rate = (per_second > 0).then(|| f64::from(per_second));
        Self { rate, buckets: HashMap::new() }
    }

    /// Goes on at another rate. What a channel is ahead of the old one counts no more.
    pub(super) fn set_rate(&mut self, per_second: u32) {
        *self = Self::new(per_second);
    }

    /// Takes a token for a publish that was sent. Returns when the tenant may publish again, when that
    /// is not now.
    pub(super) fn sent(&mut self, tenant: &TenantId, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let before = self.buckets.get(tenant).map_or(BURST, |bucket| bucket.at(now, rate));
        let bucket = Bucket { tokens: before - 1.0, at: now };
        self.buckets.insert(tenant.clone(), bucket);
        if self.buckets.len() > BUCKETS_MAX {
            self.buckets.retain(|_, bucket| bucket.at(now, rate) < BURST);
        }
        let missing = 1.0 - bucket.tokens;
        (missing > 0.0).then(|| now + Duration::from_secs_f64(missing / rate))
    }

    /// Tenants that may not publish now.
    pub(super) fn exhausted(&mut self, now: Instant) -> Vec<TenantId> {
        let Some(rate) = self.rate else { return Vec::new() };
        // What rounding takes from the time that `sent` has named must not make it early.
        let without = |bucket: &Bucket| bucket.at(now, rate) < 1.0 - 1e-6;
        let found = self.buckets.iter().filter(|(_, bucket)| without(bucket));
        found.map(|(tenant, _)| tenant.clone()).collect()
    }
}

/// Slowest rate to which throttling of the account leads, in batches a second.
const ACCOUNT_RATE_MIN: f64 = 1.0;

/// What is added to the rate each second while Ably accepts.
const ACCOUNT_RATE_STEP: f64 = 5.0;

/// Beyond this there is no need to pace: no plan allows more requests a second (Pro: 1,447).
const ACCOUNT_RATE_MAX: f64 = 1_500.0;

/// Additive increase, multiplicative decrease of the rate of batches.
#[derive(Debug)]
pub(super) struct AccountPace {
    /// Batches a second; `None` until Ably has throttled the account.
    rate: Option<f64>,
    /// Batches a second as they were, smoothed: what the first decrease starts from.
    observed: f64,
    last: Instant,
    grown_at: Instant,
}

impl AccountPace {
    pub(super) fn new(now: Instant) -> Self {
        Self { rate: None, observed: ACCOUNT_RATE_MIN, last: now, grown_at: now }
    }

    /// Notes that a batch starts. Returns when the next one may.
    pub(super) fn started(&mut self, now: Instant) -> Option<Instant> {
        let gap = now.saturating_duration_since(self.last).as_secs_f64().max(0.001);
        // Smoothed over about a second, whatever the rate.
        let weight = gap.min(1.0);
        self.observed += weight * (1.0 / gap - self.observed);
        self.last = now;
        self.rate.map(|rate| now + Duration::from_secs_f64(1.0 / rate))
    }

    /// Notes that Ably has throttled the account.
    pub(super) fn throttled(&mut self, now: Instant) {
        let from = self.rate.unwrap_or(self.observed);
        self.rate = Some((from / 2.0).max(ACCOUNT_RATE_MIN));
        self.grown_at = now;
    }

    /// Notes that Ably has accepted something.
    pub(super) fn accepted(&mut self, now: Instant) {
        let Some(rate) = self.rate else { return };
        // Long silence is no evidence that more is allowed: at most one step a notice.
        let seconds = now.saturating_duration_since(self.grown_at).as_secs_f64().min(1.0);
        let rate = rate + ACCOUNT_RATE_STEP * seconds;
        self.rate = (rate < ACCOUNT_RATE_MAX).then_some(rate);
        self.grown_at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut pace = ChannelPace::new(45);
        for _ in 0..4 {
            assert_eq!(pace.sent(&tenant("a"), start), None);
        }
        let next = pace.sent(&tenant("a"), start).expect("the bucket is empty");
        assert!((next - start).as_secs_f64() <= 1.0 / 45.0 + 0.001);
        assert_eq!(pace.exhausted(start), [tenant("a")]);
        assert_eq!(pace.sent(&tenant("b"), start), None, "others are not concerned");
        assert_eq!(pace.exhausted(next + Duration::from_millis(1)), []);
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_no_memory() {
        let now = Instant::now();
        let mut pace = ChannelPace::new(0);
        for n in 0..1_000 {
            assert_eq!(pace.sent(&tenant(&n.to_string()), now), None);
        }
        assert!(pace.exhausted(now).is_empty() && pace.buckets.is_empty());
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let mut now = Instant::now();
        let mut pace = ChannelPace::new(45);
        for n in 0..3 * BUCKETS_MAX {
            now += Duration::from_millis(1);
            pace.sent(&tenant(&n.to_string()), now);
            assert!(pace.buckets.len() <= BUCKETS_MAX + 1);
        }
    }

    #[test]
    fn the_account_rate_halves_at_once_and_grows_slowly() {
        let mut now = Instant::now();
        let mut pace = AccountPace::new(now);
        for _ in 0..200 {
            now += Duration::from_millis(10);
            assert_eq!(pace.started(now), None, "no pacing before Ably asks for it");
        }
        pace.throttled(now);
        let gap = |pace: &mut AccountPace, now| (pace.started(now).unwrap() - now).as_secs_f64();
        let halved = gap(&mut pace, now);
        assert!((0.015..0.035).contains(&halved), "half of about 100 a second: {halved}");
        for _ in 0..10 {
            pace.throttled(now);
        }
        assert!(
            (gap(&mut pace, now) - 1.0 / ACCOUNT_RATE_MIN).abs() < 0.001,
            "never slower than that"
        );
        for _ in 0..3 {
            now += Duration::from_secs(1);
            pace.accepted(now);
        }
        assert!((gap(&mut pace, now) - 1.0 / 16.0).abs() < 0.001);
        for _ in 0..300 {
            now += Duration::from_secs(1);
            pace.accepted(now);
        }
        assert_eq!(pace.started(now), None, "in the end it is forgotten");
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_rate_and_burst(gaps in proptest::collection::vec(0..60_u64, 1..400)) {
            let mut now = Instant::now();
            let mut pace = ChannelPace::new(45);
            let mut sent: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if pace.exhausted(now).is_empty() {
                    pace.sent(&tenant("a"), now);
                    sent.push(now);
                }
            }
            for (index, from) in sent.iter().enumerate() {
                let within = sent[index..].iter().filter(|at| **at - *from < Duration::from_secs(1));
                prop_assert!(within.count() <= 50);
            }
        }
    }
}
