//! When writers need not ring: the flag that says that a relay is awake. Pure, like the machine it is part of.
//!
//! A writer that reads the flag up does not notify; a relay that has raised it owes a claim after that
//! writer's commit. Three rules make good for every such debt, whoever crashes and wherever:
//!
//! 1. *Awake*, a relay claims again and again. What it cannot claim (no slot, a pause) it passes on by ringing.
//! 2. *Before it dozes* it lowers the flag first, and then claims once at once, and once more each time one of the
//!    transactions has ended that had written before. Only those can have seen the flag up and not be visible yet.
//! 3. *Dozing*, a relay looks at the flag now and then. When it finds it down with a value that it has not dealt
//!    with (somebody has lowered it, or has died without), it does what the other was to do after
//!    lowering. So a crash costs no more than the flag's term and the time between two looks.
//!
//! Lowering is always safe: it makes writers ring. So several relays need not agree about anything.

use std::time::Duration;

use tokio::time::Instant;

use super::flag::{AHEAD_MAX_MS, BellConfig, FlagAnswer, FlagOp};

/// The most that one claim or notification counts: it may have come from a single transaction.
const COUNT_MAX: f64 = 8.0;

/// While claims are owed nobody finds anything, so the count leaks slower by this: else writers would ring
/// through an outage, to relays that cannot claim.
const OWED_LEAK: f64 = 1.0 / 16.0;

/// From when on a claim counts as owed for that.
const OWED_AFTER: Duration = Duration::from_millis(50);

/// Time to the next attempt after PostgreSQL did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Time to the next attempt after it refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Bounds of the time between two checks of a fence. In between, an eighth of its age: a late commit is
/// claimed after at most that fraction of the time for which it was late.
const CHECK_MIN: Duration = Duration::from_millis(4);
const CHECK_MAX: Duration = Duration::from_secs(1);

/// Awake.
#[derive(Debug, Clone, Copy)]
struct Awake {
    renew_at: Instant,
    /// When the next claim is due; none while one is.
    claim_at: Option<Instant>,
    gap: Duration,
    /// The value that this relay has set.
    mine: Option<i64>,
}

/// Transactions that may have seen the flag up and cannot be seen yet.
#[derive(Debug, Clone, Copy)]
struct Fence {
    since: Instant,
    open: usize,
    check_at: Instant,
}

/// What is left to do before a relay that stops has handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Lower,
    Ring,
    Over,
}

/// The state.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    config: BellConfig,
    level: f64,
    level_at: Instant,
    /// Under way.
    op: Option<FlagOp>,
    awake: Option<Awake>,
    /// It has been looked whether another relay keeps the flag up: none does.
    alone: bool,
    fence: Option<Fence>,
    fence_at: Option<Instant>,
    /// The value that was dealt with last.
    handled: Option<i64>,
    look_at: Instant,
    /// Since when a claim is owed that nobody else knows of.
    owed: Option<Instant>,
    /// Whether one is owed that the claim under way may not have seen.
    owed_anew: bool,
    ring_at: Instant,
    /// Whether the flag may be raised: a look says so.
    raisable: bool,
    stop: Stop,
}

impl Bell {
    pub(super) fn new(config: BellConfig, now: Instant) -> Self {
        Self {
            config,
            level: 0.0,
            level_at: now,
            op: None,
            awake: None,
            alone: false,
            fence: None,
            fence_at: None,
            handled: None,
            look_at: now,
            owed: None,
            owed_anew: false,
            ring_at: now,
            raisable: false,
            stop: Stop::No,
        }
    }

    /// A notification has come. When somebody is about to raise the flag it is the last: a look soon
    /// afterwards tells, and from then on the flag's end is waited for.
    pub(super) fn noticed(&mut self, now: Instant) {
        if self.awake.is_none() {
            self.count(1.0, now);
            self.look_at = self.look_at.min(now + self.config.look_rung);
        }
    }

    /// Has it look at once. Returns whether it will: awake, it need not.
    pub(super) fn look_now(&mut self, now: Instant) -> bool {
        let looks = self.op == Some(FlagOp::Look);
        let will = self.awake.is_none() && (looks || self.op.is_none()) && self.stop == Stop::No;
        if will && !looks {
            self.look_at = now;
        }
        will
    }

    /// A claim starts.
    pub(super) fn claim_started(&mut self) {
        self.owed_anew = false;
        if let Some(awake) = &mut self.awake {
            awake.claim_at = None;
        }
    }

