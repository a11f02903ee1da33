//! Every step that the protocol, its faults and the writers can take.

use crate::real::Planner;
use crate::state::{
    Batch, Events, Faults, Ids, Part, Record, Reply, Request, Snapshot, State, Tenants, members,
};

/// A protocol that lacks one of its precautions, to show that the model would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The protocol as it is.
    None,
    /// Rows that were locked before are planned like others.
    IgnoreLockTrace,
    /// Groups are sent without a record.
    SendWithoutRecord,
    /// The statement that locks the tenants also reads them, by its older snapshot.
    ReadInTheLocksStatement,
    /// A crash of PostgreSQL is not noticed.
    IgnoreServerStart,
    /// A record is written even when its relay no longer holds the tenant's lock.
    RecordWithoutLock,
    /// PostgreSQL answers a record's commit before it is on disk.
    RecordNotFlushed,
    /// Tenants are not locked.
    NoTenantLock,
    /// An outage forgets the group's record, as a refusal does.
    ForgetOnOutage,
    /// The protocol as it is, with an Ably that may refuse on merits what it has accepted, or will accept.
    FickleRefusals,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A subscriber got an event twice, under different message ids.
    Doubled(usize),
    /// Ably was given the ids of a group with other events.
    OtherComposition,
    /// An event came before a lower one that its claim had seen.
    OutOfOrder(usize),
    /// An event was sent that is not committed.
    NotCommitted(usize),
    /// A row is `published` and no subscriber got it.
    Lost(usize),
    /// A row is `failed` that Ably would take, or not `failed` that it never will.
    WronglyFailed(usize),
    /// Two relays send for one tenant.
    TwoOwners,
    /// A run without faults does not end.
    NeverSettled,
    /// It ends with a record that nobody needs.
    RecordLeft,
}

/// A step. Numbers are a relay's, an event's, or an index into what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Commit(usize),
    Begin(usize),
    Lock(usize),
    /// Reads and plans.
    Read(usize),
    RecordArrives(usize),
    LateRecordArrives(usize),
    /// Locks the rows and sends. One step: whoever dies in between has sent requests that never arrive.
    LockRowsAndSend(usize),
    RequestArrives(usize, usize),
    RequestRefused(usize, usize),
    TimeOut(usize, usize),
    Repeat(usize, usize),
    LateRequestArrives(usize),
    /// The same once more, later.
    LateRequestRepeats(usize),
    Settle(usize),
    BatchLost(usize),
    /// The set names the traces that were not on disk.
    PostgresCrashes(Events),
}

/// A world to explore.
pub(crate) struct Scenario {
    pub(crate) mutation: Mutation,
    pub(crate) relays: usize,
    /// The tenant of each event.
    pub(crate) tenants: &'static [usize],
    /// Events that Ably refuses, alone and in company.
    pub(crate) poison: Events,
    pub(crate) faults: Faults,
    /// Whether a run may end with a record that nobody needs: the next claim of the tenant removes it.
    pub(crate) records_may_stay: bool,
    pub(crate) planner: Planner,
}

pub(crate) fn bit(index: usize) -> u8 {
    1 << index
}

impl Scenario {
    pub(crate) fn start(&self) -> State {
        State::new(self.relays, self.faults)
    }

    pub(crate) fn events_of(&self, tenant: usize) -> Events {
        let own = self.tenants.iter().enumerate().filter(|(_, t)| **t == tenant);
        own.fold(0, |set, (event, _)| set | bit(event))
    }

    fn tenants_of(&self, events: Events) -> Tenants {
        members(events).fold(0, |set, event| set | bit(self.tenants[event]))
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == mutation
    }

    /// Every step that can be taken.
    pub(crate) fn enabled(&self, state: &State) -> Vec<Action> {
        let mut all = Vec::new();
        let waiting = (0..self.tenants.len()).filter(|event| state.committed & bit(*event) == 0);
        all.extend(waiting.map(Action::Commit));
        for (relay, batch) in state.relays.iter().enumerate() {
            self.enabled_of_relay(state, relay, batch, &mut all);
        }
        all.extend((0..state.late_records.len()).map(Action::LateRecordArrives));
        all.extend((0..state.late_requests.len()).map(Action::LateRequestArrives));
        if state.faults.repeats > 0 {
            all.extend((0..state.late_requests.len()).map(Action::LateRequestRepeats));
        }
        if state.faults.postgres_crashes > 0 {
            let traces = state.traces & state.pending();
            let subsets = (0..=traces).filter(|set| set & !traces == 0);
            all.extend(subsets.map(Action::PostgresCrashes));
        }
        all
    }

