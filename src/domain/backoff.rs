//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff with full jitter's lower half kept: the wait lies between half of the
/// current step and the step, so that many relays spread out and none hammers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
}

impl Backoff {
    /// A backoff whose first step is `first` and whose steps double up to `cap`.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap }
    }

    /// The wait after `failures` failures in a row (1 is the first), with `random` for the jitter.
    /// Never zero, never longer than the cap, and no overflow at any count.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let step = self.first.saturating_mul(1 << doublings).min(self.cap);
        let half = step / 2;
        let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        (half + Duration::from_micros(random % span)).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));

    #[test]
    fn steps_double_up_to_the_cap() {
        assert_eq!(BACKOFF.wait(1, 0), Duration::from_millis(50));
        assert_eq!(BACKOFF.wait(2, 0), Duration::from_millis(100));
        assert_eq!(BACKOFF.wait(20, 0), Duration::from_millis(7_500));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_zero_nor_over_the_cap(failures in 0..u32::MAX, random: u64) {
            let wait = BACKOFF.wait(failures, random);
            prop_assert!(wait >= Duration::from_millis(1) && wait <= Duration::from_secs(15));
        }

        #[test]
        fn jitter_spreads_at_the_cap(a: u64, b: u64) {
            prop_assume!(a % 7_500_000 != b % 7_500_000);
            prop_assert_ne!(BACKOFF.wait(40, a), BACKOFF.wait(40, b));
        }
    }
}