    /// It has read this many events; `more` when there are others that it did not take.
    pub(super) fn claimed(&mut self, found: usize, more: bool, now: Instant) {
        let found = f64::from(u32::try_from(found).unwrap_or(u32::MAX)).min(COUNT_MAX);
        // Dozing, its first event has been counted as a notification.
        self.count(if self.awake.is_some() { found } else { (found - 1.0).max(0.0) }, now);
        if !more {
            self.owed = if self.owed_anew { Some(now) } else { None };
        }
        let config = self.config;
        if let Some(awake) = &mut self.awake {
            let longer = (awake.gap + config.gap_min).min(config.gap_max);
            awake.gap = if found > 0.0 { config.gap_min } else { longer };
            awake.claim_at = Some(now + awake.gap);
        }
    }

    /// It could not read: what was owed still is.
    pub(super) fn claim_failed(&mut self, now: Instant) {
        let gap = self.config.gap_max;
        if let Some(awake) = &mut self.awake {
            awake.claim_at = Some(now + gap);
        }
    }

    /// Takes an answer. Returns whether a claim is owed for it.
    pub(super) fn answered(&mut self, answer: FlagAnswer, now: Instant) -> bool {
        let Some(op) = self.op.take() else { return false };
        match answer {
            FlagAnswer::Raised { until } => {
                let renew_at = now + self.config.renewal;
                if let Some(awake) = &mut self.awake {
                    (awake.mine, awake.renew_at) = (Some(until), renew_at);
                }
                false
            }
            FlagAnswer::Lowered { until, open } => {
                self.awake = None;
                self.handled = Some(until);
                self.look_at = now + self.config.look;
                self.fenced(open, now)
            }
            FlagAnswer::Seen { until, ahead_ms, raisable, pending: _ } => {
                self.raisable = raisable;
                self.seen(until, ahead_ms, now)
            }
            FlagAnswer::Fenced { open } if op == FlagOp::Fence => self.fenced(open, now),
            FlagAnswer::Fenced { open } => self.checked(open, now),
            FlagAnswer::Rung => {
                self.ring_at = now + self.config.pass_on;
                false
            }
            FlagAnswer::Failed { lasting } => {
                self.failed(op, if lasting { REFUSED } else { RETRY }, now);
                false
            }
        }
    }

    /// What is to be done about the flag now; nothing while an answer is outstanding.
    pub(super) fn poll(&mut self, now: Instant) -> Option<FlagOp> {
        if self.op.is_none() {
            self.op = if self.stop == Stop::No { self.next_op(now) } else { self.last_op() };
            return self.op;
        }
        None
    }

    /// Whether a claim is due by the clock.
    pub(super) fn claim_due(&mut self, now: Instant) -> bool {
        let Some(awake) = self.awake.as_mut().filter(|a| a.claim_at.is_some_and(|at| at <= now))
        else {
            return false;
        };
        awake.claim_at = None;
        self.owe(now);
        true
    }

