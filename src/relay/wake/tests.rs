//! The wake machine, step by step and as a model.

use proptest::prelude::*;

use super::*;

const CONFIG: WakeConfig = WakeConfig {
    slots: 3,
    sweep_interval: Duration::from_secs(2),
    poll_interval: Duration::from_millis(200),
    again: WakeConfig::AGAIN,
};

/// A wake machine that has done its first claim and is listening.
fn idle(now: Instant) -> Wake {
    let mut wake = Wake::new(CONFIG, now);
    wake.handle(Input::ListenerUp, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Claimed { more: false, found: 0 }, now);
    wake.handle(Input::BatchEnded { progress: false }, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)));
    wake
}

#[test]
fn a_notice_during_a_claim_costs_exactly_one_more_claim() {
    let now = Instant::now();
    let mut wake = idle(now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Notice, now);
    wake.handle(Input::Notice, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)), "one claim at a time");
    wake.handle(Input::Claimed { more: false, found: 0 }, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Claimed { more: false, found: 0 }, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)));
}

#[test]
fn a_listener_that_comes_up_wakes() {
    let now = Instant::now();
    let mut wake = idle(now);
    wake.handle(Input::ListenerDown, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)));
    wake.handle(Input::ListenerUp, now);
    assert_eq!(wake.poll(now), Action::Claim);
}

#[test]
fn a_new_event_is_claimed_while_earlier_batches_are_out() {
    let now = Instant::now();
    let mut wake = idle(now);
    for _ in 0..CONFIG.slots {
        wake.handle(Input::Notice, now);
        assert_eq!(wake.poll(now), Action::Claim);
        wake.handle(Input::Claimed { more: false, found: 0 }, now);
    }
    wake.handle(Input::Notice, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)), "no slot is free");
    wake.handle(Input::BatchEnded { progress: false }, now);
    assert_eq!(wake.poll(now), Action::Claim);
}

#[test]
fn a_failed_claim_frees_the_claiming_and_the_slot() {
    let now = Instant::now();
    let mut wake = idle(now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::BatchEnded { progress: false }, now);
    wake.handle(Input::Claimed { more: false, found: 0 }, now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::Claim);
}

#[test]
fn sweeps_are_slow_while_listening_and_fast_while_not() {
    let now = Instant::now();
    let mut wake = idle(now);
    let next = |wake: &mut Wake, now: Instant| {
        let Action::SleepUntil(at) = wake.poll(now) else { panic!("it does not sleep") };
        at - now
    };
    let first = next(&mut wake, now);
    let now = now + first;
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Claimed { more: false, found: 0 }, now);
    wake.handle(Input::BatchEnded { progress: false }, now);
    assert_eq!(next(&mut wake, now), CONFIG.sweep_interval);
    wake.handle(Input::ListenerDown, now);
    assert_eq!(next(&mut wake, now), CONFIG.poll_interval);
}

#[test]
fn a_bell_for_which_nothing_was_found_is_answered_by_one_more_claim_and_no_third() {
    let now = Instant::now();
    let mut wake = idle(now);
    let empty = |wake: &mut Wake, now: Instant| {
        assert_eq!(wake.poll(now), Action::Claim);
        wake.handle(Input::Claimed { more: false, found: 0 }, now);
        wake.handle(Input::BatchEnded { progress: false }, now);
    };
    for _ in 0..3 {
        wake.handle(Input::Notice, now);
        empty(&mut wake, now);
    }
    let again = now + WakeConfig::AGAIN;
    assert_eq!(wake.poll(now), Action::SleepUntil(again), "one for all of them");
    empty(&mut wake, again);
    assert!(!wake.claim_is_swept());
    let Action::SleepUntil(next) = wake.poll(again) else { panic!("a third claim") };
    assert!(next > again + WakeConfig::AGAIN, "only the sweep is left");
}

#[test]
fn a_sweep_of_an_idle_relay_is_a_look_and_a_claim_only_when_something_is_pending() {
    let now = Instant::now();
    let mut wake = idle(now).with_bell(BellConfig::DEFAULT, now);
    let seen =
        |pending| Input::Flag(FlagAnswer::Seen { until: 0, ahead_ms: -1, raisable: true, pending });
    assert_eq!(wake.poll(now), Action::Flag(FlagOp::Look));
    wake.handle(seen(true), now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)), "the bell says it, or the sweep will");
    let mut now = now;
    for (answer, claims) in [
        (seen(false), false),
        (seen(true), true),
        (Input::Flag(FlagAnswer::Failed { lasting: false }), true),
    ] {
        now += CONFIG.sweep_interval;
        while let Action::SleepUntil(soon) = wake.poll(now) {
            assert!(soon <= now + Duration::from_millis(1), "it does not look");
            now = soon;
        }
        wake.handle(answer, now);
        assert_eq!(wake.poll(now) == Action::Claim, claims, "after {answer:?}");
        if claims {
            assert!(wake.claim_is_swept());
            wake.handle(Input::Claimed { more: false, found: 0 }, now);
            wake.handle(Input::BatchEnded { progress: false }, now);
        }
    }
}

