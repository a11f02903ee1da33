//! How much the next claim asks for, learned from the last one. Pure.
//!
//! A claim of 100 tenants with full groups is 6.4 MB, and the rows of a tenant beyond what its group can hold
//! are read for nothing. So the next claim asks for as many rows as a group of the last one could have
//! held, and for as many tenants as fill a few requests. What it asks for decides nothing but speed and
//! memory: whatever it leaves is the next claim's.

use std::sync::{Mutex, PoisonError};

use super::plan::PlanLimits;
use crate::store::claim::{Claim, ClaimLimits, Run};

/// Bytes that all claims under way bring together, about: each is there as a row, as a message and as a part of a
/// request.
const BYTES_IN_FLIGHT: usize = 8 << 20;

/// Tenants in a claim at least, and at first.
const TENANTS_MIN: i64 = 8;

/// Rows of a tenant at least.
const ROWS_MIN: i64 = 16;

/// What one claim has taught.
#[derive(Debug, Clone, Copy)]
struct Learned {
    tenants: i64,
    rows: i64,
    /// No tenant had more than one event.
    lone: bool,
    /// Claims until it is tried again whether there is one event and no other, and how many when that fails next.
    lone_first_in: u32,
    lone_first_wait: u32,
}

/// Claims at most between two tries: where something is always waiting, for a hold or a pause to end, each of them costs
/// a round trip for nothing.
const LONE_FIRST_WAIT_MAX: u32 = 64;

/// What the next claim asks for.
#[derive(Debug)]
pub(super) struct Appetite {
    most: ClaimLimits,
    group_bytes: usize,
    claim_bytes: usize,
    learned: Mutex<Learned>,
}

impl Appetite {
    /// Never more than `most`, with `slots` batches under way.
    pub(super) fn new(most: ClaimLimits, plan: PlanLimits, slots: usize) -> Self {
        let learned = Learned {
            tenants: TENANTS_MIN,
            rows: most.rows_per_tenant,
            lone: true,
            lone_first_in: 0,
            lone_first_wait: 1,
        };
        let claim_bytes = BYTES_IN_FLIGHT / slots.max(1);
        Self {
            most,
            group_bytes: plan.message_bytes_max,
            claim_bytes,
            learned: Mutex::new(learned),
        }
    }

    /// For the next claim.
    pub(super) fn limits(&self) -> ClaimLimits {
        let learned = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        ClaimLimits {
            tenants: learned.tenants.min(self.most.tenants),
            rows_per_tenant: learned.rows.min(self.most.rows_per_tenant),
            lock_lone: self.most.lock_lone && learned.lone,
            lone_first: self.most.lone_first && learned.lone && learned.lone_first_in == 0,
            ..self.most
        }
    }

    /// Learns from what a claim that asked for `limits` has read.
    pub(super) fn learn(&self, claim: &Claim, limits: ClaimLimits) {
        self.learn_lone_first(claim);
        let tenants = claim.runs.len();
        if tenants == 0 {
            return;
        }
        let bytes: usize = claim.runs.iter().map(bytes_of).sum();
        let per_tenant = (bytes / tenants).max(1);
        let full =
            claim.runs.iter().filter(|run| count(run.events.len()) >= limits.rows_per_tenant);
        // An eighth more, since the next events may be smaller; and the smallest events decide.
        let fit = full.map(|run| {
            let rows = self.group_bytes * run.events.len() / bytes_of(run).max(1);
            count(rows + rows / 8)
        });
        let most = self.most;
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.lone = claim.runs.iter().all(|run| run.events.len() == 1);
        learned.tenants = count(self.claim_bytes / per_tenant).max(TENANTS_MIN);
        if let Some(fit) = fit.max() {
            // Slowly down, at once up.
            let slow = learned.rows - (learned.rows - fit) / 2;
            learned.rows =
                fit.max(slow).clamp(ROWS_MIN.min(most.rows_per_tenant), most.rows_per_tenant);
        } else if learned.rows < most.rows_per_tenant {
            learned.rows = (learned.rows + learned.rows / 8 + 1).min(most.rows_per_tenant);
        }
    }

