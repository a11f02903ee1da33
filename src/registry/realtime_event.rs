//! From JSON to an event whose type the compiler knows.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event_types::Registry;
use super::problem::{Problem, Problems};

/// An event as a subscriber receives it, with its payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<P> {
    /// The outbox row's id: dedupe on it.
    pub id: String,
    /// [`crate::domain::message::ENVELOPE_VERSION`].
    pub version: u32,
    /// Whose event it is.
    pub tenant_id: String,
    /// Kind of the thing the event is about.
    pub aggregate_type: String,
    /// Which one of its kind.
    pub aggregate_id: String,
    /// RFC 3339, UTC: order by it.
    pub occurred_at: String,
    /// What happened.
    pub event_type: String,
    /// The event type's own data.
    pub payload: P,
}

/// Payload of `kitchen.task.claimed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KitchenTaskClaimed {
    /// The task.
    pub task_id: String,
    /// Who works on it.
    pub employee_id: String,
    /// RFC 3339, UTC.
    pub claimed_at: String,
}

/// Payload of `kitchen.task.released`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KitchenTaskReleased {
    /// The task.
    pub task_id: String,
    /// Who worked on it.
    pub employee_id: String,
    /// RFC 3339, UTC.
    pub released_at: String,
}

/// Payload of `kitchen.task.progress`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KitchenTaskProgress {
    /// The task.
    pub task_id: String,
    /// Who works on it.
    pub employee_id: String,
    /// From 0 to 100. Whole, though JSON may write it as `50.0`.
    #[serde(deserialize_with = "whole_percent")]
    pub progress_percent: u8,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

/// JSON Schema's `integer` takes `50.0`; serde's integers do not.
fn whole_percent<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let whole = (0..=100_u8).find(|percent| f64::from(*percent) == number);
    whole.ok_or_else(|| serde::de::Error::custom("must be a whole number from 0 to 100"))
}

/// An event by its type. Its payload is valid by the schema of that type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RealtimeEvent {
    /// `kitchen.task.claimed`.
    KitchenTaskClaimed(Envelope<KitchenTaskClaimed>),
    /// `kitchen.task.released`.
    KitchenTaskReleased(Envelope<KitchenTaskReleased>),
    /// `kitchen.task.progress`.
    KitchenTaskProgress(Envelope<KitchenTaskProgress>),
    /// An event type of a registry's own files.
    Other(Envelope<Value>),
}

impl RealtimeEvent {
    /// Its `eventType`.
    pub fn event_type(&self) -> &str {
        match self {
            Self::KitchenTaskClaimed(event) => &event.event_type,
            Self::KitchenTaskReleased(event) => &event.event_type,
            Self::KitchenTaskProgress(event) => &event.event_type,
            Self::Other(event) => &event.event_type,
        }
    }
}

/// Reads an envelope of the built-in event types. For others: [`Registry::parse_realtime_event`].
///
/// ```
/// use outbox_relay::registry::realtime_event::{RealtimeEvent, parse_realtime_event};
///
/// let json = r#"{"id": "1", "version": 1, "tenantId": "tenant-abc", "aggregateType": "KitchenTask",
///     "aggregateId": "task-123", "occurredAt": "2026-01-23T10:30:00.000Z", "eventType": "kitchen.task.claimed",
///     "payload": {"taskId": "task-123", "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00.000Z"}}"#;
/// let Ok(RealtimeEvent::KitchenTaskClaimed(event)) = parse_realtime_event(json) else { panic!() };
/// assert_eq!(event.payload.employee_id, "e-1");
/// let problems = parse_realtime_event(&json.replace("task-123", "")).unwrap_err();
/// assert_eq!(problems.as_slice()[1].path, "/payload/taskId");
/// ```
///
/// # Errors
/// Everything that is wrong with it, each with its path and message; an unknown event type among it.
pub fn parse_realtime_event(json: &str) -> Result<RealtimeEvent, Problems> {
    static BUILT_IN: OnceLock<Option<Registry>> = OnceLock::new();
    let registry = BUILT_IN.get_or_init(|| Registry::built_in().ok()).as_ref();
    let registry = registry.ok_or_else(|| Problem::new("", "the built-in registry is broken"))?;
    registry.parse_realtime_event(json)
}