#[test]
fn whoever_has_been_rung_looks_soon_whether_another_keeps_writers_silent_from_now_on() {
    let now = Instant::now();
    let mut wake = idle(now).with_bell(BellConfig::DEFAULT, now);
    let seen = |until, ahead_ms| {
        Input::Flag(FlagAnswer::Seen { until, ahead_ms, raisable: true, pending: false })
    };
    assert_eq!(wake.poll(now), Action::Flag(FlagOp::Look));
    wake.handle(seen(0, -1), now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Claimed { more: false, found: 1 }, now);
    wake.handle(Input::BatchEnded { progress: false }, now);
    let soon = now + BellConfig::DEFAULT.look_rung;
    assert_eq!(wake.poll(now), Action::SleepUntil(soon));
    assert_eq!(wake.poll(soon), Action::Flag(FlagOp::Look));
    // It has been raised by one that dies: the next look is at its end.
    wake.handle(seen(7, 700), soon);
    let end = soon + Duration::from_millis(701);
    assert_eq!(wake.poll(soon), Action::SleepUntil(end));
    assert_eq!(wake.poll(end), Action::Flag(FlagOp::Look));
    wake.handle(seen(7, -1), end);
    assert_eq!(wake.poll(end), Action::Flag(FlagOp::Fence), "it does what the other was to do");
    wake.handle(Input::Flag(FlagAnswer::Fenced { open: 0 }), end);
    assert_eq!(wake.poll(end), Action::Claim);
}

#[test]
fn a_pause_beats_notices_and_then_one_batch_probes() {
    let now = Instant::now();
    let mut wake = idle(now);
    let until = now + Duration::from_secs(1);
    wake.handle(Input::PauseUntil(until), now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::SleepUntil(until));
    assert_eq!(wake.poll(until), Action::Claim);
    wake.handle(Input::Claimed { more: true, found: 0 }, until);
    assert!(matches!(wake.poll(until), Action::SleepUntil(_)), "one probe at a time");
    wake.handle(Input::Recovered, until);
    assert_eq!(wake.poll(until), Action::Claim);
}

#[test]
fn a_pace_delays_batches_and_keeps_what_is_waiting() {
    let now = Instant::now();
    let mut wake = idle(now);
    let until = now + Duration::from_millis(20);
    wake.handle(Input::PaceUntil(until), now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::SleepUntil(until));
    assert_eq!(wake.poll(until), Action::Claim);
    wake.handle(Input::Claimed { more: true, found: 0 }, until);
    assert_eq!(wake.poll(until), Action::Claim, "a pace limits the rate, not the slots");
}

#[test]
fn every_hold_that_ends_wakes() {
    let now = Instant::now();
    let mut wake = idle(now);
    let due = now + Duration::from_millis(50);
    let later = due + Duration::from_millis(100);
    wake.handle(Input::DueAt(later), now);
    wake.handle(Input::DueAt(due), now);
    assert_eq!(wake.poll(now), Action::SleepUntil(due));
    assert_eq!(wake.poll(due), Action::Claim);
    wake.handle(Input::Claimed { more: false, found: 0 }, due);
    wake.handle(Input::BatchEnded { progress: false }, due);
    assert_eq!(
        wake.poll(due),
        Action::SleepUntil(later),
        "the end of the other hold is not forgotten"
    );
    assert_eq!(wake.poll(later), Action::Claim);
}

#[test]
fn stopping_waits_for_what_is_in_flight_and_claims_nothing() {
    let now = Instant::now();
    let mut wake = idle(now);
    wake.handle(Input::Notice, now);
    assert_eq!(wake.poll(now), Action::Claim);
    wake.handle(Input::Stop, now);
    wake.handle(Input::Notice, now);
    assert!(matches!(wake.poll(now), Action::SleepUntil(_)));
    wake.handle(Input::BatchEnded { progress: true }, now);
    assert_eq!(wake.poll(now), Action::Finished);
}

/// A world of one tenant: a claim gets its events unless another batch has the tenant's lock.
#[derive(Debug, Default)]
struct World {
    pending: u32,
    in_flight: Vec<bool>,
    unread: bool,
}

impl World {
    fn poll(&mut self, wake: &mut Wake, now: Instant) -> bool {
        let claim = wake.poll(now) == Action::Claim;
        if claim {
            assert!(!self.unread, "two claims at once");
            self.unread = true;
        }
        assert!(self.in_flight.len() + usize::from(self.unread) <= CONFIG.slots);
        claim
    }

    fn read(&mut self, wake: &mut Wake, now: Instant) {
        if std::mem::take(&mut self.unread) {
            let got = self.pending > 0 && !self.in_flight.contains(&true);
            if got {
                self.pending = 0;
            }
            self.in_flight.push(got);
            wake.handle(Input::Claimed { more: false, found: 0 }, now);
        }
    }

    fn end(&mut self, which: usize, wake: &mut Wake, now: Instant) {
        if !self.in_flight.is_empty() {
            let progress = self.in_flight.remove(which % self.in_flight.len());
            wake.handle(Input::BatchEnded { progress }, now);
        }
    }

    /// Lets everything under way come to an end without any time passing.
    fn settle(&mut self, wake: &mut Wake, now: Instant) {
        while self.poll(wake, now) || self.unread || !self.in_flight.is_empty() {
            self.read(wake, now);
            self.end(0, wake, now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_wake_up_is_lost(steps in proptest::collection::vec((0..5_u8, any::<usize>()), 1..60)) {
        let now = Instant::now();
        let (mut wake, mut world, mut silent) = (idle(now), World::default(), false);
        for (step, which) in steps {
            match step {
                0 => { world.pending += 1; wake.handle(Input::Notice, now); }
                1 => { world.poll(&mut wake, now); }
                2 => world.read(&mut wake, now),
                3 => world.end(which, &mut wake, now),
                _ => { world.pending += 1; silent = true; }
            }
        }
        world.settle(&mut wake, now);
        if !silent {
            prop_assert_eq!(world.pending, 0, "an event that rang must not wait for a sweep");
        }
        world.settle(&mut wake, now + CONFIG.sweep_interval);
        prop_assert_eq!(world.pending, 0, "an event that did not ring is swept");
    }
}
