//! From claimed runs to what is sent: which events go together, which alone, which never. Pure.
//!
//! An event goes alone, under its own id, unless several of its tenant wait; then they go as one atomic
//! group under ids `base:0..n`. Ably knows a group by its base, so a group must never be sent in another
//! composition, nor an event that may have been sent alone become part of one:
//! - a group that is on record is repeated exactly;
//! - an event whose row carries the trace of a lock (it was about to be sent, and nobody settled it) goes
//!   alone;
//! - an event that Ably has refused together with others comes back in ever smaller company.
//!
//! Under [`OnFailed::Block`] a run ends before an event that can never be sent. It is failed when it has
//! become the first, so that what stands before it has been published by then.

use std::panic::{self, AssertUnwindSafe};

use super::fault_point;
use crate::domain::channel::ChannelName;
use crate::domain::event::{Seq, TenantId};
use crate::domain::message::{ErrorCode, MESSAGE_BYTES_WARN, Message, Refusal, Spec};
use crate::domain::policy::OnFailed;
use crate::store::claim::{Claimed, Run};

/// Bounds and policy of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanLimits {
    /// Bytes of a message, and of all messages of a group together, as Ably counts them.
    pub message_bytes_max: usize,
    /// Events of a group; Ably takes 1,000.
    pub group_events_max: usize,
    /// For tenants without a policy of their own.
    pub on_failed: OnFailed,
}

/// What to do with a claim.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to send, at most one part per tenant.
    pub parts: Vec<Part>,
    /// Events that can never be sent.
    pub refused: Vec<(Seq, Refusal)>,
    /// Those of `refused` whose tenants wait for an operator from now on.
    pub blocking: Vec<Seq>,
    /// Tenants whose recorded group lacks events, because somebody changed them.
    pub broken: Vec<TenantId>,
    /// Tenants whose recorded group holds an event that can no longer be sent.
    pub forget: Vec<TenantId>,
    /// Events close to the size limit: id and bytes.
    pub large: Vec<(String, usize)>,
}

/// The events of one tenant that are sent as one unit.
#[derive(Debug)]
pub struct Part {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which events, in order.
    pub seqs: Vec<Seq>,
    /// Alone or in a group.
    pub company: Company,
    /// How often the tenant was held in a row before.
    pub hold_failures: i32,
    /// The most attempts that any of the events has behind it.
    pub attempts: i32,
    /// What becomes of the tenant when the event fails for good.
    pub on_failed: OnFailed,
    /// Whether it may have been in flight before, and nobody settled it.
    pub repeated: bool,
    /// The messages.
    pub spec: Spec,
}

/// How a part's message ids are formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Company {
    /// One event under its own id.
    Alone,
    /// Several under one base.
    Group {
        /// The base of their ids.
        base_id: String,
        /// Whether the composition is on record already.
        recorded: bool,
    },
}

/// Plans a claim; `new_base` gives a fresh base id for each new group.
pub fn plan(runs: Vec<Run>, limits: PlanLimits, mut new_base: impl FnMut() -> String) -> Plan {
    let mut plan = Plan::default();
    for run in runs {
        plan_run(&mut plan, run, limits, &mut new_base);
    }
    plan
}

fn plan_run(plan: &mut Plan, run: Run, limits: PlanLimits, new_base: &mut impl FnMut() -> String) {
    let Run { tenant_id, group, hold_failures, on_failed, events } = run;
    let on_failed = on_failed.unwrap_or(limits.on_failed);
    if group.as_ref().is_some_and(|group| group.events != events.len()) {
        plan.broken.push(tenant_id);
        return;
    }
    let channel = match ChannelName::for_tenant(&tenant_id) {
        Ok(channel) => channel,
        Err(error) => {
            let refusal = Refusal::from(error);
            let strict = on_failed == OnFailed::Block;
            let refused =
                events.iter().map(|c| c.event.seq).take(if strict { 1 } else { usize::MAX });
            plan.blocking.extend(refused.clone().filter(|_| strict));
            plan.refused.extend(refused.map(|seq| (seq, refusal.clone())));
            return;
        }
    };
    let recorded = group.is_some();
    let repeated = recorded || events.first().is_some_and(|claimed| claimed.lock_trace);
    let Chosen { seqs, messages, attempts, unsendable } =
        choose(plan, &events, PlanLimits { on_failed, ..limits }, recorded);
    if recorded && unsendable {
        plan.forget.push(tenant_id);
        return;
    }
    if seqs.is_empty() {
        return;
    }
    let (company, spec) = match group {
        Some(group) => group_of(channel, group.base_id, true, messages),
        None if seqs.len() > 1 => group_of(channel, new_base(), false, messages),
        None => (Company::Alone, Spec { channel, messages }),
    };
    plan.parts.push(Part {
        tenant_id,
        seqs,
        company,
        hold_failures,
        attempts,
        on_failed,
        repeated,
        spec,
    });
}

