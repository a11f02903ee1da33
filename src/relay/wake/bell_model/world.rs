//! What happens in the world when a step is taken, and whether an event is left lying.

use super::*;

impl World {
    fn writing(&self) -> Vec<usize> {
        let xid = |w: &Writer| match w {
            Writer::Locked { xid, .. } | Writer::Inserted { xid, .. } => Some(*xid),
            Writer::NotBegun | Writer::Begun { .. } | Writer::Ended => None,
        };
        let all = self.writers.iter().enumerate();
        let by_xmax = self.mutation == Mutation::FenceByXmax;
        all.filter(|(_, w)| xid(w).is_some_and(|xid| !by_xmax || xid <= self.newest_ended))
            .filter(|_| self.mutation != Mutation::NoFence)
            .map(|(index, _)| index)
            .collect()
    }

    fn ring(&mut self) {
        self.relays.iter_mut().for_each(|relay| relay.notice |= relay.listening);
    }

    pub(super) fn write(&mut self, index: usize) -> bool {
        self.writers[index] = match self.writers[index] {
            Writer::NotBegun => Writer::Begun { flag: self.flag },
            Writer::Begun { flag } => {
                self.xids += 1;
                Writer::Locked { flag, xid: self.xids }
            }
            Writer::Locked { flag, xid } => {
                let old = self.mutation == Mutation::FlagInSnapshot;
                let ahead = if old { flag } else { self.flag } - self.ms;
                Writer::Inserted { rings: !(1..=3_000).contains(&ahead), xid }
            }
            Writer::Inserted { rings, xid } => {
                self.pending += 1;
                self.newest_ended = self.newest_ended.max(xid);
                if rings {
                    self.ring();
                }
                Writer::Ended
            }
            Writer::Ended => return false,
        };
        true
    }

    fn raise(&mut self) -> i64 {
        self.flag = self.ms + 1_000;
        self.flag
    }

    fn lower(&mut self) -> i64 {
        self.flag = if self.mutation == Mutation::LowerToZero { 0 } else { self.ms };
        self.flag
    }

    /// The server does what a relay has asked for.
    fn perform(&mut self, index: usize) -> bool {
        let relay = &self.relays[index];
        let (Some(op), None) = (relay.op, relay.answer) else { return false };
        let answer = match op {
            FlagOp::Raise => FlagAnswer::Raised { until: self.raise() },
            FlagOp::Lower => {
                if self.mutation == Mutation::FenceBeforeLower && !relay.lowered {
                    self.relays[index].fence = self.writing();
                    self.relays[index].lowered = true;
                    return true;
                }
                let until = self.lower();
                if self.mutation != Mutation::FenceBeforeLower && !self.relays[index].lowered {
                    self.relays[index].lowered = true;
                    return true;
                }
                if self.mutation != Mutation::FenceBeforeLower {
                    self.relays[index].fence = self.writing();
                }
                FlagAnswer::Lowered { until, open: self.relays[index].fence.len() }
            }
            FlagOp::Look if self.mutation == Mutation::NoLook => {
                FlagAnswer::Seen { until: 0, ahead_ms: -1, raisable: true, pending: false }
            }
            FlagOp::Look => {
                let (until, ahead_ms) = (self.flag, self.flag - self.ms);
                FlagAnswer::Seen { until, ahead_ms, raisable: true, pending: self.pending > 0 }
            }
            FlagOp::Fence => {
                let writing = self.writing();
                self.relays[index].fence = writing;
                FlagAnswer::Fenced { open: self.relays[index].fence.len() }
            }
            FlagOp::Check => {
                let writing = self.writing();
                self.relays[index].fence.retain(|w| writing.contains(w));
                FlagAnswer::Fenced { open: self.relays[index].fence.len() }
            }
            FlagOp::Ring => {
                if self.mutation != Mutation::NoRing {
                    self.ring();
                }
                FlagAnswer::Rung
            }
        };
        self.relays[index].answer = Some(answer);
        true
    }

    /// Takes a step, unless it is none now.
    pub(super) fn take(&mut self, step: Step) -> bool {
        let now = self.now;
        match step {
            Step::Write(index) => return self.write(index),
            Step::Tick => self.pass(TICK),
            Step::LateRaise => {
                let late = std::mem::take(&mut self.late_raise);
                if late {
                    self.raise();
                }
                return late;
            }
            Step::Notice(i)
            | Step::Read(i)
            | Step::Hear(i)
            | Step::Do(i)
            | Step::Answer(i)
            | Step::Poll(i)
            | Step::Crash(i)
            | Step::Pause(i)
            | Step::Deaf(i)
            | Step::Hearing(i)
            | Step::FailOp(i) => {
                if !self.relays[i].alive {
                    return false;
                }
                return self.take_of_relay(step, i, now);
            }
        }
        true
    }

