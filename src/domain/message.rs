//! From an event to the message that Ably takes and a subscriber receives.
//!
//! The envelope is the message's `data`, sent as a string with `encoding: "json"`: so the size that
//! Ably counts is the byte length of what is sent here, and the payload's own text reaches the
//! subscriber untouched.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::channel::{ChannelError, ChannelName, module_of};
use super::envelope::{Content, Envelope};
use super::event::Event;
use super::headers::extras;
use super::payload_link::PayloadLinks;

/// Largest message that every Ably plan takes, in bytes as Ably counts them: name + data + extras.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 65_536;

/// From here on a message is close enough to the limit to warn about, in the same bytes.
pub const MESSAGE_BYTES_WARN: usize = 32_768;

/// Version of the envelope; subscribers see it as `version`.
pub const ENVELOPE_VERSION: u32 = 1;

/// One message of a [`Spec`], complete but for the id, which the grouping gives.
#[derive(Clone, Serialize)]
pub struct Message {
    /// Idempotency id: the event's own, or `base:index` in a group.
    pub id: String,
    /// The event type.
    pub name: String,
    /// The envelope as JSON text.
    pub data: String,
    /// How subscribers decode `data`: always `json`.
    pub encoding: &'static str,
    /// `{"headers":{…}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extras: Option<Box<RawValue>>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// What a message looks like.
#[derive(Debug, Clone, Default)]
pub struct Format {
    /// Around the payload.
    pub envelope: Envelope,
    /// Whether `extras.headers` tell event type and aggregate, for filters.
    pub headers: bool,
    /// What a payload is replaced by when the message would be too large; none fails the event.
    pub links: Option<PayloadLinks>,
}

impl Message {
    /// The message of one event in the default format, carrying the event's own id.
    ///
    /// # Errors
    /// When the event cannot be published whatever happens: see [`Refusal`].
    pub fn of_event(event: &Event, bytes_max: usize) -> Result<Self, Refusal> {
        Self::in_format(event, &Format::default(), bytes_max, || 0)
    }

    /// The message of one event, carrying the event's own id. `now`, in seconds since 1970, is asked only where a
    /// link takes the payload's place.
    ///
    /// # Errors
    /// As [`Message::of_event`].
    pub fn in_format(
        event: &Event,
        format: &Format,
        bytes_max: usize,
        now: impl FnOnce() -> i64,
    ) -> Result<Self, Refusal> {
        check_names(event)?;
        let message = Self::with(event, format, Content::Payload(&event.payload))?;
        if message.counted_bytes() <= bytes_max {
            return Ok(message);
        }
        match &format.links {
            Some(_) => Self::by_reference(event, format, bytes_max, now),
            None => Err(too_large(message.counted_bytes(), bytes_max)),
        }
    }

    /// The message of one event with a link in the place of its payload, which may be left out of `event`.
    ///
    /// # Errors
    /// As [`Message::of_event`]; also where the format has no links.
    pub fn by_reference(
        event: &Event,
        format: &Format,
        bytes_max: usize,
        now: impl FnOnce() -> i64,
    ) -> Result<Self, Refusal> {
        check_names(event)?;
        let links = format.links.as_ref().ok_or_else(|| Refusal::invalid("no links are made"))?;
        let link = links.link(&event.id, now());
        let message = Self::with(event, format, Content::Link(&link))?;
        let bytes = message.counted_bytes();
        if bytes > bytes_max { Err(too_large(bytes, bytes_max)) } else { Ok(message) }
    }

    fn with(event: &Event, format: &Format, content: Content<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            id: message_id(&event.id, event.generation),
            name: event.event_type.clone(),
            data: format.envelope.write(event, content),
            encoding: "json",
            extras: extras(event, format.headers)?,
        })
    }

    /// Size as Ably counts it: UTF-8 bytes of name, data and extras. Id and encoding are free.
    pub fn counted_bytes(&self) -> usize {
        self.name.len() + self.data.len() + self.extras.as_ref().map_or(0, |e| e.get().len())
    }
}

/// The messages of one channel that are published as one atomic unit (Ably's `BatchSpec`).
#[derive(Debug, Clone)]
pub struct Spec {
    /// Where they go.
    pub channel: ChannelName,
    /// One message with the event's own id, or several with ids `base:0..n`.
    pub messages: Vec<Message>,
}

impl Spec {
    /// Gives several messages the ids `base:0..n` that make them one idempotent unit.
    pub fn group(channel: ChannelName, base: &str, mut messages: Vec<Message>) -> Self {
        for (index, message) in messages.iter_mut().enumerate() {
            message.id = format!("{base}:{index}");
        }
        Self { channel, messages }
    }
}

