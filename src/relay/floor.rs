//! Where claims may begin: a position below which nothing waits, nor ever will. Pure.
//!
//! While somebody holds a snapshot, what is published stays in the index of pending events, and a claim that begins at
//! its beginning visits all of it (600,000 events: 1.4 s a claim). The floor lets it begin behind. It is this relay's own,
//! in memory, and rests on four things:
//!
//! - A position is given out while its transaction holds its lock on the table, the highest is read outside snapshots, and
//!   the lock goes only when what was committed can be seen. So of all positions up to a number read *before* the writers
//!   were looked for, those that cannot be seen *afterwards* belong to these writers, or to nobody.
//! - A writer that an earlier look did not find has only positions above the number of that look.
//! - What is published or failed does not wait again; so once true, it stays true, and the floor never falls.
//! - All three can be broken from outside: a failed event is requeued, positions are written by hand, a sequence is
//!   restarted, PostgreSQL loses commits. Requeues notify with a payload, a lost connection is noticed, a sequence that
//!   went back too: the floor is *forgotten*, and claims begin at 0. For the rest there is a *check* whether anything
//!   waits below, which takes a twentieth of the time at most: with few dead entries 250 ms go by between two, with many 10 s.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::claim::Start;
use crate::store::floor::FloorLook;

/// Events between two looks: claims read the rows from the floor on, so it must not stay far behind; nor must a look cost more
/// than they do.
const LOOK_EVENTS: usize = 200;

/// Time between two looks at least.
const LOOK_GAP: Duration = Duration::from_millis(250);

/// A claim that takes longer than this, and this for each event, has a reason to begin behind something; a floor costs
/// each claim up to 2,000 rows more, so nobody has one without a reason. A loaded machine is no reason, and no harm.
const SLOW: Duration = Duration::from_millis(5);
const SLOW_EVENT: Duration = Duration::from_micros(20);

/// How long it is kept after the last such claim. Afterwards one claim goes without, to see whether it is still slow: a
/// second under a snapshot held for hours, which once in ten minutes is little.
const WANTED: Duration = Duration::from_secs(600);

/// Time between two checks, and the part of the time that they may take.
const CHECK_MIN: Duration = Duration::from_millis(250);
const CHECK_MAX: Duration = Duration::from_secs(10);
const CHECK_SHARE: u32 = 20;

/// Rows from the floor on that claims read by position, to learn which tenants wait.
const FEW: i64 = 2_000;

/// What is to be asked of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// How far nothing waits, from this position on.
    Look(i64),
    /// Whether anything waits below this position.
    Check(i64),
}

/// The state.
#[derive(Debug)]
pub(super) struct Floor {
    /// 0: none.
    value: i64,
    /// Grows whenever it is forgotten: what was asked before says nothing afterwards.
    era: u64,
    /// The highest position given out at the last look.
    issued: Option<i64>,
    /// The writers of the last look, and a number that all their positions are above.
    writers: HashMap<String, i64>,
    /// Events found since then.
    found: usize,
    /// Events found that may be above the floor: once there are many, claims need not count them.
    above: i64,
    /// When a look at the flag is to see what is pending below the floor too.
    whole_at: Instant,
    look_at: Instant,
    check_at: Instant,
    /// Whether there is a reason for a check: events come, or somebody rang, or it is time to sweep.
    unchecked: bool,
    /// One question at a time.
    asking: bool,
    /// Until when it is worth its price.
    wanted_until: Option<Instant>,
}

