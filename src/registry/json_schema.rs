//! One JSON Schema of the envelope with every payload in it.

use serde_json::{Value, json};

use super::keywords::DIALECT;
use super::shape::EventShape;
use crate::domain::message::ENVELOPE_VERSION;

pub(super) fn write(events: &[EventShape<'_>]) -> String {
    let payload = |event: &EventShape<'_>| {
        let mut schema = event.schema.clone();
        if let Value::Object(words) = &mut schema {
            // With an id of its own, what the schema refers to stays within it.
            words.insert("$id".to_owned(), format!("urn:event:{}", event.event_type).into());
        }
        schema
    };
    let branches: Vec<Value> = events
        .iter()
        .map(|event| {
            json!({"properties": {"eventType": {"const": event.event_type}, "payload": payload(event)}})
        })
        .collect();
    let text = json!({"type": "string", "minLength": 1});
    let names: Vec<&str> = events.iter().map(|event| event.event_type).collect();
    let schema = json!({
        "$schema": DIALECT,
        "title": "RealtimeEvent",
        "type": "object",
        "required": ["id", "version", "tenantId", "aggregateType", "aggregateId", "occurredAt", "eventType", "payload"],
        "properties": {
            "id": text, "version": {"const": ENVELOPE_VERSION}, "tenantId": text, "aggregateType": text,
            "aggregateId": text, "occurredAt": {"type": "string", "format": "date-time", "pattern": "Z$"},
            "eventType": {"enum": names},
        },
        "oneOf": branches,
    });
    format!("{schema:#}\n")
}
