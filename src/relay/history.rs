//! Rings of samples: the last ten minutes second by second, the last six hours in steps of 15 s. Some 350 KiB,
//! whatever happens.

use std::collections::VecDeque;

use super::tally::{Counts, REASONS};

/// Samples of a second each: ten minutes.
const FINE_MAX: usize = 600;

/// Seconds of one coarse sample.
pub const COARSE_SECONDS: u32 = 15;

/// Samples of 15 s each: six hours.
const COARSE_MAX: usize = 1_440;

/// What the last look at the database has seen, as charts show it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level {
    /// Pending events, as far as they are counted.
    pub pending: i64,
    /// Age of the oldest, in seconds; 0 when nothing waits.
    pub oldest_seconds: f64,
    /// Failed events about which nobody has decided.
    pub dead_letters: i64,
}

/// One step of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When it ended, in seconds since 1970 by this machine's clock, for the axis alone.
    pub at: i64,
    /// Events published in it.
    pub published: u64,
    /// Events failed for good in it.
    pub failed: u64,
    /// Events that only the sweep found.
    pub swept: u64,
    /// Publishes refused because of a channel's rate.
    pub throttled_channel: u64,
    /// Publishes refused because of the account's rate.
    pub throttled_account: u64,
    /// Reasons to wake.
    pub woken: [u64; REASONS],
    /// Median of commit to acceptance, in seconds; `None` when nothing was published.
    pub p50: Option<f64>,
    /// The same, 99th percentile.
    pub p99: Option<f64>,
    /// What the database had at its end; `None` when it is not known.
    pub level: Option<Level>,
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Ten minutes, second by second.
    Minutes,
    /// Six hours, in steps of 15 s.
    Hours,
}

/// Both rings.
#[derive(Debug, Default)]
pub(super) struct History {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
    last: Counts,
    last_coarse: Counts,
    seconds: u32,
}

impl History {
    /// A second has passed.
    pub(super) fn tick(&mut self, at: i64, counts: Counts, level: Option<Level>) {
        push(&mut self.fine, FINE_MAX, between(at, &self.last, &counts, level));
        self.seconds += 1;
        if self.seconds >= COARSE_SECONDS {
            self.seconds = 0;
            push(&mut self.coarse, COARSE_MAX, between(at, &self.last_coarse, &counts, level));
            self.last_coarse = counts.clone();
        }
        self.last = counts;
    }

    /// Oldest first.
    pub(super) fn samples(&self, span: Span) -> Vec<Sample> {
        let ring = match span {
            Span::Minutes => &self.fine,
            Span::Hours => &self.coarse,
        };
        ring.iter().cloned().collect()
    }

    pub(super) fn newest(&self) -> Option<Sample> {
        self.fine.back().cloned()
    }
}

fn push(ring: &mut VecDeque<Sample>, most: usize, sample: Sample) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(sample);
}

fn between(at: i64, then: &Counts, now: &Counts, level: Option<Level>) -> Sample {
    Sample {
        at,
        published: now.published - then.published,
        failed: now.failed - then.failed,
        swept: now.swept - then.swept,
        throttled_channel: now.throttled_channel - then.throttled_channel,
        throttled_account: now.throttled_account - then.throttled_account,
        woken: std::array::from_fn(|reason| now.woken[reason] - then.woken[reason]),
        p50: now.percentile(then, 0.5),
        p99: now.percentile(then, 0.99),
        level,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_day_fills_the_rings_and_no_more_and_nothing_is_counted_twice() {
        let (mut history, mut counts) = (History::default(), Counts::default());
        for second in 0..86_400 {
            counts.published += 2;
            counts.waited(Duration::from_millis(5));
            history.tick(second, counts.clone(), None);
        }
        let (fine, coarse) = (history.samples(Span::Minutes), history.samples(Span::Hours));
        assert_eq!((fine.len(), coarse.len()), (FINE_MAX, COARSE_MAX));
        assert!(fine.iter().all(|sample| sample.published == 2 && sample.p99.is_some()));
        assert!(coarse.iter().all(|sample| sample.published == 30));
        assert_eq!((fine[0].at, fine[FINE_MAX - 1].at), (86_400 - 600, 86_399));
        assert_eq!(history.newest().map(|sample| sample.at), Some(86_399));
    }
}
