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
//! Where a tenant's events have several channels ([`Routing`]), a part is of one channel: the first event's, with those
//! behind it that go there too. Events of the others wait for the tenant's next turn; since they share no channel with
//! what goes before them, each channel has its order. Rejected: one part a channel in one request. A tenant has one
//! record, one hold and one count of crashes, and an outcome would have to take them apart.
//! Where the tenant's channel gets everything *too*, it leads, and the others get their share of the same part under the
//! same base: `base:0..n` counted in each channel.
//!
//! Under [`OnFailed::Block`] a run ends before an event that can never be sent. It is failed when it has
//! become the first, so that what stands before it has been published by then.

use std::panic::{self, AssertUnwindSafe};

pub(super) use self::recorded::record_of;
use super::fault_point;
use crate::domain::channel::{ChannelError, ChannelName};
use crate::domain::event::{Seq, TenantId};
use crate::domain::message::{ErrorCode, Format, MESSAGE_BYTES_WARN, Message, Refusal, Spec};
use crate::domain::policy::OnFailed;
use crate::domain::routing::{Route, Routing};
use crate::store::claim::{Claimed, Run};

mod recorded;

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

/// Where events go, and what they look like there.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// Their channels.
    pub routing: Routing,
    /// Their messages.
    pub format: Format,
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
    /// Further channels that get some of the messages; settled only when all have what is theirs.
    pub also: Vec<Spec>,
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
pub fn plan(
    runs: Vec<Run>,
    limits: PlanLimits,
    publication: &Publication,
    mut new_base: impl FnMut() -> String,
) -> Plan {
    let mut plan = Plan::default();
    for run in runs {
        plan_run(&mut plan, run, limits, publication, &mut new_base);
    }
    plan
}

fn plan_run(
    plan: &mut Plan,
    run: Run,
    limits: PlanLimits,
    publication: &Publication,
    new_base: &mut impl FnMut() -> String,
) {
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
    let Chosen { seqs, messages, attempts, unsendable, lead, also } =
        choose(plan, &events, PlanLimits { on_failed, ..limits }, publication, recorded);
    if recorded && unsendable {
        plan.forget.push(tenant_id);
        return;
    }
    if seqs.is_empty() {
        return;
    }
    let (company, channel) = match group {
        Some(group) => {
            let (base_id, channel) = recorded::read(group.base_id, channel);
            (Company::Group { base_id, recorded: true }, channel)
        }
        None if seqs.len() > 1 => {
            let company = Company::Group { base_id: new_base(), recorded: false };
            (company, lead.unwrap_or(channel))
        }
        None => (Company::Alone, lead.unwrap_or(channel)),
    };
    // A group that went to a channel of the template went to no other.
    let shared = channel.is_of_tenant(&tenant_id);
    let also = if shared { fan_out(&also, &messages, &company) } else { Vec::new() };
    let spec = company.spec(channel, messages);
    plan.parts.push(Part {
        tenant_id,
        seqs,
        company,
        hold_failures,
        attempts,
        on_failed,
        repeated,
        spec,
        also,
    });
}

#[derive(Default)]
struct Chosen {
    seqs: Vec<Seq>,
    messages: Vec<Message>,
    attempts: i32,
    /// Whether an event was met that can never be sent.
    unsendable: bool,
    /// Where they go, if not simply to the tenant's channel.
    lead: Option<ChannelName>,
    /// The other channel of each, if it has one; empty when nothing is routed.
    also: Vec<Option<ChannelName>>,
}

