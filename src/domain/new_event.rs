//! An event that an application is about to write.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An event for `enqueue`. What is left out of a literal comes from `..NewEvent::default()`.
///
/// ```
/// use outbox_relay::domain::new_event::NewEvent;
/// use serde_json::json;
///
/// let event = NewEvent::new("tenant-abc", "kitchen.task.claimed")
///     .about("KitchenTask", "task-123")
///     .payload(json!({ "taskId": "task-123", "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00Z" }))
///     .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// assert_eq!(event.payload.as_json()[..9], *r#"{"claimed"#);
/// ```
#[derive(Clone, Default)]
pub struct NewEvent {
    /// Identity, on which subscribers dedupe. Left out: the database makes a version 7 UUID.
    pub id: Option<String>,
    /// Whose event it is; names its channel.
    pub tenant_id: String,
    /// Kind of the thing the event is about.
    pub aggregate_type: String,
    /// Which one of its kind.
    pub aggregate_id: String,
    /// What happened: `module.thing.happened`.
    pub event_type: String,
    /// The event type's own data.
    pub payload: Payload,
    /// Becomes the message's `extras.headers`: texts, numbers, booleans or nulls.
    pub headers: Option<Map<String, Value>>,
    /// When it happened. Left out: `payload.occurredAt` if that is a time, else when the row is written.
    pub occurred_at: Option<jiff::Timestamp>,
    /// In which trace it happened, as W3C writes it; the publish is linked to it. Left out: what the transaction
    /// has in `outbox.traceparent`. What is none is dropped by the database and refused by nobody.
    pub traceparent: Option<String>,
}

impl NewEvent {
    /// Begins an event.
    pub fn new(tenant_id: impl Into<String>, event_type: impl Into<String>) -> Self {
        Self { tenant_id: tenant_id.into(), event_type: event_type.into(), ..Self::default() }
    }

    /// What it is about.
    #[must_use]
    pub fn about(self, kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { aggregate_type: kind.into(), aggregate_id: id.into(), ..self }
    }

    /// Its payload; `{}` when there is none.
    #[must_use]
    pub fn payload(self, payload: impl Into<Payload>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// Its identity.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.headers.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// When it happened.
    #[must_use]
    pub fn occurred_at(self, at: jiff::Timestamp) -> Self {
        Self { occurred_at: Some(at), ..self }
    }

    /// In which trace it happened.
    #[must_use]
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self }
    }
}

// By hand: payload and headers are personal data and must not end up in a log through `{:?}`.
impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("id", &self.id)
            .field("tenant_id", &self.tenant_id)
            .field("event_type", &self.event_type)
            .field("payload_bytes", &self.payload.as_json().len())
            .finish_non_exhaustive()
    }
}

/// JSON text, kept as it is: a number beyond 2^53 would not survive being parsed and written again.
#[derive(Clone)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// Anything that serde can write.
    ///
    /// # Errors
    /// When it cannot be JSON, such as a map whose keys are no texts.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// JSON text.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(Self)
    }

    /// The text.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::from(Value::Object(Map::new()))
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        // A value always serialises; `null` is refused by `enqueue`'s own rules, not lost.
        Self(serde_json::value::to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl From<Box<RawValue>> for Payload {
    fn from(text: Box<RawValue>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.as_json().len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_kept_as_it_is_and_not_shown() {
        let text = r#"{"n": 12345678901234567890123, "secret": "hunter2"}"#;
        let event = NewEvent::new("t", "a.b").payload(Payload::from_json(text).unwrap());
        assert_eq!(event.payload.as_json(), text);
        assert!(!format!("{event:?} {:?}", event.payload).contains("hunter2"));
        assert!(Payload::from_json("{").is_err());
        assert_eq!(Payload::default().as_json(), "{}");
        assert_eq!(Payload::of(&[1, 2]).unwrap().as_json(), "[1,2]");
        assert_eq!(Payload::from(json!({"a": 1})).as_json(), r#"{"a":1}"#);
    }
}
