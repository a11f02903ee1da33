//! When to claim: a pure state machine. No clock, socket or database inside; `now` comes in, an
//! [`Action`] goes out. Every reason to wake only sets one flag, `dirty`; there is one way to act on it.
//!
//! No wake-up is lost because the flag is cleared when a claim *starts*: whatever arrives while the
//! claim reads sets it again, and costs one more claim.

use std::time::Duration;

use tokio::time::Instant;

use self::bell::Bell;
use self::due::DueTimes;
pub use self::flag::{BellConfig, FlagAnswer, FlagOp};

/// The machine's settings.
#[derive(Debug, Clone, Copy)]
pub struct WakeConfig {
    /// Batches in flight at most.
    pub slots: usize,
    /// Time between sweeps while the listener is up.
    pub sweep_interval: Duration,
    /// Time between sweeps while it is not.
    pub poll_interval: Duration,
    /// After the bell has rung and nothing was found, the time to one more claim.
    pub again: Duration,
}

impl WakeConfig {
    /// A relay that has died rings no more, and its tenants are locked until PostgreSQL has noticed: some
    /// milliseconds when its process was killed. Whoever rings just then would wait for the sweep. At most
    /// two claims a second more, and only while somebody rings.
    pub const AGAIN: Duration = Duration::from_millis(500);
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
    /// The claim under way has read; this or [`Input::ClaimFailed`] comes exactly once after each
    /// [`Action::Claim`].
    Claimed {
        /// Whether it stopped at its limit, so that there is probably more to claim.
        more: bool,
        /// Events that it found.
        found: usize,
    },
    /// The claim under way could not read.
    ClaimFailed,
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
    /// What has come of the last [`Action::Flag`]; comes exactly once after each.
    Flag(FlagAnswer),
    /// Claim no more.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a batch now; the machine counts it as begun.
    Claim,
    /// Do this about the flag that silences the bell.
    Flag(FlagOp),
    /// Nothing until then, unless an input comes.
    SleepUntil(Instant),
    /// Stopped, and no batch is in flight any more.
    Finished,
}