#[derive(Default)]
struct Chosen {
    seqs: Vec<Seq>,
    messages: Vec<Message>,
    attempts: i32,
    /// Whether an event was met that can never be sent.
    unsendable: bool,
}

/// Takes events from the front as long as they may go together. Events that cannot be sent are put
/// aside and do not end the run: later events go on, unless the policy is to block.
fn choose(plan: &mut Plan, events: &[Claimed], limits: PlanLimits, recorded: bool) -> Chosen {
    let mut chosen = Chosen::default();
    let mut bytes = 0;
    let mut room = limits.group_events_max;
    for claimed in events {
        let message = match encode(claimed, limits) {
            Ok(message) => message,
            Err(refusal) => {
                chosen.unsendable = true;
                let strict = limits.on_failed == OnFailed::Block;
                if strict && (recorded || !chosen.seqs.is_empty()) {
                    break;
                }
                plan.refused.push((claimed.event.seq, refusal));
                if strict {
                    plan.blocking.push(claimed.event.seq);
                    break;
                }
                continue;
            }
        };
        let size = message.counted_bytes();
        let first = chosen.seqs.is_empty();
        room = room.min(company_max(claimed.event.attempts, limits));
        let fits = chosen.seqs.len() < room && bytes + size <= limits.message_bytes_max;
        if !recorded && !first && (!fits || claimed.lock_trace) {
            break;
        }
        if size > MESSAGE_BYTES_WARN {
            plan.large.push((claimed.event.id.clone(), size));
        }
        bytes += size;
        chosen.seqs.push(claimed.event.seq);
        chosen.messages.push(message);
        chosen.attempts = chosen.attempts.max(claimed.event.attempts);
        if !recorded && claimed.lock_trace {
            break;
        }
    }
    chosen
}

fn encode(claimed: &Claimed, limits: PlanLimits) -> Result<Message, Refusal> {
    if let Some(bytes) = claimed.oversize {
        return Err(Refusal {
            code: ErrorCode::PayloadTooLarge,
            message: format!(
                "the event is {bytes} bytes; the limit of a message is {}: make the payload smaller",
                limits.message_bytes_max
            ),
            ably_code: None,
        });
    }
    if let Some(refusal) = &claimed.invalid {
        return Err(refusal.clone());
    }
    // An event that our own code cannot bear fails, and takes no other with it.
    let encoded = panic::catch_unwind(AssertUnwindSafe(|| {
        fault_point::encode(&claimed.event.event_type);
        Message::of_event(&claimed.event, limits.message_bytes_max)
    }));
    encoded.unwrap_or_else(|_| {
        Err(Refusal {
            code: ErrorCode::ValidationError,
            message:
                "outbox-relay panicked while it encoded this event: a defect, please report it; \
                      `events requeue` publishes the event once it is mended"
                    .into(),
            ably_code: None,
        })
    })
}

/// How many may go together when one of them has been refused `attempts` times: an eighth each time,
/// so that one bad event among a thousand is alone after four refusals, not after a thousand requests.
fn company_max(attempts: i32, limits: PlanLimits) -> usize {
    let shift = u32::try_from(attempts).unwrap_or(0).saturating_mul(3);
    limits.group_events_max.checked_shr(shift).unwrap_or(0).max(1)
}

fn group_of(
    channel: ChannelName,
    base_id: String,
    recorded: bool,
    messages: Vec<Message>,
) -> (Company, Spec) {
    let spec = Spec::group(channel, &base_id, messages);
    (Company::Group { base_id, recorded }, spec)
}

#[cfg(test)]
mod tests;
