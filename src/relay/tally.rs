//! What the charts of a dashboard are made of: the metrics' counters once more, where they can be read, and a
//! histogram that is fine enough for percentiles. Bounded, and without a tenant.

use std::collections::BTreeMap;
use std::time::Duration;

/// Reasons to wake that are told apart, in the order of [`super::metrics::WAKE_REASONS`].
pub const REASONS: usize = 6;

/// Steps of the latency histogram: four an octave from 0.1 ms on, so up to 1,678 s, each percentile within 10 %.
const STEPS: usize = 96;
const STEPS_PER_OCTAVE: f64 = 4.0;
const FIRST_STEP_SECONDS: f64 = 0.000_1;

/// Error codes that are told apart; the rest is counted as `other`.
const CODES_MAX: usize = 50;

/// Everything since the relay began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Events published.
    pub published: u64,
    /// Events failed for good.
    pub failed: u64,
    /// Events that only the sweep found.
    pub swept: u64,
    /// Publishes refused because of a channel's rate.
    pub throttled_channel: u64,
    /// Publishes refused because of the account's rate.
    pub throttled_account: u64,
    /// Reasons to wake.
    pub woken: [u64; REASONS],
    /// Failed events by code: Ably's where there is one.
    pub codes: BTreeMap<String, u64>,
    latency: [u64; STEPS],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            published: 0,
            failed: 0,
            swept: 0,
            throttled_channel: 0,
            throttled_account: 0,
            woken: [0; REASONS],
            codes: BTreeMap::new(),
            latency: [0; STEPS],
        }
    }
}

impl Counts {
    pub(super) fn failed_with(&mut self, code: &str) {
        self.failed += 1;
        let known = self.codes.contains_key(code) || self.codes.len() < CODES_MAX;
        *self.codes.entry(if known { code } else { "other" }.to_owned()).or_default() += 1;
    }

    pub(super) fn waited(&mut self, waited: Duration) {
        if let Some(step) = self.latency.get_mut(step_of(waited.as_secs_f64())) {
            *step += 1;
        }
    }

    /// The latency in seconds below which this share of the events since `earlier` was; `None` without any.
    pub fn percentile(&self, earlier: &Self, share: f64) -> Option<f64> {
        let since = || self.latency.iter().zip(&earlier.latency).map(|(now, then)| now - then);
        let all: u64 = since().sum();
        let wanted = rank(all, share)?;
        let mut below = 0;
        let step = since().position(|count| {
            below += count;
            below >= wanted
        })?;
        Some(middle_of(step))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of events of a second or fifteen, times a share"
)]
fn rank(all: u64, share: f64) -> Option<u64> {
    (all > 0).then(|| ((all as f64 * share).ceil() as u64).clamp(1, all))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and the number of steps"
)]
fn step_of(seconds: f64) -> usize {
    let octaves = (seconds.max(FIRST_STEP_SECONDS) / FIRST_STEP_SECONDS).log2();
    (octaves * STEPS_PER_OCTAVE).floor().clamp(0.0, (STEPS - 1) as f64) as usize
}

#[expect(clippy::cast_precision_loss, reason = "fewer than a hundred steps")]
fn middle_of(step: usize) -> f64 {
    FIRST_STEP_SECONDS * ((step as f64 + 0.5) / STEPS_PER_OCTAVE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_tenth_of_what_was_measured_since() {
        let mut earlier = Counts::default();
        earlier.waited(Duration::from_secs(100));
        let mut now = earlier.clone();
        assert_eq!(now.percentile(&earlier, 0.5), None, "nothing since");
        for ms in 1..=1_000 {
            now.waited(Duration::from_millis(ms));
        }
        for (share, expected) in [(0.5, 0.5), (0.99, 0.99), (0.01, 0.01), (1.0, 1.0)] {
            let found = now.percentile(&earlier, share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.1, "{share}: {found}");
        }
    }

    #[test]
    fn whatever_was_waited_has_a_step() {
        for seconds in [0.0, 0.000_01, 0.000_1, 1.0, 1e9, f64::INFINITY] {
            assert!(step_of(seconds) < STEPS, "{seconds}");
        }
    }

    #[test]
    fn codes_are_bounded() {
        let mut counts = Counts::default();
        for code in 0..1_000 {
            counts.failed_with(&code.to_string());
        }
        assert_eq!((counts.codes.len(), counts.failed), (CODES_MAX + 1, 1_000));
        assert_eq!(counts.codes["other"], 950);
    }
}
