//! Tenants whose events go to several channels.

use super::*;
use crate::domain::payload_link::PayloadLinks;

const BY_MODULE: &str = "tenant:{tenant_id}:{module}";

fn routing(modules: Option<&[&str]>, tenant_too: bool) -> Publication {
    let modules = modules.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let routing = Routing::new(BY_MODULE, modules, tenant_too).unwrap();
    Publication { routing, ..Publication::default() }
}

/// Events of the modules that the letters stand for: `kkp` is two of k and one of p.
fn events(modules: &str) -> Vec<Claimed> {
    (1..)
        .zip(modules.chars())
        .map(|(seq, module)| {
            let mut claimed = claimed(seq);
            claimed.event.event_type = format!("{module}.task.done");
            claimed
        })
        .collect()
}

fn planned_as(run: Run, publication: &Publication) -> Plan {
    plan(vec![run], LIMITS, publication, || "base".into())
}

fn sent(spec: &Spec) -> (String, Vec<&str>) {
    (spec.channel.to_string(), spec.messages.iter().map(|m| m.id.as_str()).collect())
}

#[test]
fn a_part_is_of_the_first_events_channel_and_the_others_wait() {
    let publication = routing(None, false);
    let first = planned_as(run(events("kpkpk")), &publication);
    assert_eq!(seqs(&first), [1, 3, 5]);
    let expected = ("tenant:a:k".to_owned(), vec!["base:0", "base:1", "base:2"]);
    assert_eq!(sent(&first.parts[0].spec), expected);
    assert!(first.parts.len() == 1 && first.parts[0].also.is_empty());
    let next =
        planned_as(run(events("kpkpk").into_iter().skip(1).step_by(2).collect()), &publication);
    assert_eq!((seqs(&next), &*sent(&next.parts[0].spec).0), (vec![2, 4], "tenant:a:p"));
}

#[test]
fn modules_that_are_not_named_go_to_the_tenants_channel() {
    let publication = routing(Some(&["p"]), false);
    let plan = planned_as(run(events("kpk")), &publication);
    assert_eq!((seqs(&plan), &*sent(&plan.parts[0].spec).0), (vec![1, 3], "tenant:a"));
    assert_eq!(record_of(&plan.parts[0]).unwrap().base_id, "base", "as without a template");
}

#[test]
fn beside_the_tenants_channel_each_gets_its_share_of_one_part_in_order() {
    let plan = planned_as(run(events("kpkq")), &routing(Some(&["k", "p"]), true));
    assert_eq!(seqs(&plan), [1, 2, 3, 4]);
    let part = &plan.parts[0];
    let all = vec!["base:0", "base:1", "base:2", "base:3"];
    assert_eq!(sent(&part.spec), ("tenant:a".to_owned(), all));
    let also: Vec<_> = part.also.iter().map(sent).collect();
    assert_eq!(also[0], ("tenant:a:k".to_owned(), vec!["base:0", "base:1"]));
    assert_eq!(also[1], ("tenant:a:p".to_owned(), vec!["base:0"]));
    let names = |spec: &Spec| spec.messages.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&part.also[0]), ["k.task.done", "k.task.done"]);
    let alone = planned_as(run(events("k")), &routing(None, true));
    assert_eq!(sent(&alone.parts[0].spec), ("tenant:a".to_owned(), vec!["id-1"]));
    assert_eq!(sent(&alone.parts[0].also[0]), ("tenant:a:k".to_owned(), vec!["id-1"]));
}

#[test]
fn a_recorded_group_goes_where_it_went_whatever_the_template_says_now() {
    let old = planned_as(run(events("kpk")), &routing(None, false));
    let record = record_of(&old.parts[0]).unwrap();
    assert_eq!(record.base_id, "base tenant:a:k");
    let other = Routing::new("x:{tenant_id}:{aggregate_id}", None, false).unwrap();
    let other = Publication { routing: other, ..Publication::default() };
    for publication in [Publication::default(), routing(None, true), routing(None, false), other] {
        let recorded: Vec<Claimed> = events("kpk").into_iter().step_by(2).collect();
        let group = Some(RecordedGroup { base_id: record.base_id.clone(), events: 2 });
        let again = planned_as(Run { group, ..run(recorded) }, &publication);
        assert_eq!(sent(&again.parts[0].spec), sent(&old.parts[0].spec));
        assert!(again.parts[0].also.is_empty() && record_of(&again.parts[0]).is_none());
    }
}

