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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::event::Event;
    use crate::store::claim::RecordedGroup;

    const LIMITS: PlanLimits =
        PlanLimits { message_bytes_max: 65_536, group_events_max: 500, on_failed: OnFailed::Skip };

    fn claimed(seq: i64) -> Claimed {
        Claimed {
            event: Event {
                seq: Seq(seq),
                id: format!("id-{seq}"),
                tenant_id: TenantId::new("a"),
                aggregate_type: "Task".into(),
                aggregate_id: "1".into(),
                event_type: "kitchen.task.claimed".into(),
                payload: "{}".into(),
                headers: None,
                occurred_at: None,
                payload_occurred_at: None,
                created_at: "2026-01-01T00:00:00.000Z".into(),
                attempts: 0,
                generation: 0,
            },
            lock_trace: false,
            oversize: None,
        }
    }

    fn run(events: Vec<Claimed>) -> Run {
        let tenant_id = TenantId::new("a");
        Run { tenant_id, group: None, hold_failures: 0, on_failed: None, events }
    }

    fn planned(run: Run) -> Plan {
        plan(vec![run], LIMITS, || "base".into())
    }

    fn seqs(plan: &Plan) -> Vec<i64> {
        plan.parts.iter().flat_map(|p| p.seqs.iter().map(|s| s.0)).collect()
    }

    #[test]
    fn one_event_goes_under_its_own_id_and_several_as_a_group() {
        let alone = planned(run(vec![claimed(1)]));
        assert_eq!(alone.parts[0].company, Company::Alone);
        assert_eq!(alone.parts[0].spec.messages[0].id, "id-1");

        let group = planned(run((1..=3).map(claimed).collect()));
        assert_eq!(
            group.parts[0].company,
            Company::Group { base_id: "base".into(), recorded: false }
        );
        let ids: Vec<_> = group.parts[0].spec.messages.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["base:0", "base:1", "base:2"]);
    }

    #[test]
    fn an_event_that_may_have_been_sent_alone_goes_alone() {
        let traced = |seq| Claimed { lock_trace: true, ..claimed(seq) };
        let head = planned(run(vec![traced(1), claimed(2)]));
        assert_eq!((seqs(&head), &head.parts[0].company), (vec![1], &Company::Alone));
        let second = planned(run(vec![claimed(1), traced(2), claimed(3)]));
        assert_eq!((seqs(&second), &second.parts[0].company), (vec![1], &Company::Alone));
    }

    #[test]
    fn a_recorded_group_is_repeated_exactly() {
        let events = (1..=3).map(|seq| Claimed { lock_trace: true, ..claimed(seq) }).collect();
        let group = Some(RecordedGroup { base_id: "old".into(), events: 3 });
        let plan = planned(Run { group, ..run(events) });
        assert_eq!(seqs(&plan), [1, 2, 3]);
        assert_eq!(plan.parts[0].company, Company::Group { base_id: "old".into(), recorded: true });
        assert_eq!(plan.parts[0].spec.messages[2].id, "old:2");
    }

    #[test]
    fn a_recorded_group_that_lacks_an_event_is_not_sent() {
        let group = Some(RecordedGroup { base_id: "old".into(), events: 4 });
        let plan = planned(Run { group, ..run((1..=3).map(claimed).collect()) });
        assert!(plan.parts.is_empty() && plan.refused.is_empty());
        assert_eq!(plan.broken, [TenantId::new("a")]);
    }

    #[test]
    fn a_bad_row_is_refused_and_its_neighbours_go_on() {
        let mut bad = claimed(2);
        bad.event.event_type = "nodot".into();
        let huge = Claimed { oversize: Some(100_000_000), ..claimed(4) };
        let plan = planned(run(vec![claimed(1), bad, claimed(3), huge, claimed(5)]));
        assert_eq!(seqs(&plan), [1, 3, 5]);
        let codes: Vec<_> = plan.refused.iter().map(|(s, r)| (s.0, r.code)).collect();
        assert_eq!(codes, [(2, ErrorCode::ValidationError), (4, ErrorCode::PayloadTooLarge)]);
    }

    #[test]
    fn a_tenant_without_a_possible_channel_has_all_its_rows_refused() {
        let plan =
            planned(Run { tenant_id: TenantId::new("a:b"), ..run(vec![claimed(1), claimed(2)]) });
        assert!(plan.parts.is_empty());
        assert_eq!(plan.refused.len(), 2);
    }

    #[test]
    fn under_block_a_run_ends_before_a_bad_row_and_fails_it_when_it_is_first() {
        let strict = |events| Run { on_failed: Some(OnFailed::Block), ..run(events) };
        let huge = |seq| Claimed { oversize: Some(100_000_000), ..claimed(seq) };
        let before = planned(strict(vec![claimed(1), huge(2), claimed(3)]));
        assert_eq!((seqs(&before), before.refused.len(), before.blocking), (vec![1], 0, vec![]));
        let turn = planned(strict(vec![huge(2), claimed(3), huge(4)]));
        assert_eq!((seqs(&turn), turn.refused.len(), turn.blocking), (vec![], 1, vec![Seq(2)]));
        let group = Some(RecordedGroup { base_id: "old".into(), events: 2 });
        let recorded = planned(Run { group, ..strict(vec![claimed(1), huge(2)]) });
        assert!(recorded.parts.is_empty() && recorded.refused.is_empty(), "each has its own turn");
        assert_eq!(recorded.forget.len(), 1);
        let events = vec![claimed(1), claimed(2)];
        let nameless = planned(Run { tenant_id: TenantId::new(" "), ..strict(events) });
        assert_eq!((nameless.refused.len(), nameless.blocking), (1, vec![Seq(1)]));
    }

    #[test]
    fn refused_company_shrinks_until_each_goes_alone() {
        let sizes: Vec<usize> = (0..5)
            .map(|attempts| {
                let events = (1..=600).map(|seq| {
                    let mut c = claimed(seq);
                    c.event.attempts = attempts;
                    c
                });
                let limits = PlanLimits { message_bytes_max: usize::MAX, ..LIMITS };
                plan(vec![run(events.collect())], limits, || "b".into()).parts[0].seqs.len()
            })
            .collect();
        assert_eq!(sizes, [500, 62, 7, 1, 1]);
    }

    proptest! {
        #[test]
        fn a_part_is_a_gapless_prefix_within_the_limits(
            traces in proptest::collection::vec((any::<bool>(), 0..40_000_usize), 1..40),
        ) {
            let events: Vec<_> = traces.iter().enumerate().map(|(index, (trace, size))| {
                let mut c = Claimed { lock_trace: *trace, ..claimed(i64::try_from(index).unwrap()) };
                c.event.payload = format!("\"{}\"", "x".repeat(*size));
                c
            }).collect();
            let plan = planned(run(events));
            let expected: Vec<i64> = (0..).take(seqs(&plan).len()).collect();
            prop_assert_eq!(seqs(&plan), expected);
            let bytes: usize = plan.parts[0].spec.messages.iter().map(Message::counted_bytes).sum();
            prop_assert!(bytes <= LIMITS.message_bytes_max);
            prop_assert!(plan.parts[0].seqs.len() == 1 || plan.parts[0].seqs.iter().all(|s| {
                !traces[usize::try_from(s.0).unwrap()].0
            }), "no event with a trace is ever part of a new group");
        }
    }
}
