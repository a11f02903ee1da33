//! When to claim: a pure state machine. No clock, socket or database inside; `now` comes in, an
//! [`Action`] goes out. Every reason to wake only sets one flag, `dirty`; there is one way to act on it.
//!
//! No wake-up is lost because the flag is cleared when a claim *starts*: whatever arrives while the
//! claim reads sets it again, and costs one more claim.

use std::time::Duration;

use tokio::time::Instant;

/// The machine's settings.
#[derive(Debug, Clone, Copy)]
pub struct WakeConfig {
    /// Batches in flight at most.
    pub slots: usize,
    /// Time between sweeps while the listener is up.
    pub sweep_interval: Duration,
    /// Time between sweeps while it is not.
    pub poll_interval: Duration,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The bell rang.
    Notice,
    /// LISTEN is in force from now on; what was committed before may have rung unheard.
    ListenerUp,
    /// The bell cannot be heard.
    ListenerDown,
    /// The claim under way has read, or has failed; comes exactly once after each
    /// [`Action::Claim`]. `more` when it stopped at its limit.
    Claimed {
        /// Whether there is probably more to claim.
        more: bool,
    },
    /// A batch has ended, whatever it held; comes exactly once after each [`Action::Claim`].
    BatchEnded {
        /// Whether it changed anything: then the same tenants may have more.
        progress: bool,
    },
    /// A hold ends then.
    DueAt(Instant),
    /// Nothing is claimed until then, and one batch at a time after that until [`Input::Recovered`].
    PauseUntil(Instant),
    /// No batch starts before then.
    PaceUntil(Instant),
    /// Publishing works (again).
    Recovered,
    /// Claim no more.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a batch now; the machine counts it as begun.
    Claim,
    /// Nothing until then, unless an input comes.
    SleepUntil(Instant),
    /// Stopped, and no batch is in flight any more.
    Finished,
}

/// The state.
#[derive(Debug)]
pub struct Wake {
    config: WakeConfig,
    dirty: bool,
    claiming: bool,
    in_flight: usize,
    listening: bool,
    next_sweep: Instant,
    next_due: Option<Instant>,
    paused_until: Option<Instant>,
    paced_until: Option<Instant>,
    /// After a failure: one batch probes, so that a dead endpoint is not asked by all slots at once.
    probing: bool,
    stopping: bool,
}

impl Wake {
    /// Starts with a sweep due: what was committed before the start is waiting.
    pub fn new(config: WakeConfig, now: Instant) -> Self {
        Self {
            config,
            dirty: true,
            claiming: false,
            in_flight: 0,
            listening: false,
            next_sweep: now + config.poll_interval,
            next_due: None,
            paused_until: None,
            paced_until: None,
            probing: false,
            stopping: false,
        }
    }

    /// Takes note of what has happened. Call [`Wake::poll`] afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Notice => self.dirty = true,
            Input::ListenerUp => {
                self.listening = true;
                self.dirty = true;
            }
            Input::ListenerDown => {
                self.listening = false;
                self.next_sweep = self.next_sweep.min(now + self.config.poll_interval);
            }
            Input::Claimed { more } => {
                self.claiming = false;
                self.dirty |= more;
            }
            Input::BatchEnded { progress } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.dirty |= progress;
            }
            Input::DueAt(at) => {
                self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
            }
            Input::PauseUntil(until) => {
                self.paused_until = Some(self.paused_until.map_or(until, |p| p.max(until)));
                self.probing = true;
                self.dirty = true;
            }
            Input::PaceUntil(until) => self.paced_until = Some(until),
            Input::Recovered => {
                self.probing = false;
                self.paused_until = None;
            }
            Input::Stop => self.stopping = true,
        }
    }

    /// Decides. Must be called again after every input and at the time it names.
    pub fn poll(&mut self, now: Instant) -> Action {
        if self.stopping {
            return if self.in_flight == 0 { Action::Finished } else { self.sleep(now) };
        }
        if self.next_due.is_some_and(|due| due <= now) {
            self.next_due = None;
            self.dirty = true;
        }
        if self.next_sweep <= now {
            self.next_sweep = now + self.interval();
            self.dirty = true;
        }
        if let Some(until) = self.paused_until {
            if now < until {
                return Action::SleepUntil(until);
            }
            self.paused_until = None;
        }
        if let Some(until) = self.paced_until {
            if now < until {
                return Action::SleepUntil(until);
            }
            self.paced_until = None;
        }
        let slots = if self.probing { 1 } else { self.config.slots };
        if self.dirty && !self.claiming && self.in_flight < slots {
            self.dirty = false;
            self.claiming = true;
            self.in_flight += 1;
            return Action::Claim;
        }
        self.sleep(now)
    }

    /// Batches that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is in flight, nothing is known to be waiting, and no hold ends within `patience`.
    pub fn is_idle(&self, now: Instant, patience: Duration) -> bool {
        self.in_flight == 0 && !self.dirty && self.next_due.is_none_or(|due| due > now + patience)
    }

    fn interval(&self) -> Duration {
        if self.listening { self.config.sweep_interval } else { self.config.poll_interval }
    }

    /// The next time at which something falls due by itself. Everything else comes as an input.
    fn sleep(&self, now: Instant) -> Action {
        let wake = self.next_due.map_or(self.next_sweep, |due| due.min(self.next_sweep));
        // When dirty with no slot free, the end of a batch wakes us, not the clock.
        Action::SleepUntil(wake.max(now + Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: WakeConfig = WakeConfig {
        slots: 3,
        sweep_interval: Duration::from_secs(2),
        poll_interval: Duration::from_millis(200),
    };

    /// A wake machine that has done its first claim and is listening.
    fn idle(now: Instant) -> Wake {
        let mut wake = Wake::new(CONFIG, now);
        wake.handle(Input::ListenerUp, now);
        assert_eq!(wake.poll(now), Action::Claim);
        wake.handle(Input::Claimed { more: false }, now);
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
        wake.handle(Input::Claimed { more: false }, now);
        assert_eq!(wake.poll(now), Action::Claim);
        wake.handle(Input::Claimed { more: false }, now);
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
            wake.handle(Input::Claimed { more: false }, now);
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
        wake.handle(Input::Claimed { more: false }, now);
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
        wake.handle(Input::Claimed { more: false }, now);
        wake.handle(Input::BatchEnded { progress: false }, now);
        assert_eq!(next(&mut wake, now), CONFIG.sweep_interval);
        wake.handle(Input::ListenerDown, now);
        assert_eq!(next(&mut wake, now), CONFIG.poll_interval);
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
        wake.handle(Input::Claimed { more: true }, until);
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
        wake.handle(Input::Claimed { more: true }, until);
        assert_eq!(wake.poll(until), Action::Claim, "a pace limits the rate, not the slots");
    }

    #[test]
    fn a_hold_that_ends_wakes() {
        let now = Instant::now();
        let mut wake = idle(now);
        let due = now + Duration::from_millis(50);
        wake.handle(Input::DueAt(due + Duration::from_secs(1)), now);
        wake.handle(Input::DueAt(due), now);
        assert_eq!(wake.poll(now), Action::SleepUntil(due));
        assert_eq!(wake.poll(due), Action::Claim);
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
                wake.handle(Input::Claimed { more: false }, now);
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
}
