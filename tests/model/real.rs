//! The relay's own decisions inside the model: `relay::plan::plan` and `relay::outcome::apply`, so that the
//! model cannot drift from the code.

use std::cell::RefCell;
use std::collections::HashMap;

use outbox_relay::domain::channel::ChannelName;
use outbox_relay::domain::event::{Event, Seq, TenantId};
use outbox_relay::domain::failure::{FailureClass, PublishFailure};
use outbox_relay::domain::message::Spec;
use outbox_relay::domain::policy::OnFailed;
use outbox_relay::relay::outcome;
use outbox_relay::relay::plan::{Company, Part as RealPart, PlanLimits, Publication, plan};
use outbox_relay::store::claim::{Claimed, RecordedGroup, Run};
use outbox_relay::store::settle::Settlement;

use crate::state::{EVENTS_MAX, Events, Ids, Part, Record, Reply, Tenants, members};

/// What is sent of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) events: Events,
    pub(crate) group: bool,
}

/// What a settlement writes.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) published: Events,
    pub(crate) failed: Events,
    pub(crate) refused: Events,
    pub(crate) forget_groups: Tenants,
}

type Key = (Events, [u8; EVENTS_MAX], Events, Option<u8>);

/// The relay's decisions, each different one made once.
pub(crate) struct Planner {
    group_events_max: usize,
    made: RefCell<HashMap<Key, Option<Planned>>>,
}

impl Planner {
    pub(crate) fn new(group_events_max: usize) -> Self {
        Self { group_events_max, made: RefCell::default() }
    }

    /// Plans the pending events of one tenant; none when the record cannot be repeated.
    pub(crate) fn plan(
        &self,
        events: Events,
        attempts: [u8; EVENTS_MAX],
        alone: Events,
        record: Option<Record>,
    ) -> Option<Planned> {
        if events == 0 {
            return None;
        }
        let key = (events, attempts, alone, record.map(|record| record.events));
        let mut made = self.made.borrow_mut();
        *made.entry(key).or_insert_with(|| self.really_plan(events, attempts, alone, record))
    }

    fn really_plan(
        &self,
        events: Events,
        attempts: [u8; EVENTS_MAX],
        alone: Events,
        record: Option<Record>,
    ) -> Option<Planned> {
        let claimed = |index: usize| Claimed {
            event: event(index, attempts[index]),
            lock_trace: alone & (1 << index) != 0,
            oversize: None,
            waited: None,
            invalid: None,
        };
        let run = Run {
            tenant_id: TenantId::new("t"),
            group: record.map(|record| RecordedGroup {
                base_id: "recorded".into(),
                events: record.events.count_ones() as usize,
            }),
            hold_failures: 0,
            on_failed: None,
            events: members(events).map(claimed).collect(),
        };
        let limits = PlanLimits {
            message_bytes_max: 65_536,
            group_events_max: self.group_events_max,
            on_failed: OnFailed::Skip,
        };
        let plan = plan(vec![run], limits, &Publication::default(), || "new".into());
        assert!(plan.refused.is_empty() && plan.forget.is_empty(), "every event can be sent");
        let part = plan.parts.first()?;
        assert!(plan.broken.is_empty());
        let ids: Vec<&str> = part.spec.messages.iter().map(|m| m.id.as_str()).collect();
        let sent = part.seqs.iter().fold(0, |set, seq| set | 1_u8 << seq.0);
        let group = match &part.company {
            Company::Alone => {
                assert_eq!(ids, [format!("id-{}", part.seqs[0])]);
                false
            }
            Company::Group { base_id, recorded } => {
                assert_eq!(*recorded, record.is_some());
                let expected: Vec<_> = (0..ids.len()).map(|n| format!("{base_id}:{n}")).collect();
                assert_eq!(ids, expected);
                true
            }
        };
        Some(Planned { events: sent, group })
    }

    /// What the replies to a batch's requests make of its rows, as `relay::drain` puts it together.
    pub(crate) fn outcome(&self, parts: &[Part], attempts: [u8; EVENTS_MAX]) -> Written {
        let mut settlement = Settlement::default();
        let accepted = parts.iter().any(|part| part.reply == Reply::Accepted);
        for part in parts {
            let real = real_part(part, attempts);
            let result = result(part.reply);
            if let Some(failure) = outcome::apply(&mut settlement, &real, &result, 0)
                && accepted
                && outcome::may_be_local(failure)
            {
                outcome::hold_back(&mut settlement, &real, failure, 0);
            }
        }
        let set = |seqs: &mut dyn Iterator<Item = Seq>| seqs.fold(0, |set, s| set | 1_u8 << s.0);
        Written {
            published: set(&mut settlement.published.iter().copied()),
            failed: set(&mut settlement.failed.iter().map(|(seq, _)| *seq)),
            refused: set(&mut settlement.refused.iter().map(|(seq, _)| *seq)),
            forget_groups: settlement
                .forget_groups
                .iter()
                .fold(0, |set, tenant| set | 1 << tenant.as_str().parse::<u8>().unwrap()),
        }
    }
}

fn event(index: usize, attempts: u8) -> Event {
    Event {
        seq: Seq(i64::try_from(index).unwrap()),
        id: format!("id-{index}"),
        tenant_id: TenantId::new("t"),
        aggregate_type: "Task".into(),
        aggregate_id: "1".into(),
        event_type: "kitchen.task".into(),
        payload: "{}".into(),
        headers: None,
        occurred_at: None,
        traceparent: None,
        payload_occurred_at: None,
        created_at: "2026-01-01T00:00:00.000Z".into(),
        attempts: i32::from(attempts),
        generation: 0,
    }
}

fn real_part(part: &Part, attempts: [u8; EVENTS_MAX]) -> RealPart {
    let tenant_id = TenantId::new(part.request.tenant.to_string());
    let channel = ChannelName::for_tenant(&tenant_id).unwrap();
    let company = match part.request.ids {
        Ids::Alone => Company::Alone,
        Ids::Group(base) => Company::Group { base_id: base.to_string(), recorded: part.recorded },
    };
    let events: Vec<usize> = members(part.request.events).collect();
    RealPart {
        seqs: events.iter().map(|event| Seq(i64::try_from(*event).unwrap())).collect(),
        company,
        hold_failures: 0,
        attempts: events.iter().map(|event| i32::from(attempts[*event])).max().unwrap(),
        on_failed: OnFailed::Skip,
        repeated: part.recorded,
        spec: Spec { channel, messages: Vec::new() },
        also: Vec::new(),
        tenant_id,
    }
}

fn result(reply: Reply) -> Result<(), PublishFailure> {
    let (class, status) = match reply {
        Reply::Accepted => return Ok(()),
        Reply::Refused => (FailureClass::Content, Some(400)),
        Reply::Outage | Reply::None => (FailureClass::Outage, None),
    };
    Err(PublishFailure { class, status, code: None, message: "no".into(), retry_after: None })
}
