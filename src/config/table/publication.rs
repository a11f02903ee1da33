//! Where events go and what they look like there; and all settings together.

use super::http::HTTP;
use super::{RELAY, Setting, minutes, ms};
use crate::config::check::{channel_template, event_source, link_secret, link_url, modules};
use crate::config::settings::{EnvelopeName, OnOversize, modules_named, switch};
use crate::config::value::Kind;
use crate::domain::routing::TENANT_TEMPLATE;

/// Every setting, in the order of the documentation.
pub static SETTINGS: &[Setting] = &joined::<{ RELAY.len() + HTTP.len() + PUBLICATION.len() }>();

const fn joined<const N: usize>() -> [Setting; N] {
    let mut all = [RELAY[0]; N];
    let (relay, http) = (RELAY.len(), HTTP.len());
    let mut at = 0;
    while at < N {
        all[at] = if at < relay {
            RELAY[at]
        } else if at < relay + http {
            HTTP[at - relay]
        } else {
            PUBLICATION[at - relay - http]
        };
        at += 1;
    }
    all
}

const PUBLICATION: &[Setting] = &[
    Setting {
        key: "channel.template",
        env: &["OUTBOX_RELAY_CHANNEL_TEMPLATE"],
        flag: None,
        default: Some(TENANT_TEMPLATE),
        example: "tenant:{tenant_id}:{module}",
        kind: Kind::Text {
            check: channel_template,
            expected: "a channel name with {tenant_id} and perhaps {module}, {event_type}, {aggregate_type} or {aggregate_id} between colons",
            set: |s, v| s.channel_template = v,
        },
        doc: "The channel of an event. With more than `{tenant_id}` in it a tenant has several channels, each in order, none in order with another. Set it when all relays of the outbox know it, and for all of them alike.",
    },
    Setting {
        key: "channel.modules",
        env: &["OUTBOX_RELAY_CHANNEL_MODULES"],
        flag: None,
        default: Some("all"),
        example: "kitchen,stock",
        kind: Kind::Text {
            check: modules,
            expected: "all, or module names separated by commas",
            set: |s, v| s.channel_modules = modules_named(&v),
        },
        doc: "The modules (first segments of event types) whose events go by `channel.template`; those of the others go to `tenant:{tenant_id}`.",
    },
    Setting {
        key: "channel.tenant_too",
        env: &["OUTBOX_RELAY_CHANNEL_TENANT_TOO"],
        flag: None,
        default: Some("off"),
        example: "on",
        kind: Kind::Choice {
            names: &["off", "on"],
            set: |s, v| switch(v).map(|on| s.channel_tenant_too = on).is_some(),
        },
        doc: "Whether events that go by `channel.template` are published to `tenant:{tenant_id}` as well. Each then costs two messages.",
    },
    Setting {
        key: "message.envelope",
        env: &["OUTBOX_RELAY_MESSAGE_ENVELOPE"],
        flag: None,
        default: Some("outbox"),
        example: "cloudevents",
        kind: Kind::Choice {
            names: EnvelopeName::NAMES,
            set: |s, v| EnvelopeName::named(v).map(|name| s.message_envelope = name).is_some(),
        },
        doc: "What subscribers get around the payload: `outbox` (id, version, tenantId, …) or `cloudevents` (CloudEvents 1.0, structured JSON).",
    },
    Setting {
        key: "message.source",
        env: &["OUTBOX_RELAY_MESSAGE_SOURCE"],
        flag: None,
        default: Some("/outbox"),
        example: "https://shop.example.com/outbox",
        kind: Kind::Text {
            check: event_source,
            expected: "a URI reference of at most 200 characters",
            set: |s, v| s.message_source = v,
        },
        doc: "The attribute `source` of CloudEvents: together with `id` it names an event among those of all your outboxes.",
    },
    Setting {
        key: "message.headers",
        env: &["OUTBOX_RELAY_MESSAGE_HEADERS"],
        flag: None,
        default: Some("off"),
        example: "on",
        kind: Kind::Choice {
            names: &["off", "on"],
            set: |s, v| switch(v).map(|on| s.message_headers = on).is_some(),
        },
        doc: "Whether `extras.headers` tell `eventType`, `aggregateType`, `aggregateId` and the row's `traceparent`, which Ably's subscription filters can match. They count towards the size of a message. A row's own headers are sent either way.",
    },
    Setting {
        key: "message.oversize",
        env: &["OUTBOX_RELAY_MESSAGE_OVERSIZE"],
        flag: None,
        default: Some("fail"),
        example: "reference",
        kind: Kind::Choice {
            names: OnOversize::NAMES,
            set: |s, v| OnOversize::named(v).map(|what| s.message_oversize = what).is_some(),
        },
        doc: "What becomes of an event that is too large for a message: `fail` (PAYLOAD_TOO_LARGE), or `reference`, which publishes a signed link in the payload's place; the relay serves it at `/events/{id}/payload`. Needs `payload.url`, `payload.secret` and `http.listen`; `enqueue` has a limit of its own.",
    },
    Setting {
        key: "payload.url",
        env: &["OUTBOX_RELAY_PAYLOAD_URL"],
        flag: None,
        default: None,
        example: "https://outbox.example.com",
        kind: Kind::Text {
            check: link_url,
            expected: "an http or https URL without query",
            set: |s, v| s.payload_url = Some(v),
        },
        doc: "Where subscribers reach the relay's HTTP for payloads that are too large for a message: links begin with it.",
    },
    Setting {
        key: "payload.secret",
        env: &["OUTBOX_RELAY_PAYLOAD_SECRET"],
        flag: None,
        default: None,
        example: "thirty-two-characters-or-more-of-chance",
        kind: Kind::Secret {
            check: link_secret,
            expected: "at least 32 visible ASCII characters",
            plain_in_file: false,
            set: |s, v| s.payload_secret = Some(v),
        },
        doc: "What links to payloads are signed with, the same for all relays of an outbox. Whoever has it can read every payload; another one ends all links.",
    },
    Setting {
        key: "payload.lifetime",
        env: &["OUTBOX_RELAY_PAYLOAD_LIFETIME"],
        flag: None,
        default: Some("24h"),
        example: "24h",
        kind: Kind::Duration {
            min: ms(60_000),
            max: minutes(60 * 24 * 365),
            set: |s, v| s.payload_lifetime = v,
        },
        doc: "How long a link to a payload opens it. Too high: a link that leaks is of use for longer. Too low: subscribers that were away find only links that have expired.",
    },
];
