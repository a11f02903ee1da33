//! What goes together, alone, or never.

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
            traceparent: None,
            payload_occurred_at: None,
            created_at: "2026-01-01T00:00:00.000Z".into(),
            attempts: 0,
            generation: 0,
        },
        lock_trace: false,
        oversize: None,
        waited: None,
        invalid: None,
    }
}

fn run(events: Vec<Claimed>) -> Run {
    let tenant_id = TenantId::new("a");
    Run { tenant_id, group: None, hold_failures: 0, on_failed: None, events }
}

fn planned(run: Run) -> Plan {
    plan(vec![run], LIMITS, &Publication::default(), || "base".into())
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
    assert_eq!(group.parts[0].company, Company::Group { base_id: "base".into(), recorded: false });
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
            let plain = Publication::default();
            let plan = plan(vec![run(events.collect())], limits, &plain, || "b".into());
            plan.parts[0].seqs.len()
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

mod routed;