/// `error.code` of a failed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Ably refused it.
    AblyError,
    /// The row itself is wrong.
    ValidationError,
    /// Larger than the plan allows.
    PayloadTooLarge,
}

impl ErrorCode {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AblyError => "ABLY_ERROR",
            Self::ValidationError => "VALIDATION_ERROR",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
        }
    }
}

/// Why an event is `failed`; serialised it is the row's `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which kind.
    pub code: ErrorCode,
    /// One line that says what is wrong and how to mend it.
    pub message: String,
    /// Ably's own code, when Ably refused it.
    #[serde(rename = "ablyErrorCode", skip_serializing_if = "Option::is_none")]
    pub ably_code: Option<u32>,
}

fn too_large(bytes: usize, bytes_max: usize) -> Refusal {
    Refusal {
        code: ErrorCode::PayloadTooLarge,
        message: format!(
            "the message is {bytes} bytes; the limit is {bytes_max}: make the payload smaller"
        ),
        ably_code: None,
    }
}

impl Refusal {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::ValidationError, message: message.into(), ably_code: None }
    }
}

impl From<ChannelError> for Refusal {
    fn from(error: ChannelError) -> Self {
        Self::invalid(error.to_string())
    }
}

fn check_names(event: &Event) -> Result<(), Refusal> {
    for (field, value) in [
        ("id", &event.id),
        ("aggregateType", &event.aggregate_type),
        ("aggregateId", &event.aggregate_id),
    ] {
        if value.trim().is_empty() {
            return Err(Refusal::invalid(format!("{field} is required")));
        }
    }
    if module_of(&event.event_type).is_none() {
        return Err(Refusal::invalid(format!(
            "eventType {:?} needs at least two segments, such as kitchen.task",
            event.event_type
        )));
    }
    Ok(())
}

/// The id under which an event goes alone: its own, or `id.r1`, `id.r2`… after it was requeued, because
/// Ably would take the id that it has seen for a repeat and drop it. No two events ever share one.
///
/// Ably reads `x:0` as base and index, so an id with a colon is escaped; a UUID or cuid stays as it is. An
/// id that itself ends like a requeued one always gets a suffix, `.r0` at first.
fn message_id(event_id: &str, generation: i32) -> String {
    let mut id = if event_id.contains([':', '%']) {
        event_id.replace('%', "%25").replace(':', "%3A")
    } else {
        event_id.to_owned()
    };
    if generation > 0 || ends_like_requeued(event_id) {
        // Writing to a String cannot fail.
        _ = write!(id, ".r{}", generation.max(0));
    }
    id
}

