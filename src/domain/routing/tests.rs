//! Templates that are taken and refused, and where events go.

use proptest::prelude::*;

use super::*;
use crate::domain::event::{Seq, TenantId};

fn event(tenant: &str, event_type: &str) -> Event {
    Event {
        seq: Seq(1),
        id: "id".into(),
        tenant_id: TenantId::new(tenant),
        aggregate_type: "Task".into(),
        aggregate_id: "t-1".into(),
        event_type: event_type.into(),
        payload: "{}".into(),
        headers: None,
        occurred_at: None,
        traceparent: None,
        payload_occurred_at: None,
        created_at: String::new(),
        attempts: 0,
        generation: 0,
    }
}

fn modules(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

fn routed(routing: &Routing, event_type: &str) -> (String, Option<String>) {
    let route = routing.route(&event("abc", event_type)).unwrap();
    (route.lead.to_string(), route.also.map(|also| also.to_string()))
}

const BY_MODULE: &str = "tenant:{tenant_id}:{module}";

#[test]
fn without_a_template_every_event_goes_to_its_tenants_channel() {
    let same = Routing::new(TENANT_TEMPLATE, modules(&["kitchen"]), true).unwrap();
    for routing in [Routing::default(), same] {
        assert!(routing.is_plain());
        assert_eq!(routed(&routing, "kitchen.task.claimed"), ("tenant:abc".into(), None));
        assert_eq!(routing.resources(), ["tenant:*"]);
    }
}

#[test]
fn all_or_named_modules_go_by_the_template_instead_of_or_beside_the_tenants_channel() {
    let tenant = || "tenant:abc".to_owned();
    let kitchen = || "tenant:abc:kitchen".to_owned();
    let all = Routing::new(BY_MODULE, None, false).unwrap();
    assert_eq!(routed(&all, "kitchen.task.claimed"), (kitchen(), None));
    assert_eq!(routed(&all, "stock.item.low"), ("tenant:abc:stock".into(), None));
    let named = Routing::new(BY_MODULE, modules(&["kitchen"]), false).unwrap();
    assert_eq!(routed(&named, "kitchen.task.claimed"), (kitchen(), None));
    assert_eq!(routed(&named, "stock.item.low"), (tenant(), None));
    let beside = Routing::new(BY_MODULE, modules(&["kitchen"]), true).unwrap();
    assert_eq!(routed(&beside, "kitchen.task.claimed"), (tenant(), Some(kitchen())));
    assert_eq!(routed(&beside, "stock.item.low"), (tenant(), None));
}

#[test]
fn every_column_can_be_named() {
    let template =
        Template::parse("x:{tenant_id}:{module}:{event_type}:{aggregate_type}:id-{aggregate_id}");
    let filled = template.unwrap().fill(&event("abc", "kitchen.task.claimed")).unwrap();
    assert_eq!(filled.as_str(), "x:abc:kitchen:kitchen.task.claimed:Task:id-t-1");
}

#[test]
fn everything_that_is_wrong_with_a_template_is_said_at_once() {
    let errors = Template::parse("a*:{tenant}:{module}{event_typ}::{aggregate_id").unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for part in [
        "unknown placeholder {tenant}; there are {tenant_id}, {module}, {event_type}, {aggregate_type}, {aggregate_id}",
        "{event_typ}",
        "several placeholders in \"{module}{event_typ}\"",
        "empty part",
        "without its other half",
        "'*'",
        "lacks {tenant_id}",
    ] {
        assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:#?}");
    }
    for (text, error) in [
        ("", TemplateError::EmptyPart),
        ("tenant", TemplateError::NoTenant),
        ("[x]:{tenant_id}", TemplateError::Forbidden('[')),
        ("x:{tenant_id}}", TemplateError::Unbalanced),
        ("x:{tenant_id}\n", TemplateError::Forbidden('\n')),
    ] {
        assert!(Template::parse(text).unwrap_err().contains(&error), "{text:?}");
    }
}

#[test]
fn a_template_that_could_meet_another_tenants_channel_is_refused_where_both_are_used() {
    for clash in ["tenant:x-{tenant_id}", "{module}:{tenant_id}", "{tenant_id}:tenant"] {
        assert!(Routing::new(clash, None, false).is_ok(), "{clash}");
        for (modules, too) in [(modules(&["a"]), false), (None, true)] {
            let errors = Routing::new(clash, modules, too).unwrap_err();
            assert_eq!(errors, [TemplateError::LikeTenants], "{clash}");
        }
    }
    for fine in [BY_MODULE, "kitchen:{tenant_id}", "x-{tenant_id}"] {
        assert!(Routing::new(fine, None, true).is_ok(), "{fine}");
    }
}

#[test]
fn a_value_that_ably_cannot_carry_is_refused_with_its_column() {
    let template = Template::parse("t:{tenant_id}:{aggregate_id}").unwrap();
    let with = |id: &str| {
        template.fill(&Event { aggregate_id: id.into(), ..event("abc", "a.b") }).unwrap_err()
    };
    assert_eq!(with("a:b"), ChannelError::ForbiddenInColumn("aggregate_id", ':'));
    assert_eq!(with(" "), ChannelError::BlankColumn("aggregate_id"));
    assert!(matches!(with(&"x".repeat(3_000)), ChannelError::TooLong(_)));
    let module = Template::parse(BY_MODULE).unwrap();
    assert_eq!(module.fill(&event("abc", "nodot")), Err(ChannelError::NoModule));
    let first = Template::parse("{tenant_id}:x").unwrap();
    assert_eq!(first.fill(&event("[a", "a.b")), Err(ChannelError::LeadingBracket));
}

#[test]
fn the_key_needs_what_the_channels_begin_with() {
    for (template, too, resources) in [
        (BY_MODULE, true, vec!["tenant:*"]),
        ("orders:{tenant_id}", true, vec!["tenant:*", "orders:*"]),
        ("orders:{tenant_id}", false, vec!["orders:*"]),
        ("{tenant_id}:x", false, vec!["*"]),
    ] {
        assert_eq!(Routing::new(template, None, too).unwrap().resources(), resources, "{template}");
    }
}

proptest! {
    #[test]
    fn two_tenants_never_share_a_channel(
        template in "(t|x|tenant)?(:?(\\{tenant_id\\}|\\{module\\}|[at]-\\{aggregate_id\\}|a)){1,4}",
        tenants in ("[a-]{1,3}", "[a-]{1,3}"), kinds in ("[a-]{1,2}\\.a", "[a-]{1,2}\\.a"),
        ids in ("[a-]{1,3}", "[a-]{1,3}"), too in any::<bool>(),
    ) {
        prop_assume!(tenants.0 != tenants.1);
        if let Ok(routing) = Routing::new(&template, None, too) {
            let channels = |tenant: &str, kind: &str, id: &str| {
                let event = Event { aggregate_id: id.into(), ..event(tenant, kind) };
                let route = routing.route(&event).unwrap();
                [Some(route.lead), route.also].into_iter().flatten().collect::<Vec<_>>()
            };
            let a = channels(&tenants.0, &kinds.0, &ids.0);
            let b = channels(&tenants.1, &kinds.1, &ids.1);
            prop_assert!(a.iter().all(|name| !b.contains(name)), "{a:?} {b:?}");
        }
    }
}
