//! The wake machine in every interleaving of what can happen to it, up to a number of steps.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::*;

const CONFIG: WakeConfig = WakeConfig {
    slots: 2,
    sweep_interval: Duration::from_secs(2),
    poll_interval: Duration::from_millis(200),
    again: WakeConfig::AGAIN,
};

/// Steps of an interleaving.
const DEPTH: usize = 13;

/// Time that passes in one step, a pause and a pace.
const TICK: Duration = Duration::from_millis(150);
const PAUSE: Duration = Duration::from_millis(300);
const PACE: Duration = Duration::from_millis(50);

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// An event is committed and rings.
    Commit,
    /// One is committed while nobody hears the bell.
    CommitUnheard,
    /// The coordinator asks what to do.
    Poll,
    /// The claim under way reads.
    Read,
    /// The coordinator hears that it has, maybe only after the batch has ended.
    Hear,
    /// A batch ends and has published what it had.
    Publish(usize),
    /// A batch ends because Ably or PostgreSQL cannot be reached.
    Fail(usize),
    Paced,
    ListenerDown,
    ListenerUp,
    Tick,
}

const STEPS: [Step; 13] = [
    Step::Commit,
    Step::CommitUnheard,
    Step::Poll,
    Step::Read,
    Step::Hear,
    Step::Publish(0),
    Step::Publish(1),
    Step::Fail(0),
    Step::Fail(1),
    Step::Paced,
    Step::ListenerDown,
    Step::ListenerUp,
    Step::Tick,
];

/// The machine and the world that it is in: one tenant, whose lock one batch at a time can have.
#[derive(Debug, Clone)]
struct World {
    wake: Wake,
    now: Instant,
    pending: bool,
    /// Something is pending that did not ring.
    unheard: bool,
    /// A claim has begun and not read.
    unread: bool,
    /// One has read, and the machine has not heard of it.
    unsaid: bool,
    /// Batches that have read: whether they have the tenant's events.
    batches: Vec<bool>,
    paused_until: Option<Instant>,
    paced_until: Option<Instant>,
    /// After a failure only one batch may probe.
    failing: bool,
}

impl World {
    fn new(now: Instant) -> Self {
        let mut wake = Wake::new(CONFIG, now);
        wake.handle(Input::ListenerUp, now);
        Self {
            wake,
            now,
            pending: false,
            unheard: false,
            unread: false,
            unsaid: false,
            batches: Vec::new(),
            paused_until: None,
            paced_until: None,
            failing: false,
        }
    }

    /// Takes a step, unless it is none now.
    fn take(&mut self, step: Step) -> bool {
        match step {
            Step::Commit => {
                self.pending = true;
                self.wake.handle(Input::Notice, self.now);
            }
            Step::CommitUnheard => (self.pending, self.unheard) = (true, true),
            Step::Poll => return self.poll().is_none(),
            Step::Read if self.unread => self.read(),
            Step::Hear if self.unsaid => self.hear(),
            Step::Publish(index) if index < self.batches.len() => {
                let progress = self.batches.remove(index);
                if progress && std::mem::take(&mut self.failing) {
                    self.paused_until = None;
                    self.wake.handle(Input::Recovered, self.now);
                }
                self.wake.handle(Input::BatchEnded { progress }, self.now);
            }
            Step::Fail(index) if index < self.batches.len() && self.batches[index] => {
                self.batches.remove(index);
                (self.pending, self.failing) = (true, true);
                let until = self.now + PAUSE;
                self.paused_until = self.paused_until.max(Some(until));
                self.wake.handle(Input::PauseUntil(until), self.now);
                self.wake.handle(Input::BatchEnded { progress: false }, self.now);
            }
            Step::Paced => {
                self.paced_until = Some(self.now + PACE);
                self.wake.handle(Input::PaceUntil(self.now + PACE), self.now);
            }
            Step::ListenerDown => self.wake.handle(Input::ListenerDown, self.now),
            Step::ListenerUp => {
                self.unheard = false;
                self.wake.handle(Input::ListenerUp, self.now);
            }
            Step::Tick => self.now += TICK,
            Step::Read | Step::Hear | Step::Publish(_) | Step::Fail(_) => return false,
        }
        true
    }

    /// Asks the machine; the time it sleeps until, if it does.
    fn poll(&mut self) -> Option<Instant> {
        match self.wake.poll(self.now) {
            Action::Claim => {
                assert!(!self.unread && !self.unsaid, "two claims at once: {self:?}");
                self.unread = true;
                let slots = if self.failing { 1 } else { CONFIG.slots };
                let own = self.batches.len() + 1;
                assert!(
                    own <= slots || (self.failing && self.batches.is_empty()),
                    "slots: {self:?}"
                );
                assert!(
                    self.paused_until.is_none_or(|until| until <= self.now),
                    "paused: {self:?}"
                );
                assert!(self.paced_until.is_none_or(|until| until <= self.now), "paced: {self:?}");
                assert_eq!(self.wake.in_flight(), own);
                None
            }
            Action::SleepUntil(until) => {
                assert!(until > self.now, "it would spin: {self:?}");
                Some(until)
            }
            Action::Flag(_) => panic!("it has no bell: {self:?}"),
            Action::Finished => panic!("nobody stopped it: {self:?}"),
        }
    }

    fn read(&mut self) {
        self.unread = false;
        let got = self.pending && !self.batches.contains(&true);
        if got {
            (self.pending, self.unheard) = (false, false);
        }
        self.batches.push(got);
        self.unsaid = true;
    }

    fn hear(&mut self) {
        self.unsaid = false;
        self.wake.handle(Input::Claimed { more: false, found: 0 }, self.now);
    }

    /// Lets everything end well, asking the machine only when it wants to be asked. Returns how long that took.
    fn settle(mut self) -> Duration {
        let start = self.now;
        for _ in 0..100 {
            if self.unread {
                self.read();
            } else if self.unsaid {
                self.hear();
            } else if !self.batches.is_empty() {
                self.take(Step::Publish(0));
            } else if let Some(until) = self.poll() {
                if !self.pending {
                    return self.now - start;
                }
                self.now = until;
            }
        }
        panic!("an event waits for ever: {self:?}");
    }

    fn check(&self) {
        let left = |until: Option<Instant>| until.map_or(Duration::ZERO, |t| t - t.min(self.now));
        let mut most = left(self.paused_until).max(left(self.paced_until));
        if self.unheard {
            most = most.max(CONFIG.sweep_interval) + TICK;
        }
        let took = self.clone().settle();
        assert!(took <= most, "{took:?} instead of {most:?}: {self:?}");
    }
}

fn explore(world: &World, depth: usize, seen: &mut HashSet<(u64, usize)>) {
    for step in STEPS {
        let mut next = world.clone();
        if !next.take(step) {
            continue;
        }
        let mut hasher = DefaultHasher::new();
        format!("{next:?}").hash(&mut hasher);
        if seen.insert((hasher.finish(), depth)) {
            next.check();
            if depth > 1 {
                explore(&next, depth - 1, seen);
            }
        }
    }
}

#[test]
fn no_wake_up_is_lost_and_no_bound_is_broken_in_any_interleaving() {
    let mut seen = HashSet::new();
    explore(&World::new(Instant::now()), DEPTH, &mut seen);
    println!("{} states", seen.len());
    assert!(seen.len() > 10_000, "nothing was explored");
}