    fn take_of_relay(&mut self, step: Step, i: usize, now: Instant) -> bool {
        let Self { pending, spent, mutation, .. } = self;
        let relay = &mut self.relays[i];
        match step {
            Step::Notice(_) if relay.notice => {
                relay.notice = false;
                relay.hear(Input::Notice, now)
            }
            Step::Read(_) if relay.claim == Claiming::Begun => {
                let wasted = *mutation == Mutation::ClaimBeforeLower && relay.lowered;
                relay.claim = Claiming::Read(if wasted { 0 } else { std::mem::take(pending) });
                true
            }
            Step::Hear(_) if let Claiming::Read(found) = relay.claim => {
                relay.claim = Claiming::No;
                relay.wake.handle(Input::Claimed { more: false, found }, now);
                relay.hear(Input::BatchEnded { progress: found > 0 }, now)
            }
            Step::Do(_) => self.perform(i),
            Step::Answer(_) if let Some(answer) = relay.answer.take() => {
                let op = relay.op.take();
                relay.lowered &= op != Some(FlagOp::Raise) && op != Some(FlagOp::Lower)
                    || *mutation == Mutation::ClaimBeforeLower && op == Some(FlagOp::Lower);
                relay.hear(Input::Flag(answer), now)
            }
            Step::Poll(_) => {
                let before = (relay.claim, relay.op);
                relay.poll(now);
                before != (relay.claim, relay.op)
            }
            // One misfortune each.
            Step::Crash(_) if !*spent => {
                (relay.alive, *spent) = (false, true);
                self.late_raise = relay.op == Some(FlagOp::Raise) && relay.answer.is_none();
                true
            }
            Step::Pause(_) if !*spent => {
                (relay.paused, *spent) = (true, true);
                relay.hear(Input::PauseUntil(now + Duration::from_secs(600)), now)
            }
            Step::Deaf(_) if !*spent && relay.listening => {
                (relay.listening, relay.notice, *spent) = (false, false, true);
                relay.hear(Input::ListenerDown, now)
            }
            Step::Hearing(_) if !relay.listening => {
                relay.listening = true;
                relay.hear(Input::ListenerUp, now)
            }
            Step::FailOp(_) if !*spent && relay.op.is_some() => {
                *spent = true;
                self.late_raise = relay.op == Some(FlagOp::Raise) && relay.answer.is_none();
                (relay.op, relay.answer, relay.lowered) = (None, None, false);
                relay.hear(Input::Flag(FlagAnswer::Failed { lasting: false }), now)
            }
            Step::Write(_)
            | Step::Notice(_)
            | Step::Read(_)
            | Step::Hear(_)
            | Step::Answer(_)
            | Step::Crash(_)
            | Step::Pause(_)
            | Step::Deaf(_)
            | Step::Hearing(_)
            | Step::FailOp(_)
            | Step::LateRaise
            | Step::Tick => false,
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ms += i64::try_from(time.as_millis()).unwrap();
    }

    /// Whatever is under way comes to its end without time passing; when the first relay wants to be asked again.
    pub(super) fn rest(&mut self) -> Instant {
        self.take(Step::LateRaise);
        loop {
            let mut done = false;
            for i in [0, 1] {
                for step in [
                    Step::Notice(i),
                    Step::Do(i),
                    Step::Answer(i),
                    Step::Read(i),
                    Step::Hear(i),
                    Step::Poll(i),
                ] {
                    done |= self.take(step);
                }
            }
            if !done {
                let now = self.now;
                let alive = self.relays.iter_mut().filter(|relay| relay.alive);
                return alive.map(|relay| relay.poll(now)).min().unwrap();
            }
        }
    }

    /// Lets this much time pass, or less if everything has been claimed and `until_empty`.
    pub(super) fn run(&mut self, time: Duration, until_empty: bool) {
        let end = self.now + time;
        loop {
            let next = self.rest();
            if next >= end || (until_empty && self.pending == 0) {
                return self.pass(end - self.now);
            }
            let whole = (next - self.now).as_nanos().div_ceil(1_000_000);
            self.pass(Duration::from_millis(u64::try_from(whole).unwrap()));
            if self.now >= end {
                return;
            }
        }
    }

    fn commit_all(&mut self) {
        for index in [0, 1] {
            while matches!(self.writers[index], Writer::Locked { .. } | Writer::Inserted { .. }) {
                self.write(index);
            }
        }
    }

    /// Whether an event is left lying, whether its transaction ends now or much later.
    pub(super) fn loses(&self) -> bool {
        let mut soon = self.clone();
        soon.commit_all();
        soon.run(BOUND, true);
        let mut late = self.clone();
        late.run(BOUND, false);
        late.commit_all();
        late.run(BOUND, true);
        soon.pending + late.pending > 0
    }
}
