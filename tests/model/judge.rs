//! What Ably does with a request, what settling writes, and what must hold.

use crate::state::{Batch, Ids, Reply, Request, State, members};
use crate::step::{Mutation, Scenario, Violation, bit};

impl Scenario {
    /// Ably's side: a known id or base is dropped, first data wins; else all of a request or none of it.
    pub(crate) fn ably(&self, state: &mut State, request: Request) -> Result<Reply, Violation> {
        let Request { tenant, ids, events, seen } = request;
        let known = match ids {
            Ids::Alone => state.accepted_alone & events != 0,
            Ids::Group(base) => match state.accepted_groups.iter().find(|(b, _)| *b == base) {
                Some((_, other)) if *other != events => return Err(Violation::OtherComposition),
                found => found.is_some(),
            },
        };
        if known {
            return Ok(Reply::Accepted);
        }
        if events & self.poison != 0 {
            return Ok(Reply::Refused);
        }
        for event in members(events) {
            if state.committed & bit(event) == 0 {
                return Err(Violation::NotCommitted(event));
            }
            if state.accepted & bit(event) != 0 {
                return Err(Violation::Doubled(event));
            }
            let below = bit(event) - 1;
            let due = seen & below & self.events_of(usize::from(tenant)) & !self.poison;
            if due & !state.accepted & !events != 0 {
                return Err(Violation::OutOfOrder(event));
            }
        }
        state.accepted |= events;
        match ids {
            Ids::Alone => state.accepted_alone |= events,
            Ids::Group(base) => state.accepted_groups.push((base, events)),
        }
        Ok(Reply::Accepted)
    }

    /// Writes what `outcome::apply` makes of the replies, and commits.
    pub(crate) fn settle(&self, state: &mut State, relay: usize) -> Result<(), Violation> {
        let batch = std::mem::replace(&mut state.relays[relay], Batch::Idle);
        let Batch::Sent { abandon, parts, .. } = batch else { return Ok(()) };
        let written = self.planner.outcome(&parts, state.attempts);
        let mut forget = written.forget_groups;
        if self.mutation == Mutation::ForgetOnOutage {
            let out = parts.iter().filter(|part| part.reply == Reply::Outage);
            forget |= out.fold(0, |set, part| set | 1 << part.request.tenant);
        }
        state.published |= written.published;
        state.failed |= written.failed;
        for event in members(written.refused) {
            state.attempts[event] += 1;
        }
        // The new version of the row carries the lock of the transaction that wrote it: no trace.
        state.traces &= !written.refused;
        for tenant in members(abandon) {
            let pending = state.pending();
            let place = &mut state.records[tenant];
            if place.is_some_and(|record| record.events & !pending != 0) {
                *place = None;
            }
        }
        for tenant in members(forget) {
            state.records[tenant] = None;
        }
        for event in members(written.published) {
            if state.accepted & bit(event) == 0 {
                return Err(Violation::Lost(event));
            }
        }
        match members(written.failed & !self.poison).next() {
            // A fickle Ably has said that it is.
            _ if self.mutation == Mutation::FickleRefusals => Ok(()),
            Some(event) => Err(Violation::WronglyFailed(event)),
            None => Ok(()),
        }
    }

    /// What must hold when nothing is left to do.
    pub(crate) fn settled(&self, state: &State) -> Result<(), Violation> {
        for event in members(state.committed) {
            let poison = self.poison & bit(event) != 0;
            let (published, failed) =
                (state.published & bit(event) != 0, state.failed & bit(event) != 0);
            match (poison, published, failed) {
                (false, true, false) | (true, false, true) => {}
                (false, false, true) if self.mutation == Mutation::FickleRefusals => {}
                (_, false, false) => return Err(Violation::NeverSettled),
                _ => return Err(Violation::WronglyFailed(event)),
            }
        }
        if !self.records_may_stay && state.records.iter().any(Option::is_some) {
            return Err(Violation::RecordLeft);
        }
        Ok(())
    }
}