/// Takes events from the front as long as they may go together. Events that cannot be sent are put
/// aside and do not end the run: later events go on, unless the policy is to block.
fn choose(
    plan: &mut Plan,
    events: &[Claimed],
    limits: PlanLimits,
    publication: &Publication,
    recorded: bool,
) -> Chosen {
    let mut chosen = Chosen::default();
    let mut bytes = 0;
    let mut room = limits.group_events_max;
    for claimed in events {
        let mut route = route(claimed, &publication.routing);
        if recorded {
            // Its channel is on record; that it could have none today keeps nobody from repeating it.
            route = route.filter(Result::is_ok);
        }
        if let Some(Ok(route)) = &route
            && !recorded
            && chosen.lead.as_ref().is_some_and(|lead| *lead != route.lead)
        {
            // Under `block` nothing of the tenant overtakes anything, whatever its channel.
            if limits.on_failed == OnFailed::Block {
                break;
            }
            continue;
        }
        let encoded = route.transpose().map_err(Refusal::from);
        let encoded =
            encoded.and_then(|route| Ok((route, encode(claimed, limits, &publication.format)?)));
        let (route, message) = match encoded {
            Ok(encoded) => encoded,
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
        if let Some(route) = route {
            chosen.lead = Some(route.lead);
            chosen.also.push(route.also);
        }
        chosen.attempts = chosen.attempts.max(claimed.event.attempts);
        if !recorded && claimed.lock_trace {
            break;
        }
    }
    chosen
}

/// Where an event goes; none when all of a tenant's go to its own channel, so that nobody has to ask.
fn route(claimed: &Claimed, routing: &Routing) -> Option<Result<Route, ChannelError>> {
    let too_large_to_know = claimed.oversize.is_some() && claimed.event.event_type.is_empty();
    (!routing.is_plain() && !too_large_to_know).then(|| routing.route(&claimed.event))
}

fn encode(claimed: &Claimed, limits: PlanLimits, format: &Format) -> Result<Message, Refusal> {
    let now = || seconds_now(claimed);
    if let Some(refusal) = &claimed.invalid {
        return Err(refusal.clone());
    }
    if let Some(bytes) = claimed.oversize {
        // Its names are here only where links are made, and they are no longer than a message.
        if format.links.is_some() && !claimed.event.event_type.is_empty() {
            return Message::by_reference(&claimed.event, format, limits.message_bytes_max, now);
        }
        return Err(Refusal {
            code: ErrorCode::PayloadTooLarge,
            message: format!(
                "the event is {bytes} bytes; the limit of a message is {}: make the payload smaller",
                limits.message_bytes_max
            ),
            ably_code: None,
        });
    }
    // An event that our own code cannot bear fails, and takes no other with it.
    let encoded = panic::catch_unwind(AssertUnwindSafe(|| {
        fault_point::encode(&claimed.event.event_type);
        Message::in_format(&claimed.event, format, limits.message_bytes_max, now)
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

/// The messages that further channels get, in their order and under the ids that the company gives them there.
fn fan_out(also: &[Option<ChannelName>], messages: &[Message], company: &Company) -> Vec<Spec> {
    let mut shares: Vec<(&ChannelName, Vec<Message>)> = Vec::new();
    for (channel, message) in also.iter().zip(messages) {
        let Some(channel) = channel else { continue };
        match shares.iter_mut().find(|(known, _)| *known == channel) {
            Some((_, share)) => share.push(message.clone()),
            None => shares.push((channel, vec![message.clone()])),
        }
    }
    shares.into_iter().map(|(channel, share)| company.spec(channel.clone(), share)).collect()
}

impl Company {
    fn spec(&self, channel: ChannelName, messages: Vec<Message>) -> Spec {
        match self {
            Self::Alone => Spec { channel, messages },
            Self::Group { base_id, .. } => Spec::group(channel, base_id, messages),
        }
    }
}

/// Seconds since 1970 by the database's clock when the event was claimed, about.
fn seconds_now(claimed: &Claimed) -> i64 {
    let created = claimed.event.created_at.parse::<jiff::Timestamp>();
    let waited = claimed.waited.unwrap_or_default().as_secs();
    created.map_or(0, jiff::Timestamp::as_second).saturating_add_unsigned(waited)
}

#[cfg(test)]
mod tests;