fn ends_like_requeued(event_id: &str) -> bool {
    event_id
        .rsplit_once(".r")
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::event::{Seq, TenantId};

    fn event() -> Event {
        Event {
            seq: Seq(1),
            id: "018f-1".into(),
            tenant_id: TenantId::new("tenant-abc"),
            aggregate_type: "KitchenTask".into(),
            aggregate_id: "task-123".into(),
            event_type: "kitchen.task.claimed".into(),
            payload: r#"{"n": 12345678901234567890123, "Key": "é"}"#.into(),
            headers: None,
            occurred_at: Some("2026-01-23T10:30:00.000Z".into()),
            traceparent: None,
            payload_occurred_at: None,
            created_at: "2026-01-24T00:00:00.000Z".into(),
            attempts: 0,
            generation: 0,
        }
    }

    #[test]
    fn the_envelope_is_the_contracts_and_the_payload_is_untouched() {
        let message = Message::of_event(&event(), MESSAGE_BYTES_MAX_DEFAULT).unwrap();
        assert_eq!(
            message.data,
            r#"{"id":"018f-1","version":1,"tenantId":"tenant-abc","aggregateType":"KitchenTask","aggregateId":"task-123","occurredAt":"2026-01-23T10:30:00.000Z","eventType":"kitchen.task.claimed","payload":{"n": 12345678901234567890123, "Key": "é"}}"#
        );
        assert_eq!(
            (message.id.as_str(), message.name.as_str()),
            ("018f-1", "kitchen.task.claimed")
        );
    }

    #[test]
    fn occurred_at_falls_back_to_the_payload_and_then_to_the_creation() {
        for (text, expected) in [
            (Some("2026-01-23T10:30:00.000Z"), "2026-01-23T10:30:00.000Z"),
            (Some("2026-01-23T12:30:00+02:00"), "2026-01-23T10:30:00.000Z"),
            (Some("yesterday"), "2026-01-24T00:00:00.000Z"),
            (None, "2026-01-24T00:00:00.000Z"),
        ] {
            let payload_occurred_at = text.map(str::to_owned);
            let event = Event { occurred_at: None, payload_occurred_at, ..event() };
            let message = Message::of_event(&event, usize::MAX).unwrap();
            let envelope: serde_json::Value = serde_json::from_str(&message.data).unwrap();
            assert_eq!(envelope["occurredAt"], expected);
        }
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let size = Message::of_event(&event(), usize::MAX).unwrap().counted_bytes();
        assert!(Message::of_event(&event(), size).is_ok());
        let refusal = Message::of_event(&event(), size - 1).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::PayloadTooLarge);
    }

    #[test]
    fn a_row_without_names_is_refused_with_the_field() {
        for (broken, word) in [
            (Event { id: " ".into(), ..event() }, "id is required"),
            (Event { aggregate_id: String::new(), ..event() }, "aggregateId"),
            (Event { aggregate_type: String::new(), ..event() }, "aggregateType"),
            (Event { event_type: "nodot".into(), ..event() }, "two segments"),
            (Event { headers: Some(r#"{"a":[1]}"#.into()), ..event() }, "flat"),
            (Event { headers: Some("[]".into()), ..event() }, "flat"),
        ] {
            let refusal = Message::of_event(&broken, MESSAGE_BYTES_MAX_DEFAULT).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::ValidationError);
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
    }

    #[test]
    fn a_requeued_event_goes_under_a_new_message_id_and_its_own_envelope_id() {
        for (id, generation, expected) in [
            ("018f-1", 0, "018f-1"),
            ("018f-1", 1, "018f-1.r1"),
            ("018f-1", 12, "018f-1.r12"),
            ("a:b", 1, "a%3Ab.r1"),
            ("a.r1", 0, "a.r1.r0"),
            ("a.r1", 1, "a.r1.r1"),
            ("a.rx", 0, "a.rx"),
        ] {
            let event = Event { id: id.into(), generation, ..event() };
            let message = Message::of_event(&event, usize::MAX).unwrap();
            assert_eq!(message.id, expected);
            assert!(message.data.starts_with(&format!("{{\"id\":\"{id}\",")), "{}", message.data);
        }
    }

    #[test]
    fn headers_become_extras_and_count() {
        let plain = Message::of_event(&event(), usize::MAX).unwrap().counted_bytes();
        let event = Event { headers: Some(r#"{"a": 1}"#.into()), ..event() };
        let message = Message::of_event(&event, usize::MAX).unwrap();
        assert_eq!(message.extras.as_ref().unwrap().get(), r#"{"headers":{"a": 1}}"#);
        assert_eq!(message.counted_bytes(), plain + 20);
    }

    #[test]
    fn errors_are_stored_as_the_contract_says() {
        let refusal =
            Refusal { code: ErrorCode::AblyError, message: "no".into(), ably_code: Some(40_009) };
        assert_eq!(
            serde_json::to_string(&refusal).unwrap(),
            r#"{"code":"ABLY_ERROR","message":"no","ablyErrorCode":40009}"#
        );
    }

    proptest! {
        #[test]
        fn an_envelope_is_json_with_the_events_own_strings(
            id in ".{1,20}", tenant in ".*", kind in ".+", number in any::<i128>(),
        ) {
            let event = Event {
                id: id.clone(), tenant_id: TenantId::new(tenant.clone()),
                aggregate_type: kind.clone(), payload: format!("[{number}]"), ..event()
            };
            let text = Envelope::Outbox.write(&event, Content::Payload(&event.payload));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["id"], &id);
            prop_assert_eq!(&value["tenantId"], &tenant);
            prop_assert_eq!(&value["aggregateType"], &kind);
            let tail = format!("\"payload\":[{number}]}}");
            prop_assert!(text.ends_with(&tail));
        }

        #[test]
        fn two_events_or_deliveries_never_share_a_message_id(
            a in "[a:%3A]{0,3}(\\.r[01]{0,2}){0,2}", g in 0..3, b in "[a:%3A]{0,3}(\\.r[01]{0,2}){0,2}", h in 0..3,
        ) {
            prop_assume!((&a, g) != (&b, h));
            prop_assert_ne!(message_id(&a, g), message_id(&b, h));
            prop_assert!(!message_id(&a, g).contains(':'));
        }
    }
}