    fn learn_lone_first(&self, claim: &Claim) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        match claim.lone_first {
            Some(true) => learned.lone_first_wait = 1,
            Some(false) => {
                learned.lone_first_in = learned.lone_first_wait;
                learned.lone_first_wait = (2 * learned.lone_first_wait).min(LONE_FIRST_WAIT_MAX);
            }
            None => learned.lone_first_in = learned.lone_first_in.saturating_sub(1),
        }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// About what the messages of a run are together: the envelope repeats the names and adds its keys.
fn bytes_of(run: &Run) -> usize {
    let each = run.events.iter().map(|claimed| {
        let event = &claimed.event;
        let headers = event.headers.as_ref().map_or(0, String::len);
        let names =
            2 * event.event_type.len() + event.aggregate_type.len() + event.aggregate_id.len();
        event.payload.len() + headers + names + event.id.len() + run.tenant_id.as_str().len() + 137
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::event::{Event, Seq, TenantId};
    use crate::domain::policy::OnFailed;
    use crate::store::claim::{Claimed, LockOwner};

    const MOST: ClaimLimits = ClaimLimits {
        tenants: 100,
        rows_per_tenant: 500,
        bytes_per_tenant: 65_536,
        lock_lone: true,
        lone_first: true,
        traceparents: false,
    };

    fn appetite() -> Appetite {
        let on_failed = OnFailed::Skip;
        let plan = PlanLimits { message_bytes_max: 65_536, group_events_max: 500, on_failed };
        Appetite::new(MOST, plan, 4)
    }

    fn claim(tenants: usize, events: i64, payload: usize) -> Claim {
        let event = |seq| Claimed {
            event: Event {
                seq: Seq(seq),
                id: "id".into(),
                tenant_id: TenantId::new("t"),
                aggregate_type: "A".into(),
                aggregate_id: "1".into(),
                event_type: "a.b".into(),
                payload: "x".repeat(payload),
                headers: None,
                occurred_at: None,
                traceparent: None,
                payload_occurred_at: None,
                created_at: String::new(),
                attempts: 0,
                generation: 0,
            },
            lock_trace: false,
            oversize: None,
            invalid: None,
            waited: None,
        };
        let run = |n: usize| Run {
            tenant_id: TenantId::new(n.to_string()),
            group: None,
            hold_failures: 0,
            on_failed: None,
            events: (0..events).map(event).collect(),
        };
        let runs: Vec<Run> = (0..tenants).map(run).collect();
        let tenants = runs.iter().map(|run| run.tenant_id.clone()).collect();
        let (owner, locked) = (LockOwner::default(), HashSet::new());
        Claim { runs, tenants, owner, locked, paused: None, lone_first: None }
    }

    fn next(appetite: &Appetite) -> (i64, i64) {
        let limits = appetite.limits();
        (limits.tenants, limits.rows_per_tenant)
    }

    #[test]
    fn full_groups_of_many_tenants_make_the_next_claims_smaller() {
        let appetite = appetite();
        assert_eq!(next(&appetite), (8, 500));
        for _ in 0..10 {
            appetite.learn(&claim(8, appetite.limits().rows_per_tenant, 500), appetite.limits());
        }
        let (tenants, rows) = next(&appetite);
        // 655 bytes each: 100 fit into a group, and 32 groups into 2 MiB.
        assert!((100..=120).contains(&rows), "{rows}");
        assert!((26..=32).contains(&tenants), "{tenants}");
    }

    #[test]
    fn single_events_make_them_as_large_as_they_may_be() {
        let appetite = appetite();
        appetite.learn(&claim(100, 1, 500), appetite.limits());
        assert_eq!(next(&appetite), (100, 500));
    }

    #[test]
    fn the_short_way_is_tried_less_and_less_while_it_fails() {
        let appetite = appetite();
        let mut tries = Vec::new();
        for n in 0..300 {
            let tried = appetite.limits().lone_first;
            if tried {
                tries.push(n);
            }
            let lone_first = tried.then_some(false);
            appetite.learn(&Claim { lone_first, ..claim(1, 1, 50) }, appetite.limits());
        }
        assert_eq!(tries, [0, 2, 5, 10, 19, 36, 69, 134, 199, 264]);
        while !appetite.limits().lone_first {
            appetite.learn(&claim(1, 1, 50), appetite.limits());
        }
        for _ in 0..10 {
            assert!(appetite.limits().lone_first, "as long as it is enough");
            let found = Claim { lone_first: Some(true), ..claim(1, 1, 50) };
            appetite.learn(&found, appetite.limits());
        }
        appetite.learn(&claim(1, 5, 50), appetite.limits());
        assert!(!appetite.limits().lone_first, "a tenant had several");
    }

    #[test]
    fn small_events_are_not_held_to_what_large_ones_have_taught() {
        let appetite = appetite();
        for _ in 0..10 {
            appetite.learn(&claim(8, 500, 50_000), appetite.limits());
        }
        assert_eq!(next(&appetite), (8, 16));
        for _ in 0..40 {
            let rows = appetite.limits().rows_per_tenant;
            appetite.learn(&claim(8, rows, 20), appetite.limits());
        }
        assert!(next(&appetite).1 > 300, "{:?}", next(&appetite));
    }
}
