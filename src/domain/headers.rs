//! `extras.headers`: what Ably's subscription filters can match. Flat, or Ably answers 40032.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::envelope::push_field;
use super::event::Event;
use super::message::Refusal;
use super::traceparent::TraceParent;

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

/// The names that are added, with their values. All are of the row, so that a repeat of a message is the same: the trace
/// is that in which the event was written, and never that of a publish.
fn standard_headers(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    // Whatever else stands in the column: a tracer's mistake stops nobody.
    let trace = event.traceparent.as_deref().filter(|text| TraceParent::parse(text).is_some());
    let named: [(&str, &str); 3] = [
        ("eventType", &event.event_type),
        ("aggregateType", &event.aggregate_type),
        ("aggregateId", &event.aggregate_id),
    ];
    named.into_iter().chain(trace.map(|trace| ("traceparent", trace)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Seq, TenantId};
    use crate::domain::message::{Format, Message};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(traceparent: Option<&str>, headers: Option<&str>) -> Event {
        Event {
            seq: Seq(1),
            id: "e-1".into(),
            tenant_id: TenantId::new("a"),
            aggregate_type: "Task".into(),
            aggregate_id: "t-1".into(),
            event_type: "k.task.done".into(),
            payload: "{}".into(),
            headers: headers.map(str::to_owned),
            traceparent: traceparent.map(str::to_owned),
            occurred_at: None,
            payload_occurred_at: None,
            created_at: "2026-01-24T00:00:00.000Z".into(),
            attempts: 0,
            generation: 0,
        }
    }

    fn headers_of(event: &Event) -> Map<String, Value> {
        let extras: Value =
            serde_json::from_str(extras(event, true).unwrap().unwrap().get()).unwrap();
        extras["headers"].as_object().unwrap().clone()
    }

    #[test]
    fn the_trace_of_the_writer_is_a_header_unless_it_is_none_or_the_row_has_its_own() {
        assert_eq!(headers_of(&event(Some(TRACE), None))["traceparent"], TRACE);
        let own = event(Some(TRACE), Some(r#"{"traceparent": "mine"}"#));
        assert_eq!(headers_of(&own)["traceparent"], "mine");
        let unsent = TRACE.replace("00f067aa0ba902b7", "0000000000000000");
        for none in [None, Some("x"), Some(unsent.as_str())] {
            assert!(!headers_of(&event(none, None)).contains_key("traceparent"), "{none:?}");
        }
        assert!(extras(&event(Some(TRACE), None), false).unwrap().is_none(), "not asked for");
    }

    #[test]
    fn the_trace_counts_towards_the_size_of_the_message() {
        let format = Format { headers: true, ..Format::default() };
        let message = |event| Message::in_format(&event, &format, usize::MAX, || 0).unwrap();
        let without = message(event(None, None)).counted_bytes();
        let with = message(event(Some(TRACE), None)).counted_bytes();
        assert_eq!(with - without, r#","traceparent":"""#.len() + TRACE.len());
        assert!(Message::in_format(&event(Some(TRACE), None), &format, with - 1, || 0).is_err());
    }
}