impl Floor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            value: 0,
            era: 0,
            issued: None,
            writers: HashMap::new(),
            found: 0,
            above: 0,
            whole_at: now,
            look_at: now,
            check_at: now,
            unchecked: false,
            asking: false,
            wanted_until: None,
        }
    }

    /// A claim has taken so long, and found so many events.
    pub(super) fn claim_took(&mut self, took: Duration, found: usize, now: Instant) {
        let events = u32::try_from(found).unwrap_or(u32::MAX);
        if took > SLOW + SLOW_EVENT.saturating_mul(events) {
            self.want_until(now + WANTED);
        } else if self.wanted_until.is_some_and(|until| until <= now) {
            self.wanted_until = None;
            self.forget();
        }
    }

    /// Keeps a floor until then, whatever claims take.
    pub(super) fn want_until(&mut self, until: Instant) {
        self.wanted_until = Some(self.wanted_until.map_or(until, |before| before.max(until)));
    }

    /// Where the next claim may begin.
    pub(super) fn start(&self) -> Start {
        Start { floor: self.value, few: if self.above > FEW { 0 } else { FEW } }
    }

    /// From where on a look at the flag asks whether anything is pending: like a check, now and then from 0.
    pub(super) fn pending_from(&mut self, now: Instant) -> i64 {
        if self.value > 0 && now < self.whole_at {
            return self.value;
        }
        self.whole_at = now + CHECK_MAX;
        0
    }

    /// Which of several is meant, for [`Floor::looked`] and [`Floor::checked`].
    pub(super) fn era(&self) -> u64 {
        self.era
    }

    /// Something may wait below.
    pub(super) fn forget(&mut self) {
        self.value = 0;
        self.era += 1;
        self.issued = None;
        self.writers.clear();
    }

    /// There is a reason to claim: should it be below the floor, a check finds it.
    pub(super) fn woken(&mut self) {
        self.unchecked = true;
    }

    /// A claim has found this many events. When to claim again although nobody asks for it, for the sake of a check.
    pub(super) fn claimed(&mut self, found: usize) -> Option<Instant> {
        self.found = self.found.saturating_add(found);
        self.above = self.above.saturating_add(i64::try_from(found).unwrap_or(i64::MAX));
        self.unchecked |= found > 0;
        (found == 0 && self.unchecked && self.value > 0).then_some(self.check_at)
    }

    /// What to ask now; one of [`Floor::looked`], [`Floor::checked`] and [`Floor::unanswered`] must follow.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Ask> {
        if self.asking || self.wanted_until.is_none() {
            return None;
        }
        let ask = if self.value > 0 && self.unchecked && self.check_at <= now {
            self.unchecked = false;
            Ask::Check(self.value)
        } else if self.found >= LOOK_EVENTS && self.look_at <= now {
            self.found = 0;
            Ask::Look(self.value)
        } else {
            return None;
        };
        self.asking = true;
        Some(ask)
    }

    /// A look that began in this era has ended.
    pub(super) fn looked(&mut self, era: u64, look: FloorLook, now: Instant) {
        self.asking = false;
        self.look_at = now + LOOK_GAP;
        if era != self.era {
            return;
        }
        let Some(issued) = look.issued else { return self.forget() };
        if self.issued.is_some_and(|before| issued < before) {
            return self.forget();
        }
        // A prepared transaction is another to pg_locks than it was before; it may be the oldest of those.
        let oldest = self.writers.values().copied().min();
        let bound = |writer: &String| {
            let new = self.issued.unwrap_or(0);
            match self.writers.get(writer) {
                Some(above) => *above,
                None if writer.starts_with("-1/") => oldest.map_or(new, |oldest| oldest.min(new)),
                None => new,
            }
        };
        let writers: HashMap<String, i64> =
            look.writers.into_iter().map(|writer| (writer.clone(), bound(&writer))).collect();
        // Of what has been given out, the last one is left to claims: a floor above everything would have them read
        // nothing at all, which is also how a sequence that was restarted looks.
        // A writer that the first look has found may have any position.
        let known = writers.values().all(|above| *above > 0);
        let open = writers.values().copied().min().map_or(issued, |above| above.saturating_add(1));
        let proven = open.min(issued).min(look.clear_below);
        if known && proven > self.value {
            if self.value == 0 {
                self.check_at = now + CHECK_MIN;
            }
            self.value = proven;
            self.above = i64::try_from(self.found).unwrap_or(i64::MAX);
        }
        (self.issued, self.writers) = (Some(issued), writers);
    }

    /// A check that began in this era has ended after so long. Whether there is something to claim.
    pub(super) fn checked(&mut self, era: u64, found: bool, took: Duration, now: Instant) -> bool {
        self.asking = false;
        self.check_at = now + (took * CHECK_SHARE).clamp(CHECK_MIN, CHECK_MAX);
        if found && era == self.era {
            self.forget();
        }
        found
    }

    /// A question has had no answer.
    pub(super) fn unanswered(&mut self, now: Instant) {
        self.asking = false;
        self.look_at = now + CHECK_MAX;
        self.check_at = now + CHECK_MIN;
        self.forget();
    }
}

#[cfg(test)]
mod tests;
