//! The claim and in-flight protocol as a model: every interleaving of relays, writers, network and faults within
//! bounds is visited, and what the README promises is checked in each state. `plan` and `outcome` in it are
//! the relay's own; the rest restates `relay::drain` and the SQL.
//!
//! An explorer of our own and no library: it is a page, it compiles with the tests, and its shortest
//! counterexample is printed in the words of this protocol.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![expect(
    clippy::print_stdout,
    reason = "the number of states and the counterexample are the result"
)]

mod explore;
mod judge;
mod real;
mod state;
mod step;

use explore::{Counterexample, explore};
use real::Planner;
use state::Faults;
use step::{Mutation, Scenario, Violation};

/// More states than this are too many for a test of seconds.
const STATES_MAX: usize = 2_000_000;

const NO_FAULTS: Faults = Faults { batches_lost: 0, postgres_crashes: 0, timeouts: 0, repeats: 0 };

fn world(tenants: &'static [usize], poison: u8, faults: Faults) -> Scenario {
    Scenario {
        mutation: Mutation::None,
        relays: 2,
        tenants,
        poison,
        faults,
        records_may_stay: false,
        // An eighth of it, after a refusal, is two: company shrinks in steps, as in earnest.
        planner: Planner::new(16),
    }
}

/// The worlds that must hold.
fn worlds() -> Vec<(&'static str, Scenario)> {
    let relays = Faults { batches_lost: 2, timeouts: 1, repeats: 1, ..NO_FAULTS };
    let server = Faults { batches_lost: 1, postgres_crashes: 1, timeouts: 1, ..NO_FAULTS };
    let servers = Faults { postgres_crashes: 2, timeouts: 1, ..NO_FAULTS };
    vec![
        ("relays fail", world(&[0, 0, 0], 0, relays)),
        ("relays fail, the first event is poison", world(&[0, 0, 0], 0b001, relays)),
        ("relays fail, the last event is poison", world(&[0, 0, 0], 0b100, relays)),
        ("PostgreSQL crashes", world(&[0, 0, 0], 0, server)),
        ("PostgreSQL crashes twice", world(&[0, 0, 0], 0, servers)),
        ("PostgreSQL crashes, an event is poison", world(&[0, 0, 0], 0b010, server)),
        (
            "two tenants",
            world(&[0, 1, 0, 1], 0, Faults { batches_lost: 1, timeouts: 1, ..NO_FAULTS }),
        ),
    ]
}

#[test]
fn nothing_is_doubled_lost_reordered_or_left_behind_whatever_happens_when() {
    for (name, world) in worlds() {
        let started = std::time::Instant::now();
        let found = explore(&world, STATES_MAX);
        println!("{name}: {} states, {} steps, {:?}", found.states, found.steps, started.elapsed());
        if let Some(counterexample) = found.counterexample {
            panic!("{name}: {counterexample}");
        }
    }
}

fn broken(mutation: Mutation) -> Counterexample {
    for (name, world) in worlds() {
        let found = explore(&Scenario { mutation, ..world }, STATES_MAX);
        if let Some(counterexample) = found.counterexample {
            println!("{name}, {mutation:?}, {} states: {counterexample}", found.states);
            return counterexample;
        }
    }
    panic!("{mutation:?} breaks nothing: either it is no precaution or the model is blind");
}

#[test]
fn the_model_finds_a_relay_that_ignores_lock_traces() {
    assert!(matches!(broken(Mutation::IgnoreLockTrace).violation, Violation::Doubled(_)));
}

#[test]
fn the_model_finds_a_relay_that_sends_groups_without_a_record() {
    assert!(matches!(broken(Mutation::SendWithoutRecord).violation, Violation::Doubled(_)));
}

#[test]
fn the_model_finds_a_relay_that_reads_in_the_statement_of_the_lock() {
    broken(Mutation::ReadInTheLocksStatement);
}

#[test]
fn the_model_finds_a_relay_that_ignores_a_crash_of_postgresql() {
    assert!(matches!(broken(Mutation::IgnoreServerStart).violation, Violation::Doubled(_)));
}

#[test]
fn the_model_finds_a_record_that_is_written_without_the_lock() {
    assert_eq!(broken(Mutation::RecordWithoutLock).violation, Violation::RecordLeft);
}

/// Worse than a record too many: others have regrouped the events since, and it sends one of them again.
#[test]
fn the_model_finds_that_a_stale_record_doubles_events() {
    let faults = Faults { batches_lost: 2, ..NO_FAULTS };
    let world = Scenario {
        mutation: Mutation::RecordWithoutLock,
        records_may_stay: true,
        // After one refusal each goes alone.
        planner: Planner::new(8),
        ..world(&[0, 0, 0], 0b100, faults)
    };
    let found = explore(&world, STATES_MAX).counterexample.expect("a counterexample");
    println!("{found}");
    assert!(matches!(found.violation, Violation::Doubled(_)), "{found}");
}

/// The one thing that the protocol takes on trust: what Ably refuses on merits, it has not accepted and will
/// not accept. A repeat that is refused for another reason must not be classed as content.
#[test]
fn the_model_finds_that_refusals_must_be_final() {
    assert!(matches!(broken(Mutation::FickleRefusals).violation, Violation::Doubled(_)));
}

#[test]
fn the_model_finds_a_record_that_was_not_flushed() {
    assert!(matches!(broken(Mutation::RecordNotFlushed).violation, Violation::Doubled(_)));
}

#[test]
fn the_model_finds_tenants_that_are_not_locked() {
    assert_eq!(broken(Mutation::NoTenantLock).violation, Violation::TwoOwners);
}

#[test]
fn the_model_finds_a_record_that_an_outage_forgets() {
    broken(Mutation::ForgetOnOutage);
}
