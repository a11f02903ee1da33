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
    let text = json!({"type": "string", "minLength": 1, "pattern": "\\S"});
    // What `ChannelName::for_tenant` takes but for its length, which JSON Schema cannot count in bytes.
    let tenant = json!({
        "type": "string", "minLength": 1, "pattern": "^(?!\\[)(?=.*\\S)[^:*,\\u0000-\\u001f\\u007f-\\u009f]*$",
    });
    let names: Vec<&str> = events.iter().map(|event| event.event_type).collect();
    let schema = json!({
        "$schema": DIALECT,
        "title": "RealtimeEvent",
        "type": "object",
        "required": ["id", "version", "tenantId", "aggregateType", "aggregateId", "occurredAt", "eventType", "payload"],
        "properties": {
            "id": text, "version": {"const": ENVELOPE_VERSION}, "tenantId": tenant, "aggregateType": text,
            "aggregateId": text, "occurredAt": {"type": "string", "format": "date-time", "pattern": "^.{10}T.*Z$"},
            "eventType": {"enum": names},
        },
        "oneOf": branches,
    });
    format!("{schema:#}\n")
}
