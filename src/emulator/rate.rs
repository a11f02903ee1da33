//! What one channel may publish in a second, in publishes and in bytes.

/// A bucket of one second's worth that refills evenly: a burst of `rate`, then `rate` a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimit {
    /// In thousandths of a unit, so that refilling by milliseconds needs no fractions.
    available: u64,
    refilled_ms: u64,
}

impl RateLimit {
    /// A full bucket.
    pub(super) fn full(rate_per_second: u64, now_ms: u64) -> Self {
        Self { available: rate_per_second.saturating_mul(1_000), refilled_ms: now_ms }
    }

    /// Takes an amount; `false`, and nothing taken, when there is less. An amount above the rate passes
    /// with a full bucket, or it could never.
    pub(super) fn take(&mut self, rate_per_second: u64, amount: u64, now_ms: u64) -> bool {
        let full = rate_per_second.saturating_mul(1_000);
        let passed = now_ms.saturating_sub(self.refilled_ms);
        let refill = passed.saturating_mul(rate_per_second);
        self.available = self.available.saturating_add(refill).min(full);
        self.refilled_ms = self.refilled_ms.max(now_ms);
        let wanted = amount.saturating_mul(1_000).min(full);
        let taken = self.available >= wanted;
        if taken {
            self.available -= wanted;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_has_its_rate_and_no_more() {
        let mut limit = RateLimit::full(50, 0);
        assert_eq!((0..60).filter(|_| limit.take(50, 1, 0)).count(), 50);
        assert!(!limit.take(50, 1, 19));
        assert!(limit.take(50, 1, 20));
        assert_eq!((0..60).filter(|_| limit.take(50, 1, 10_000)).count(), 50, "no saving up");
        assert!(limit.take(50, 51, 20_000), "what is larger than the rate passes alone");
        assert!(!limit.take(50, 1, 20_000));
    }

    proptest! {
        #[test]
        fn no_span_has_more_than_a_burst_and_its_rate(
            steps in prop::collection::vec(0..100_u64, 1..300), rate in 1..100_u64,
        ) {
            let mut limit = RateLimit::full(rate, 0);
            let (mut now, mut taken) = (0, 0);
            for step in steps {
                now += step;
                taken += u64::from(limit.take(rate, 1, now));
            }
            prop_assert!(taken * 1_000 <= rate * (1_000 + now));
        }
    }
}