    fn enabled_of_relay(&self, state: &State, relay: usize, batch: &Batch, all: &mut Vec<Action>) {
        if *batch != Batch::Idle && state.faults.batches_lost > 0 {
            all.push(Action::BatchLost(relay));
        }
        match batch {
            // A claim that finds nobody changes nothing.
            Batch::Idle if self.is(Mutation::ReadInTheLocksStatement) && state.pending() != 0 => {
                all.push(Action::Begin(relay));
            }
            Batch::Idle if self.lockable(state, &state.snapshot()) != 0 => {
                all.push(Action::Lock(relay));
            }
            Batch::Idle => {}
            Batch::Begun(_) => all.push(Action::Lock(relay)),
            Batch::Locked { .. } => all.push(Action::Read(relay)),
            Batch::Recording { .. } => all.push(Action::RecordArrives(relay)),
            Batch::Recorded { .. } => all.push(Action::LockRowsAndSend(relay)),
            Batch::Sent { parts, .. } => {
                let open: Vec<usize> =
                    (0..parts.len()).filter(|part| parts[*part].reply == Reply::None).collect();
                if open.is_empty() {
                    all.push(Action::Settle(relay));
                }
                for part in open {
                    all.push(Action::RequestArrives(relay, part));
                    if self.is(Mutation::FickleRefusals) {
                        all.push(Action::RequestRefused(relay, part));
                    }
                    if state.faults.timeouts > 0 {
                        all.push(Action::TimeOut(relay, part));
                    }
                    if state.faults.repeats > 0 {
                        all.push(Action::Repeat(relay, part));
                    }
                }
            }
        }
    }

    /// The next step of a run without faults, unless everything is done. What is late stays away: a state in
    /// which it has arrived is a state of its own.
    pub(crate) fn fair(&self, state: &State) -> Option<Action> {
        let mut all = Vec::new();
        let quiet = State { faults: Faults::default(), ..state.clone() };
        // Batches under way first, so that the locks of all of them come free.
        let (idle, busy): (Vec<usize>, Vec<usize>) =
            (0..quiet.relays.len()).partition(|relay| quiet.relays[*relay] == Batch::Idle);
        for relay in busy.into_iter().chain(idle) {
            self.enabled_of_relay(&quiet, relay, &quiet.relays[relay], &mut all);
        }
        all.first().copied()
    }

    /// Tenants with pending events in the snapshot whose lock is free.
    fn lockable(&self, state: &State, snapshot: &Snapshot) -> Tenants {
        let held = state.relays.iter().fold(0, |held, batch| held | batch.tenants());
        let free = if self.is(Mutation::NoTenantLock) { u8::MAX } else { !held };
        self.tenants_of(snapshot.pending) & free
    }

    /// Takes a step.
    pub(crate) fn step(&self, state: &State, action: Action) -> Result<State, Violation> {
        let mut next = state.clone();
        match action {
            Action::Commit(event) => next.committed |= bit(event),
            Action::Begin(relay) => next.relays[relay] = Batch::Begun(state.snapshot()),
            Action::Lock(relay) => self.lock(&mut next, relay),
            Action::Read(relay) => self.read(&mut next, relay),
            Action::RecordArrives(relay) => self.record_arrives(&mut next, relay),
            Action::LateRecordArrives(index) => {
                let (tenant, record) = next.late_records.remove(index);
                next.records[usize::from(tenant)].get_or_insert(record);
            }
            Action::LockRowsAndSend(relay) => lock_rows_and_send(&mut next, relay),
            Action::RequestArrives(relay, part) => {
                let request = state.relays[relay].parts()[part].request;
                let reply = self.ably(&mut next, request)?;
                reply_to(&mut next, relay, part, reply);
            }
            Action::RequestRefused(relay, part) => {
                reply_to(&mut next, relay, part, Reply::Refused);
            }
            Action::TimeOut(relay, part) => {
                next.faults.timeouts -= 1;
                next.late_requests.push(state.relays[relay].parts()[part].request);
                reply_to(&mut next, relay, part, Reply::Outage);
            }
            Action::Repeat(relay, part) => {
                next.faults.repeats -= 1;
                next.late_requests.push(state.relays[relay].parts()[part].request);
            }
            Action::LateRequestArrives(index) => {
                let request = next.late_requests.remove(index);
                self.ably(&mut next, request)?;
            }
            Action::LateRequestRepeats(index) => {
                next.faults.repeats -= 1;
                let request = state.late_requests[index];
                self.ably(&mut next, request)?;
            }
            Action::Settle(relay) => self.settle(&mut next, relay)?,
            Action::BatchLost(relay) => {
                next.faults.batches_lost -= 1;
                self.lose_batch(&mut next, relay);
            }
            Action::PostgresCrashes(lost) => self.crash(&mut next, lost),
        }
        two_owners(&next)?;
        Ok(next)
    }

    fn lock(&self, state: &mut State, relay: usize) {
        // Whoever connects first after a crash notes it, before any claim.
        if state.unmarked {
            state.unmarked = false;
            state.before_crash = state.pending();
        }
        let old =
            if let Batch::Begun(old) = &state.relays[relay] { *old } else { state.snapshot() };
        let tenants = self.lockable(state, &old);
        state.relays[relay] =
            if tenants == 0 { Batch::Idle } else { Batch::Locked { tenants, old } };
    }

