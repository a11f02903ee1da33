//! The envelope: what a subscriber gets around an event's payload. The contract's own by default, or CloudEvents 1.0
//! in structured mode.

use std::fmt::Write as _;

use super::event::Event;
use super::message::ENVELOPE_VERSION;

/// Which envelope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Envelope {
    /// `{"id", "version", "tenantId", … "payload"}`.
    #[default]
    Outbox,
    /// CloudEvents 1.0, JSON format: the payload is `data`.
    CloudEvents {
        /// The attribute `source`: a URI reference that names the outbox.
        source: String,
    },
}

/// What stands in the payload's place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// The payload as the row has it: valid JSON.
    Payload(&'a str),
    /// Where to get it.
    Link(&'a str),
}

impl Envelope {
    /// The envelope as JSON text.
    pub(super) fn write(&self, event: &Event, content: Content<'_>) -> String {
        match self {
            Self::Outbox => outbox(event, content),
            Self::CloudEvents { source } => cloudevents(event, source, content),
        }
    }
}

fn outbox(event: &Event, content: Content<'_>) -> String {
    let mut out = String::with_capacity(event.payload.len() + 320);
    push_field(&mut out, "{\"id\":", &event.id);
    // Writing to a String cannot fail.
    _ = write!(out, ",\"version\":{ENVELOPE_VERSION}");
    push_field(&mut out, ",\"tenantId\":", event.tenant_id.as_str());
    push_field(&mut out, ",\"aggregateType\":", &event.aggregate_type);
    push_field(&mut out, ",\"aggregateId\":", &event.aggregate_id);
    push_field(&mut out, ",\"occurredAt\":", &occurred_at(event));
    push_field(&mut out, ",\"eventType\":", &event.event_type);
    out.push_str(",\"payload\":");
    match content {
        Content::Payload(payload) => out.push_str(payload),
        Content::Link(link) => {
            push_field(&mut out, "{\"payloadRef\":", link);
            out.push('}');
        }
    }
    out.push('}');
    out
}

/// `id`, `source`, `specversion` and `type` are required. Names of extensions may only have lower-case letters and
/// digits, hence `tenantid`. `subject` holds both parts of the aggregate, for filters that look at nothing else.
/// A link is `dataref`, as the extension of that name has it, and then there is no `data`.
fn cloudevents(event: &Event, source: &str, content: Content<'_>) -> String {
    let mut out = String::with_capacity(event.payload.len() + 512);
    push_field(&mut out, "{\"specversion\":\"1.0\",\"id\":", &event.id);
    push_field(&mut out, ",\"source\":", source);
    push_field(&mut out, ",\"type\":", &event.event_type);
    push_field(
        &mut out,
        ",\"subject\":",
        &format!("{}/{}", event.aggregate_type, event.aggregate_id),
    );
    push_field(&mut out, ",\"time\":", &occurred_at(event));
    push_field(&mut out, ",\"tenantid\":", event.tenant_id.as_str());
    push_field(&mut out, ",\"aggregatetype\":", &event.aggregate_type);
    push_field(&mut out, ",\"aggregateid\":", &event.aggregate_id);
    out.push_str(",\"datacontenttype\":\"application/json\"");
    match content {
        Content::Payload(payload) => {
            out.push_str(",\"data\":");
            out.push_str(payload);
        }
        Content::Link(link) => push_field(&mut out, ",\"dataref\":", link),
    }
    out.push('}');
    out
}

pub(super) fn push_field(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    // A string always serialises.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

/// `occurred_at` of the row, else `payload.occurredAt` when it is a time, else `created_at`.
///
/// A string that is no time falls through: subscribers order by this field, and one unreadable value
/// would break them where the creation time does not.
fn occurred_at(event: &Event) -> String {
    if let Some(at) = &event.occurred_at {
        return at.clone();
    }
    event
        .payload_occurred_at
        .as_deref()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or_else(|| event.created_at.clone(), |time| format!("{time:.3}"))
}