/// The state.
#[derive(Debug, Clone)]
pub struct Wake {
    config: WakeConfig,
    /// None: this relay leaves the flag alone.
    bell: Option<Bell>,
    dirty: bool,
    /// Whether nothing but the sweep has made it so.
    swept: bool,
    /// The same of the claim under way.
    claim_swept: bool,
    claiming: bool,
    /// Whether the bell has rung since the last claim started; the same of the claim under way.
    rung: bool,
    claim_rung: bool,
    /// When to claim once more because the bell's claim has found nothing.
    again_at: Option<Instant>,
    /// Whether a sweep has asked for a look.
    sweep_looks: bool,
    in_flight: usize,
    listening: bool,
    next_sweep: Instant,
    due: DueTimes,
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
            bell: None,
            dirty: true,
            swept: false,
            claim_swept: false,
            claiming: false,
            rung: false,
            claim_rung: false,
            again_at: None,
            sweep_looks: false,
            in_flight: 0,
            listening: false,
            next_sweep: now + config.poll_interval,
            due: DueTimes::new(now),
            paused_until: None,
            paced_until: None,
            probing: false,
            stopping: false,
        }
    }

    /// Has it silence the bell while it is awake.
    pub fn with_bell(self, bell: BellConfig, now: Instant) -> Self {
        Self { bell: Some(Bell::new(bell, now)), ..self }
    }

    /// Takes note of what has happened. Call [`Wake::poll`] afterwards.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Notice => {
                self.wake_up();
                self.rung = true;
                if let Some(bell) = &mut self.bell {
                    bell.noticed(now);
                }
            }
            Input::ListenerUp => {
                self.listening = true;
                // The claim that follows is as good as a sweep.
                self.next_sweep = now + self.config.sweep_interval;
                self.wake_up();
            }
            Input::ListenerDown => {
                self.listening = false;
                self.next_sweep = self.next_sweep.min(now + self.config.poll_interval);
            }
            Input::Claimed { more, found } => {
                self.claiming = false;
                if more {
                    self.wake_up();
                }
                if found == 0 && self.claim_rung {
                    self.again_at.get_or_insert(now + self.config.again);
                }
                if let Some(bell) = &mut self.bell {
                    bell.claimed(found, more, now);
                }
            }
            Input::ClaimFailed => {
                self.claiming = false;
                if let Some(bell) = &mut self.bell {
                    bell.claim_failed(now);
                }
            }
            Input::BatchEnded { progress } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                if progress {
                    self.wake_up();
                }
            }
            Input::DueAt(at) => self.due.add(at),
            Input::PauseUntil(until) => {
                self.paused_until = Some(self.paused_until.map_or(until, |p| p.max(until)));
                self.probing = true;
                self.wake_up();
            }
            Input::PaceUntil(until) => self.paced_until = Some(until),
            Input::Recovered => {
                self.probing = false;
                self.paused_until = None;
            }
            Input::Flag(answer) => {
                self.looked(answer);
                if self.bell.as_mut().is_some_and(|bell| bell.answered(answer, now)) {
                    self.wake_up();
                }
            }
            Input::Stop => {
                self.stopping = true;
                if let Some(bell) = &mut self.bell {
                    bell.stop();
                }
            }
        }
    }

    /// Decides. Must be called again after every input and at the time it names.
    pub fn poll(&mut self, now: Instant) -> Action {
        // First: a look that the bell wants at the same time does for both.
        if self.next_sweep <= now && !self.stopping {
            self.next_sweep = now + self.interval();
            self.sweep(now);
        }
        if let Some(op) = self.bell.as_mut().and_then(|bell| bell.poll(now)) {
            return Action::Flag(op);
        }
        if self.stopping {
            let over = self.in_flight == 0 && self.bell.as_ref().is_none_or(Bell::has_stopped);
            return if over { Action::Finished } else { self.sleep(now) };
        }
        let claim_due = self.bell.as_mut().is_some_and(|bell| bell.claim_due(now));
        if self.due.take(now) | claim_due | self.again_at.is_some_and(|at| at <= now) {
            self.wake_up();
        }
        if let Some(until) = self.paused_until {
            if now < until {
                return self.sleep_at_most(until, now);
            }
            self.paused_until = None;
        }
        if let Some(until) = self.paced_until {
            if now < until {
                return self.sleep_at_most(until, now);
            }
            self.paced_until = None;
        }
        let slots = if self.probing { 1 } else { self.config.slots };
        if self.dirty && !self.claiming && self.in_flight < slots {
            self.dirty = false;
            self.again_at = self.again_at.filter(|at| *at > now);
            self.claim_rung = std::mem::take(&mut self.rung);
            self.claim_swept = std::mem::take(&mut self.swept);
            self.claiming = true;
            self.in_flight += 1;
            if let Some(bell) = &mut self.bell {
                bell.claim_started();
            }
            return Action::Claim;
        }
        self.sleep(now)
    }

    /// Whether nothing but the sweep was the reason for the last [`Action::Claim`]: what it finds, the bell
    /// should have said.
    pub fn claim_is_swept(&self) -> bool {
        self.claim_swept
    }

    /// Batches that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether nothing is in flight, nothing is known to be waiting, and no hold ends within `patience`.
    pub fn is_idle(&self, now: Instant, patience: Duration) -> bool {
        self.in_flight == 0 && !self.dirty && self.due.next().is_none_or(|due| due > now + patience)
    }

    /// Whether the next [`Wake::poll`] sweeps: looks because of the time and not because anybody rang.
    pub fn sweeps(&self, now: Instant) -> bool {
        self.next_sweep <= now
    }

    /// Whether a hold has ended of which [`Wake::poll`] does not know yet.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.next().is_some_and(|due| due <= now)
    }

    fn interval(&self) -> Duration {
        if self.listening { self.config.sweep_interval } else { self.config.poll_interval }
    }

    /// The next time at which something falls due by itself. Everything else comes as an input.
    fn sleep(&self, now: Instant) -> Action {
        // When dirty with no slot free, the end of a batch wakes us, not the clock.
        let claims = self.again_at.filter(|_| !self.claiming && !self.stopping);
        let next = [self.due.next(), claims, Some(self.next_sweep)].into_iter().flatten().min();
        self.sleep_at_most(next.unwrap_or(self.next_sweep), now)
    }

    /// Sees whether anything is pending, by a claim or, where that is enough, by a look: one short statement
    /// instead of a transaction of ten.
    fn sweep(&mut self, now: Instant) {
        let looks = self.listening && !self.dirty && self.in_flight == 0;
        if looks && self.bell.as_mut().is_some_and(|bell| bell.look_now(now)) {
            self.sweep_looks = true;
        } else {
            self.swept = self.listening && (self.swept || !self.dirty);
            self.dirty = true;
        }
    }

    /// A look for a sweep has ended; when it has failed, a claim will say why.
    fn looked(&mut self, answer: FlagAnswer) {
        let pending = match answer {
            FlagAnswer::Seen { pending, .. } => pending,
            FlagAnswer::Failed { .. } => true,
            // Awake it claims without being asked.
            FlagAnswer::Raised { .. } => false,
            FlagAnswer::Lowered { .. } | FlagAnswer::Fenced { .. } | FlagAnswer::Rung => return,
        };
        if std::mem::take(&mut self.sweep_looks) && pending {
            self.swept = self.listening && (self.swept || !self.dirty);
            self.dirty = true;
        }
    }

    fn sleep_at_most(&self, until: Instant, now: Instant) -> Action {
        let bell = self.bell.as_ref().and_then(|bell| bell.next(now));
        let until = bell.map_or(until, |bell| bell.min(until));
        Action::SleepUntil(until.max(now + Duration::from_millis(1)))
    }

    /// There is a reason to claim that the sweep is not.
    fn wake_up(&mut self) {
        (self.dirty, self.swept) = (true, false);
    }
}

mod bell;
#[cfg(test)]
mod bell_model;
mod due;
mod flag;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
