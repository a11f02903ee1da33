//! What was committed, what arrived, and what that says: duplicates, order, latency. Pure.
//!
//! Memory is bounded however long a session is: an event is remembered from its commit to its first
//! arrival and no longer. That is enough for exact counts, because the sample producer's events are
//! known by their aggregate id: one of them that is not awaited has arrived before. Rejected: a ring of
//! recent ids (forgets, so it counts a late duplicate as new) and all ids (600 kB a minute at 200/s).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::latency::Histogram;

/// Counts of a session, all of the sample producer's events.
#[derive(Debug, Default)]
pub struct Report {
    awaited: HashMap<String, Awaited>,
    /// By tenant: position of the next event to be committed.
    committed: HashMap<String, u64>,
    /// By tenant: the highest position that has arrived.
    arrived: HashMap<String, u64>,
    delivered: u64,
    duplicates: u64,
    out_of_order: u64,
    latency: Histogram,
}

#[derive(Debug)]
struct Awaited {
    tenant: String,
    position: u64,
    commit: Instant,
}

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of this event.
    First {
        /// From the moment its COMMIT was sent.
        latency: Duration,
    },
    /// Another one of an event that has arrived before.
    Duplicate,
}

/// The numbers at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Events that arrived, each counted once.
    pub delivered: u64,
    /// Arrivals beyond the first of an event.
    pub duplicates: u64,
    /// Events that arrived after a later one of their tenant.
    pub out_of_order: u64,
}

/// Percentiles of the latency, each at most 1.6 % above the true one and never below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the events were faster.
    pub p50: Duration,
    /// 95 of 100 were.
    pub p95: Duration,
    /// 99 of 100 were.
    pub p99: Duration,
}

impl Report {
    /// The COMMIT of an event is about to be sent. Before and not after it: the event may arrive
    /// before the answer does, and a latency that is too high by one round trip is honest.
    pub fn committing(&mut self, id: &str, tenant: &str, now: Instant) {
        let next = self.committed.entry(tenant.to_owned()).or_default();
        let awaited = Awaited { tenant: tenant.to_owned(), position: *next, commit: now };
        *next += 1;
        self.awaited.insert(id.to_owned(), awaited);
    }

    /// One of the sample producer's events has arrived.
    pub fn arrived(&mut self, id: &str, now: Instant) -> Arrival {
        let Some(awaited) = self.awaited.remove(id) else {
            self.duplicates += 1;
            return Arrival::Duplicate;
        };
        self.delivered += 1;
        let highest = self.arrived.entry(awaited.tenant).or_default();
        if awaited.position < *highest {
            self.out_of_order += 1;
        }
        *highest = (*highest).max(awaited.position);
        let latency = now.saturating_duration_since(awaited.commit);
        self.latency.record(latency);
        Arrival::First { latency }
    }

    /// Events that were committed and have not arrived.
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered,
            duplicates: self.duplicates,
            out_of_order: self.out_of_order,
        }
    }

    /// The latencies so far; `None` before the first arrival.
    pub fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles {
            p50: self.latency.percentile(50)?,
            p95: self.latency.percentile(95)?,
            p99: self.latency.percentile(99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(delivered: u64, duplicates: u64, out_of_order: u64) -> Counts {
        Counts { delivered, duplicates, out_of_order }
    }

    /// Commits events `0..n`, turn by turn for two tenants.
    fn committed(n: usize) -> Report {
        let mut report = Report::default();
        for event in 0..n {
            report.committing(&event.to_string(), ["a", "b"][event % 2], Instant::now());
        }
        report
    }

    #[test]
    fn an_undisturbed_session_has_neither_duplicates_nor_disorder() {
        let mut report = committed(4);
        // Between tenants there is no order.
        for id in ["1", "3", "0", "2"] {
            assert!(matches!(report.arrived(id, Instant::now()), Arrival::First { .. }));
        }
        assert_eq!(report.counts(), counts(4, 0, 0));
        assert_eq!(report.awaited(), 0);
    }

    #[test]
    fn an_event_behind_a_later_one_of_its_tenant_is_out_of_order() {
        let mut report = committed(6);
        for id in ["2", "0", "4", "1", "3", "5"] {
            report.arrived(id, Instant::now());
        }
        assert_eq!(report.counts(), counts(6, 0, 1));
    }

    #[test]
    fn a_second_arrival_is_a_duplicate_and_nothing_else() {
        let mut report = committed(4);
        for id in ["0", "2", "0"] {
            report.arrived(id, Instant::now());
        }
        assert_eq!(report.arrived("2", Instant::now()), Arrival::Duplicate);
        assert_eq!(report.counts(), counts(2, 2, 0));
        assert_eq!(report.awaited(), 2);
    }

    #[test]
    fn latency_counts_from_the_commit() {
        let (mut report, start) = (Report::default(), Instant::now());
        assert_eq!(report.percentiles(), None);
        report.committing("0", "a", start);
        let latency = Duration::from_millis(7);
        assert_eq!(report.arrived("0", start + latency), Arrival::First { latency });
        assert_eq!(report.percentiles().unwrap().p99, latency);
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_counted_once_and_remembered_no_longer(
            arrivals in prop::collection::vec(0..40_usize, 0..200),
        ) {
            let mut report = committed(40);
            for id in &arrivals {
                report.arrived(&id.to_string(), Instant::now());
            }
            let distinct = arrivals.iter().collect::<std::collections::HashSet<_>>().len();
            let counts = report.counts();
            prop_assert_eq!(counts.delivered, distinct as u64);
            prop_assert_eq!(counts.duplicates, (arrivals.len() - distinct) as u64);
            prop_assert_eq!(report.awaited(), 40 - distinct);
        }
    }
}