#[test]
fn under_block_no_channel_overtakes_another() {
    let strict = |modules| Run { on_failed: Some(OnFailed::Block), ..run(events(modules)) };
    let publication = routing(None, false);
    assert_eq!(seqs(&planned_as(strict("kkpk"), &publication)), [1, 2]);
}

#[test]
fn an_event_that_has_no_channel_fails_and_its_neighbours_go_on() {
    let mut all = events("kkk");
    all[1].event.event_type = "a*.b".into();
    let plan = planned_as(run(all), &routing(None, false));
    assert_eq!(seqs(&plan), [1, 3]);
    assert_eq!(plan.refused.len(), 1);
    assert!(plan.refused[0].1.message.contains("module contains '*'"), "{:?}", plan.refused);
}

#[test]
fn a_trace_of_another_channel_does_not_part_a_group_and_one_of_its_own_does() {
    let publication = routing(None, false);
    let mut all = events("kpkk");
    all[1].lock_trace = true;
    assert_eq!(seqs(&planned_as(run(all), &publication)), [1, 3, 4]);
    let mut all = events("kpkk");
    all[2].lock_trace = true;
    let plan = planned_as(run(all), &publication);
    assert_eq!((seqs(&plan), &plan.parts[0].company), (vec![1], &Company::Alone));
}

#[test]
fn what_is_too_large_goes_by_reference_where_links_are_made() {
    let links =
        PayloadLinks::new("http://r", "s".repeat(32).into(), std::time::Duration::from_secs(60));
    let format = Format { links: Some(links), ..Format::default() };
    let publication = Publication { format, ..Publication::default() };
    let mut near = claimed(1);
    near.event.payload = format!("\"{}\"", "x".repeat(65_500));
    let far = Claimed { oversize: Some(100_000_000), ..claimed(2) };
    let mut nameless = Claimed { oversize: Some(100_000_000), ..claimed(3) };
    nameless.event.event_type = String::new();
    let plan = planned_as(run(vec![near, far, nameless]), &publication);
    assert_eq!(seqs(&plan), [1, 2]);
    for message in &plan.parts[0].spec.messages {
        let envelope: serde_json::Value = serde_json::from_str(&message.data).unwrap();
        let link = envelope["payload"]["payloadRef"].as_str().unwrap();
        // Created at the start of 2026, valid for a minute.
        assert!(
            link.starts_with("http://r/events/id-") && link.contains("expires=1767225660&"),
            "{link}"
        );
    }
    assert_eq!(plan.refused[0].1.code, ErrorCode::PayloadTooLarge);
}

proptest! {
    #[test]
    fn each_channel_gets_its_events_in_order_and_once(
        modules in "[kpq]{1,20}", traces in proptest::collection::vec(any::<bool>(), 20), too in any::<bool>(),
        named in any::<bool>(), strict in any::<bool>(),
    ) {
        let publication = routing(named.then_some(&["k", "p"]), too);
        let mut waiting = events(&modules);
        for (claimed, trace) in waiting.iter_mut().zip(&traces) {
            claimed.lock_trace = *trace;
        }
        let on_failed = Some(if strict { OnFailed::Block } else { OnFailed::Skip });
        let mut got = std::collections::BTreeMap::<String, Vec<String>>::new();
        let all: Vec<Event> = waiting.iter().map(|claimed| claimed.event.clone()).collect();
        while !waiting.is_empty() {
            let plan = planned_as(Run { on_failed, ..run(std::mem::take(&mut waiting)) }, &publication);
            let part = &plan.parts[0];
            for spec in std::iter::once(&part.spec).chain(&part.also) {
                let ids = spec.messages.iter().map(|m| {
                    let envelope: serde_json::Value = serde_json::from_str(&m.data).unwrap();
                    envelope["id"].as_str().unwrap().to_owned()
                });
                got.entry(spec.channel.to_string()).or_default().extend(ids);
            }
            let left = all.iter().filter(|event| {
                !got.values().flatten().any(|id| *id == event.id)
            });
            waiting = left.map(|event| Claimed { event: event.clone(), lock_trace: traces[usize::try_from(event.seq.0).unwrap() - 1], ..claimed(0) }).collect();
        }
        let mut expected = std::collections::BTreeMap::<String, Vec<String>>::new();
        for event in &all {
            let route = publication.routing.route(event).unwrap();
            for channel in [Some(route.lead), route.also].into_iter().flatten() {
                expected.entry(channel.to_string()).or_default().push(event.id.clone());
            }
        }
        prop_assert_eq!(got, expected);
    }
}
