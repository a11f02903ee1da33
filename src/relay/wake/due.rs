//! When holds end: every one of them, not only the next, for nobody says it again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Times kept at most: a second's worth of them at [`GRID`], and four.
const TIMES_MAX: usize = 4_096;

/// Times within one step of this are one: as fine as the clock that wakes us.
const GRID: Duration = Duration::from_millis(1);

/// Times at which something falls due.
#[derive(Debug, Clone)]
pub(super) struct DueTimes {
    origin: Instant,
    /// Steps of the grid since the origin.
    steps: BTreeSet<u128>,
}

impl DueTimes {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, steps: BTreeSet::new() }
    }

    /// Adds one. It is never taken early; when there are too many, it waits for the next one that is
    /// there, and the last for the one behind it.
    pub(super) fn add(&mut self, at: Instant) {
        let since = at.saturating_duration_since(self.origin).as_nanos();
        let step = since.div_ceil(GRID.as_nanos());
        if self.steps.len() >= TIMES_MAX {
            if self.steps.range(step..).next().is_some() {
                return;
            }
            self.steps.pop_last();
        }
        self.steps.insert(step);
    }

    /// Takes all that are due and says whether there were any.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let step = now.saturating_duration_since(self.origin).as_nanos() / GRID.as_nanos();
        let later = self.steps.split_off(&(step + 1));
        let due = std::mem::replace(&mut self.steps, later);
        !due.is_empty()
    }

    /// The next one.
    pub(super) fn next(&self) -> Option<Instant> {
        let step = u64::try_from(*self.steps.first()?).unwrap_or(u64::MAX);
        Some(self.origin + Duration::from_millis(step))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many there are and however they lie: after each of them something is taken, not earlier.
        #[test]
        fn each_time_is_taken_at_it_or_after_it(
            times in proptest::collection::vec(0..9_000_000_u64, 1..200),
            crowd in 0..TIMES_MAX + 10,
        ) {
            let origin = Instant::now();
            let mut due = DueTimes::new(origin);
            for n in 0..crowd {
                due.add(origin + Duration::from_millis(n as u64 * 2));
            }
            let times: Vec<Instant> = times.iter().map(|us| origin + Duration::from_micros(*us)).collect();
            times.iter().for_each(|at| due.add(*at));
            prop_assert!(due.steps.len() <= TIMES_MAX);
            let mut taken = Vec::new();
            while let Some(at) = due.next() {
                prop_assert!(due.take(at));
                taken.push(at);
            }
            for at in times {
                prop_assert!(taken.iter().any(|taken| *taken >= at), "{:?} was never due", at - origin);
            }
        }
    }

    #[test]
    fn nothing_is_due_early_and_the_next_is_said() {
        let origin = Instant::now();
        let mut due = DueTimes::new(origin);
        due.add(origin + Duration::from_micros(20_500));
        due.add(origin + Duration::from_millis(40));
        assert!(!due.take(origin + Duration::from_micros(20_499)));
        assert_eq!(due.next(), Some(origin + Duration::from_millis(21)));
        assert!(due.take(origin + Duration::from_millis(21)));
        assert_eq!(due.next(), Some(origin + Duration::from_millis(40)));
        assert!(due.take(origin + Duration::from_millis(41)));
        assert_eq!((due.next(), due.take(origin + Duration::from_secs(9))), (None, false));
    }
}
