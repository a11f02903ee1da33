//! From what is in the table and what came at the subscriber to what was lost, doubled or out of
//! order. Pure, and so tested for being able to fail.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::row::Doubles;
use super::subscriber::Delivery;

/// A row of the outbox when all is over.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) status: String,
    /// Its payload says that it can never be published.
    pub(crate) poison: bool,
}

/// What else is left when all is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left {
    /// Rows of `in_flight` and `hold`.
    pub(crate) records: i64,
    /// Server processes of the relays.
    pub(crate) connections: i64,
    /// Processes of the relays.
    pub(crate) processes: usize,
    /// Events of commits that were acknowledged and are not in the table.
    pub(crate) forgotten_commits: usize,
    /// Whatever else went wrong, each a line.
    pub(crate) complaints: Vec<String>,
}

/// What happened in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) events: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) out_of_order: usize,
    /// Delivered, and no row says that it was ever committed.
    pub(crate) never_committed: usize,
    /// Neither published nor, if it can never be, failed.
    pub(crate) unsettled: usize,
    pub(crate) left: Left,
    /// The first event of each kind of fault, for a human.
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    /// `stored` by position; `unordered` names the tenants whose order is not promised.
    pub(crate) fn new(
        stored: &[Stored],
        got: &[Delivery],
        unordered: &HashSet<String>,
        left: Left,
    ) -> Self {
        let mut verdict = Self { events: stored.len(), left, ..Self::default() };
        let places: HashMap<&str, usize> =
            stored.iter().enumerate().map(|(place, row)| (row.id.as_str(), place)).collect();
        let mut seen: HashMap<&str, Instant> = HashMap::new();
        let mut highest: HashMap<&str, usize> = HashMap::new();
        for delivery in got {
            let place = places.get(delivery.id.as_str());
            let Some(place) = place.filter(|_| !delivery.gone) else {
                verdict.never_committed += 1;
                verdict.example("never committed", &delivery.id, &delivery.tenant);
                continue;
            };
            if let Some(first) = seen.insert(&delivery.id, delivery.at) {
                verdict.doubled += 1;
                // How far apart says who repeated it: the relay that took it over, or one that was late.
                let apart = delivery.at.duration_since(first).as_secs_f64();
                let tenant = format!("{}, {apart:.1} s apart", delivery.tenant);
                verdict.example("doubled", &delivery.id, &tenant);
                continue;
            }
            let highest = highest.entry(&delivery.tenant).or_insert(*place);
            if *place < *highest && !unordered.contains(&delivery.tenant) {
                verdict.out_of_order += 1;
                verdict.example("out of order", &delivery.id, &delivery.tenant);
            }
            *highest = (*highest).max(*place);
        }
        for row in stored {
            if !row.poison && !seen.contains_key(row.id.as_str()) {
                verdict.lost += 1;
                verdict.example("lost", &row.id, &row.tenant);
            }
            if row.poison && seen.contains_key(row.id.as_str()) {
                verdict.never_committed += 1;
                verdict.example("delivered though it cannot be", &row.id, &row.tenant);
            }
            if row.status != if row.poison { "failed" } else { "published" } {
                verdict.unsettled += 1;
                verdict.example(&format!("settled as {}", row.status), &row.id, &row.tenant);
            }
        }
        verdict
    }

    fn example(&mut self, what: &str, id: &str, tenant: &str) {
        if !self.examples.iter().any(|line| line.starts_with(what)) {
            self.examples.push(format!("{what}: event {id} of {tenant}"));
        }
    }

    /// Whether all that was promised held.
    pub(crate) fn is_green(&self, doubles: Doubles) -> bool {
        let left = &self.left;
        self.events > 0
            && self.lost + self.out_of_order + self.never_committed + self.unsettled == 0
            && (self.doubled == 0 || doubles == Doubles::ByContract)
            && left.records + left.connections == 0
            && left.processes + left.forgotten_commits + left.complaints.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(ids: &[&str]) -> Vec<Stored> {
        let row = |id: &&str| Stored {
            id: (*id).to_owned(),
            tenant: "t".into(),
            status: if id.contains('p') { "failed" } else { "published" }.into(),
            poison: id.contains('p'),
        };
        ids.iter().map(row).collect()
    }

    fn verdict(rows: &[&str], got: &[&str]) -> Verdict {
        let delivery = |id: &&str| Delivery {
            id: (*id).to_owned(),
            tenant: "t".into(),
            gone: false,
            at: Instant::now(),
        };
        let got: Vec<_> = got.iter().map(delivery).collect();
        Verdict::new(&stored(rows), &got, &HashSet::new(), Left::default())
    }

    #[test]
    fn a_run_in_which_all_held_is_green_and_each_fault_is_red() {
        assert!(verdict(&["1", "2p", "3"], &["1", "3"]).is_green(Doubles::None));
        for (rows, got, counts) in [
            (&["1", "2"][..], &["1"][..], [1, 0, 0, 0]),
            (&["1", "2"], &["1", "2", "1"], [0, 1, 0, 0]),
            (&["1", "2"], &["2", "1"], [0, 0, 1, 0]),
            (&["1"], &["1", "9"], [0, 0, 0, 1]),
            (&["1", "2p"], &["1", "2p"], [0, 0, 0, 1]),
        ] {
            let v = verdict(rows, got);
            assert_eq!([v.lost, v.doubled, v.out_of_order, v.never_committed], counts, "{got:?}");
            assert!(!v.is_green(Doubles::None) && v.examples.len() == 1, "{got:?}");
        }
        assert!(verdict(&["1"], &["1", "1"]).is_green(Doubles::ByContract));
        assert!(!verdict(&[], &[]).is_green(Doubles::None), "a run without events shows nothing");
    }

    #[test]
    fn what_is_left_over_is_red() {
        let spoil: [fn(&mut Verdict); 6] = [
            |v| v.left.records = 1,
            |v| v.left.connections = 1,
            |v| v.left.processes = 1,
            |v| v.left.forgotten_commits = 1,
            |v| v.left.complaints.push("a relay ended".into()),
            |v| v.unsettled = 1,
        ];
        for spoil in spoil {
            let mut v = verdict(&["1"], &["1"]);
            spoil(&mut v);
            assert!(!v.is_green(Doubles::ByContract));
        }
    }
}