    fn read(&self, state: &mut State, relay: usize) {
        let Batch::Locked { tenants, old } = state.relays[relay] else { return };
        let snapshot =
            if self.is(Mutation::ReadInTheLocksStatement) { old } else { state.snapshot() };
        let mut alone = if self.is(Mutation::IgnoreLockTrace) { 0 } else { state.traces };
        if !self.is(Mutation::IgnoreServerStart) {
            alone |= state.before_crash;
        }
        let (mut parts, mut abandon, mut base) = (Vec::new(), 0, state.fresh_base());
        for tenant in members(tenants) {
            let seen = snapshot.pending & self.events_of(tenant);
            let record = snapshot.records[tenant];
            let events = record.map_or(seen, |record| seen & record.events);
            let Some(planned) = self.planner.plan(events, snapshot.attempts, alone, record) else {
                abandon |= bit(tenant);
                continue;
            };
            let ids = match (record, planned.group) {
                (Some(record), _) => Ids::Group(record.base),
                (None, true) => Ids::Group(base),
                (None, false) => Ids::Alone,
            };
            base += 1;
            let seen = record.map_or(seen, |record| record.seen);
            let tenant = u8::try_from(tenant).unwrap();
            let request = Request { tenant, ids, events: planned.events, seen };
            let recorded = record.is_some();
            parts.push(Part { request, recorded, reply: Reply::None });
        }
        let new = parts.iter().any(|part| new_group(part).is_some());
        state.relays[relay] = if new && !self.is(Mutation::SendWithoutRecord) {
            Batch::Recording { tenants, abandon, parts }
        } else {
            Batch::Recorded { tenants, abandon, parts }
        };
    }

    /// Its relay still waits, and so holds the lock: the record is written, unless there is another.
    fn record_arrives(&self, state: &mut State, relay: usize) {
        let batch = std::mem::replace(&mut state.relays[relay], Batch::Idle);
        let Batch::Recording { tenants, abandon, mut parts } = batch else { return };
        parts.retain(|part| {
            let Some(record) = new_group(part) else { return true };
            let place = &mut state.records[usize::from(part.request.tenant)];
            let free = place.is_none();
            place.get_or_insert(record);
            free
        });
        state.relays[relay] = Batch::Recorded { tenants, abandon, parts };
    }

    /// Everything of a batch that its relay's end, or its transaction's, leaves behind.
    fn lose_batch(&self, state: &mut State, relay: usize) {
        match std::mem::replace(&mut state.relays[relay], Batch::Idle) {
            Batch::Recording { parts, .. } if self.is(Mutation::RecordWithoutLock) => {
                let late = parts.iter().filter_map(|p| Some((p.request.tenant, new_group(p)?)));
                state.late_records.extend(late);
            }
            Batch::Sent { parts, .. } => {
                let open = parts.iter().filter(|part| part.reply == Reply::None);
                state.late_requests.extend(open.map(|part| part.request));
            }
            Batch::Idle
            | Batch::Begun(_)
            | Batch::Locked { .. }
            | Batch::Recording { .. }
            | Batch::Recorded { .. } => {}
        }
    }

    fn crash(&self, state: &mut State, lost: Events) {
        state.faults.postgres_crashes -= 1;
        for relay in 0..state.relays.len() {
            self.lose_batch(state, relay);
        }
        // Their connections are gone, and what was not committed with them.
        state.late_records.clear();
        state.traces &= !lost;
        state.unmarked = true;
        if self.is(Mutation::RecordNotFlushed) {
            state.records = Default::default();
        }
    }
}

/// The record of a part that needs one.
fn new_group(part: &Part) -> Option<Record> {
    match part.request.ids {
        Ids::Group(base) if !part.recorded => {
            Some(Record { base, events: part.request.events, seen: part.request.seen })
        }
        Ids::Group(_) | Ids::Alone => None,
    }
}

fn lock_rows_and_send(state: &mut State, relay: usize) {
    let pending = state.pending();
    let batch = std::mem::replace(&mut state.relays[relay], Batch::Idle);
    let Batch::Recorded { tenants, abandon, mut parts } = batch else { return };
    for part in &parts {
        state.traces |= part.request.events & pending;
    }
    parts.retain(|part| part.request.events & !pending == 0);
    state.relays[relay] = Batch::Sent { tenants, abandon, parts };
}

fn reply_to(state: &mut State, relay: usize, part: usize, reply: Reply) {
    if let Batch::Sent { parts, .. } = &mut state.relays[relay] {
        parts[part].reply = reply;
    }
}

fn two_owners(state: &State) -> Result<(), Violation> {
    let mut taken = 0;
    for batch in &state.relays {
        if taken & batch.tenants() != 0 {
            return Err(Violation::TwoOwners);
        }
        taken |= batch.tenants();
    }
    Ok(())
}
