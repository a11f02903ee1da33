//! Latencies in a fixed 29 KB, however many: buckets that grow with the value.

use std::time::Duration;

/// Buckets from one power of two to the next: a bucket is at most 1/64 of its value wide.
const PER_OCTAVE: u64 = 64;
/// Values below this have a bucket each.
const EXACT_BELOW: u64 = 2 * PER_OCTAVE;
/// 128 exact ones, and 64 for each of the 57 octaves of a 64-bit number above.
const BUCKETS: usize = 128 + 57 * 64;

/// How often each latency occurred, in microseconds.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    highest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, highest: 0 }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.highest = self.highest.max(micros);
    }

    /// The smallest recorded latency that `percent` of all do not exceed, rounded up to its bucket's
    /// end; `None` when there are none.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(end_of(bucket).min(self.highest)))
    }
}

fn bucket_of(micros: u64) -> usize {
    let index = if micros < EXACT_BELOW {
        micros
    } else {
        let octave = u64::from(micros.ilog2()) - 7;
        EXACT_BELOW + octave * PER_OCTAVE + (micros >> (octave + 1)) - PER_OCTAVE
    };
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The highest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT_BELOW {
        return bucket;
    }
    let octave = (bucket - EXACT_BELOW) / PER_OCTAVE;
    let start = u128::from(PER_OCTAVE + (bucket - EXACT_BELOW) % PER_OCTAVE);
    u64::try_from(((start + 1) << (octave + 1)) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_latencies_have_no_percentile_and_one_has_all() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        histogram.record(Duration::from_micros(4_321));
        assert_eq!(histogram.percentile(1), Some(Duration::from_micros(4_321)));
        assert_eq!(histogram.percentile(99), Some(Duration::from_micros(4_321)));
    }

    #[test]
    fn the_extremes_have_buckets() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(BUCKETS - 1), u64::MAX);
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.percentile(50), Some(Duration::from_micros(u64::MAX)));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_and_is_narrow(micros in any::<u64>()) {
            let end = end_of(bucket_of(micros));
            prop_assert!(end >= micros);
            prop_assert!(end - micros <= micros / PER_OCTAVE);
            prop_assert!(bucket_of(micros) == 0 || end_of(bucket_of(micros) - 1) < micros);
        }

        #[test]
        fn a_percentile_is_that_of_the_sorted_values_at_most_a_64th_higher(
            mut micros in prop::collection::vec(0..100_000_000_u64, 1..300),
            percent in 1..=100_u64,
        ) {
            let mut histogram = Histogram::default();
            for value in &micros {
                histogram.record(Duration::from_micros(*value));
            }
            micros.sort_unstable();
            let rank = (micros.len() * percent as usize).div_ceil(100);
            let exact = micros[rank - 1];
            let found = histogram.percentile(percent).unwrap().as_micros() as u64;
            prop_assert!(found >= exact && found - exact <= exact / 64, "{found} for {exact}");
        }
    }
}