    /// When to be asked again, if nothing happens before.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let claim = self.awake.and_then(|awake| awake.claim_at);
        if self.op.is_some() || self.stop != Stop::No {
            return claim;
        }
        let ring = self.owed.map(|since| (since + self.config.pass_on).max(self.ring_at));
        let of_mode = match self.awake {
            Some(awake) => {
                let left = Duration::from_secs_f64(self.level / self.leak(now));
                Some(awake.renew_at.min(self.level_at + left))
            }
            None => Some(self.fence.map_or(self.look_at, |f| f.check_at.min(self.look_at))),
        };
        [claim, ring, of_mode, self.fence_at].into_iter().flatten().min()
    }

    /// Hands over: lowers the flag if it may be up, and has the others claim.
    pub(super) fn stop(&mut self) {
        if self.stop == Stop::No {
            let owes = self.fence.is_some() || self.fence_at.is_some() || self.owed.is_some();
            self.stop = match self.awake {
                Some(_) => Stop::Lower,
                None if owes => Stop::Ring,
                None => Stop::Over,
            };
        }
    }

    /// Whether it has handed over.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop == Stop::Over && matches!(self.op, None | Some(FlagOp::Look | FlagOp::Check))
    }

    fn next_op(&mut self, now: Instant) -> Option<FlagOp> {
        let overdue = self.owed.is_some_and(|since| since + self.config.pass_on <= now);
        if overdue && self.ring_at <= now {
            return Some(FlagOp::Ring);
        }
        if self.fence_at.is_some_and(|at| at <= now) {
            return Some(FlagOp::Fence);
        }
        self.leak_until(now);
        match self.awake {
            Some(_) if self.level <= 0.0 => {
                Some(if self.alone { FlagOp::Lower } else { FlagOp::Look })
            }
            Some(awake) => (awake.renew_at <= now).then_some(FlagOp::Raise),
            None if self.level >= self.config.rise && self.raisable => {
                let gap = self.config.gap_min;
                self.awake = Some(Awake { renew_at: now, claim_at: Some(now), gap, mine: None });
                self.alone = false;
                Some(FlagOp::Raise)
            }
            None if self.fence.is_some_and(|fence| fence.check_at <= now) => Some(FlagOp::Check),
            None => (self.look_at <= now).then_some(FlagOp::Look),
        }
    }

    fn last_op(&mut self) -> Option<FlagOp> {
        let (op, next) = match self.stop {
            Stop::Lower => (FlagOp::Lower, Stop::Ring),
            Stop::Ring => (FlagOp::Ring, Stop::Over),
            Stop::No | Stop::Over => return None,
        };
        self.stop = next;
        Some(op)
    }

    fn seen(&mut self, until: i64, ahead_ms: i64, now: Instant) -> bool {
        let up = (0..=AHEAD_MAX_MS).contains(&ahead_ms);
        let over = now + Duration::from_millis(u64::try_from(ahead_ms).unwrap_or(0) + 1);
        if let Some(awake) = self.awake {
            if !up || awake.mine == Some(until) {
                self.alone = true;
                return false;
            }
            // Another relay has raised it since, and so claims for us both: lowering it would only make
            // writers ring. What becomes of that relay is seen as ever.
            self.awake = None;
            self.look_at = over;
            return self.owe(now);
        }
        self.look_at = if up { over } else { now + self.config.look };
        // In the millisecond in which it ends it may still be set to the same value.
        if ahead_ms < 0 && self.handled != Some(until) {
            self.handled = Some(until);
            self.fence_at = (until != 0).then_some(now);
        }
        false
    }

    fn fenced(&mut self, open: usize, now: Instant) -> bool {
        self.fence_at = None;
        let fence = Fence { since: now, open, check_at: now + CHECK_MIN };
        self.fence = (open > 0).then_some(fence);
        self.owe(now)
    }

    fn checked(&mut self, open: usize, now: Instant) -> bool {
        let Some(fence) = &mut self.fence else { return false };
        let wait = (now.saturating_duration_since(fence.since) / 8).clamp(CHECK_MIN, CHECK_MAX);
        fence.check_at = now + wait;
        let ended = open < fence.open;
        fence.open = open;
        if open == 0 {
            self.fence = None;
        }
        ended && self.owe(now)
    }

    fn failed(&mut self, op: FlagOp, wait: Duration, now: Instant) {
        match op {
            FlagOp::Raise if wait == RETRY => {
                if let Some(awake) = &mut self.awake {
                    awake.renew_at = now + wait;
                }
            }
            FlagOp::Raise => {
                (self.awake, self.raisable) = (None, false);
                self.unsure(now);
            }
            FlagOp::Lower => {
                self.awake = None;
                self.unsure(now);
            }
            FlagOp::Look if self.awake.is_some() => self.alone = true,
            FlagOp::Look => self.look_at = now + wait,
            FlagOp::Fence => self.fence_at = Some(now + wait),
            FlagOp::Check => {
                if let Some(fence) = &mut self.fence {
                    fence.check_at = now + wait;
                }
            }
            FlagOp::Ring => self.ring_at = now + wait,
        }
        if self.stop != Stop::No && matches!(op, FlagOp::Lower | FlagOp::Ring) {
            self.stop = Stop::Over;
        }
    }

    /// The flag may be up or down: it is as if another relay had died.
    fn unsure(&mut self, now: Instant) {
        self.handled = None;
        self.look_at = now + self.config.look;
        self.fence_at = Some(now + self.config.term);
    }

    fn owe(&mut self, now: Instant) -> bool {
        self.owed.get_or_insert(now);
        self.owed_anew = true;
        true
    }

    fn count(&mut self, transactions: f64, now: Instant) {
        self.leak_until(now);
        self.level = (self.level + transactions).min(self.config.level_max);
        if transactions > 0.0 {
            self.alone = false;
        }
    }

    fn leak_until(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.level_at).as_secs_f64();
        self.level = (self.level - passed * self.leak(now)).max(0.0);
        self.level_at = now;
    }

    fn leak(&self, now: Instant) -> f64 {
        match self.awake {
            Some(_) if self.owed.is_some_and(|since| since + OWED_AFTER <= now) => {
                self.config.leak_awake * OWED_LEAK
            }
            Some(_) => self.config.leak_awake,
            None => self.config.leak_dozing,
        }
    }
}