impl Registry {
    /// Reads an envelope of any event type of this registry.
    ///
    /// # Errors
    /// As [`parse_realtime_event`].
    pub fn parse_realtime_event(&self, json: &str) -> Result<RealtimeEvent, Problems> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| Problem::new("", format!("is not JSON: {error}")))?;
        self.realtime_event(value)
    }

    /// As [`Registry::parse_realtime_event`], from a value.
    ///
    /// # Errors
    /// As [`parse_realtime_event`].
    pub fn realtime_event(&self, value: Value) -> Result<RealtimeEvent, Problems> {
        let event_type = self.check(&value)?;
        let built_in = if self.is_built_in(event_type) { event_type } else { "" };
        let typed = match built_in {
            "kitchen.task.claimed" => {
                serde_json::from_value(value).map(RealtimeEvent::KitchenTaskClaimed)
            }
            "kitchen.task.released" => {
                serde_json::from_value(value).map(RealtimeEvent::KitchenTaskReleased)
            }
            "kitchen.task.progress" => {
                serde_json::from_value(value).map(RealtimeEvent::KitchenTaskProgress)
            }
            _ => serde_json::from_value(value).map(RealtimeEvent::Other),
        };
        typed.map_err(|error| Problem::new("", format!("has another shape: {error}")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, payload: &str) -> String {
        format!(
            r#"{{"id": "1", "version": 1, "tenantId": "t", "aggregateType": "A", "aggregateId": "a",
                "occurredAt": "2026-01-23T10:30:00.000Z", "eventType": "{event_type}", "payload": {payload}}}"#
        )
    }

    #[test]
    fn every_built_in_type_becomes_its_own_variant() {
        let at = "2026-01-23T10:30:00Z";
        let parse = |kind: &str, rest: &str| {
            let payload = format!(r#"{{"taskId": "t", "employeeId": "e", {rest}}}"#);
            parse_realtime_event(&event(kind, &payload)).unwrap()
        };
        let claimed = parse("kitchen.task.claimed", &format!(r#""claimedAt": "{at}""#));
        assert!(
            matches!(&claimed, RealtimeEvent::KitchenTaskClaimed(e) if e.payload.claimed_at == at)
        );
        let released = parse("kitchen.task.released", &format!(r#""releasedAt": "{at}""#));
        assert!(
            matches!(&released, RealtimeEvent::KitchenTaskReleased(e) if e.payload.task_id == "t")
        );
        let rest = format!(r#""progressPercent": 50.0, "updatedAt": "{at}""#);
        let progress = parse("kitchen.task.progress", &rest);
        assert!(
            matches!(&progress, RealtimeEvent::KitchenTaskProgress(e) if e.payload.progress_percent == 50)
        );
        assert_eq!(progress.event_type(), "kitchen.task.progress");
    }

    #[test]
    fn a_type_of_the_directory_is_other_and_an_unknown_one_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orders.order.created.json");
        std::fs::write(file, r#"{"required": ["total"]}"#).unwrap();
        let registry = Registry::open(directory.path()).unwrap();
        let json = event("orders.order.created", r#"{"total": 9007199254740993}"#);
        let RealtimeEvent::Other(order) = registry.parse_realtime_event(&json).unwrap() else {
            panic!("another variant");
        };
        assert_eq!(order.payload["total"], 9_007_199_254_740_993_u64);
        let problems = parse_realtime_event(&json).unwrap_err();
        assert_eq!(problems.as_slice()[0].path, "/eventType");
        assert!(problems.to_string().contains("orders.order.created.json"), "{problems}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[{}\\[\\]\":,a-z0-9 ]{0,60}") {
            let _ = parse_realtime_event(&text);
        }
    }
}
