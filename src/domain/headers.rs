//! `extras.headers`: what Ably's subscription filters can match. Flat, or Ably answers 40032.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::envelope::push_field;
use super::event::Event;
use super::message::Refusal;

/// What is wrong with a row's headers.
const NOT_FLAT: &str = "headers must be a flat JSON object of strings, numbers, booleans or nulls";

/// The extras of an event: the row's own headers and, with `standard`, what filters ask for. A name that the row
/// uses itself stays the row's.
pub(super) fn extras(event: &Event, standard: bool) -> Result<Option<Box<RawValue>>, Refusal> {
    let own = event.headers.as_deref().map(flat).transpose()?;
    let text: Cow<'_, str> = match &event.headers {
        _ if standard => together(event, own.as_ref()).into(),
        Some(headers) => headers.into(),
        None => return Ok(None),
    };
    RawValue::from_string(format!("{{\"headers\":{text}}}"))
        .map(Some)
        .map_err(|e| Refusal::invalid(format!("headers are not JSON: {e}")))
}

fn flat(headers: &str) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_str::<Map<String, Value>>(headers)
        .ok()
        .filter(|map| map.values().all(|v| !v.is_array() && !v.is_object()))
        .ok_or_else(|| Refusal::invalid(NOT_FLAT))
}

/// The names that are added, with their values. A trace context that the row has in a column of its own belongs
/// here too.
fn standard_headers(event: &Event) -> [(&'static str, &str); 3] {
    [
        ("eventType", &event.event_type),
        ("aggregateType", &event.aggregate_type),
        ("aggregateId", &event.aggregate_id),
    ]
}

/// The row's own text goes in as it is: its numbers may be larger than ours.
fn together(event: &Event, own: Option<&Map<String, Value>>) -> String {
    let mut out = String::with_capacity(160);
    for (name, value) in standard_headers(event) {
        if own.is_none_or(|own| !own.contains_key(name)) {
            out.push(if out.is_empty() { '{' } else { ',' });
            push_field(&mut out, &format!("\"{name}\":"), value);
        }
    }
    let text = event.headers.as_deref().unwrap_or_default().trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    if out.is_empty() {
        return text.to_owned();
    }
    if !inner.trim().is_empty() {
        out.push(',');
        out.push_str(inner);
    }
    out.push('}');
    out
}
