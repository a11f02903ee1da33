//! A row of `outbox.event` as the relay claims it.

use std::fmt;

/// Position of an event in the outbox: the row's `seq`. Order per tenant is the order of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The tenant an event belongs to, exactly as stored: it may be one that no channel can carry.
/// [`crate::domain::channel::ChannelName::for_tenant`] decides that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

impl TenantId {
    /// Takes the stored text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The stored text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pending event, claimed and not yet published.
///
/// Times are text because PostgreSQL has already formatted them (RFC 3339, UTC, milliseconds), and
/// the payload is text because it must reach the subscriber unchanged: a number beyond 2^53 would
/// not survive being parsed and written again.
#[derive(Clone)]
pub struct Event {
    /// Position in the outbox.
    pub seq: Seq,
    /// Identity of the event: subscribers dedupe on it.
    pub id: String,
    /// Whose event it is.
    pub tenant_id: TenantId,
    /// Kind of the thing the event is about.
    pub aggregate_type: String,
    /// Which one of its kind.
    pub aggregate_id: String,
    /// What happened; becomes the message's name.
    pub event_type: String,
    /// The payload as PostgreSQL prints it: valid JSON.
    pub payload: String,
    /// The row's `headers`, valid JSON, forwarded as the message's `extras.headers`.
    pub headers: Option<String>,
    /// The trace that it was written in: W3C `traceparent` as stored, so not checked to be one. Read only where it is
    /// forwarded.
    pub traceparent: Option<String>,
    /// The row's `occurred_at`, RFC 3339 UTC.
    pub occurred_at: Option<String>,
    /// `payload.occurredAt` when it is a string; not checked to be a time.
    pub payload_occurred_at: Option<String>,
    /// The row's `created_at`, RFC 3339 UTC.
    pub created_at: String,
    /// How many publishes that contained this event Ably has refused on merits.
    pub attempts: i32,
    /// How often an operator has requeued it after it had failed.
    pub generation: i32,
}

// By hand: a payload is personal data and must not end up in a log through `{:?}`.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("seq", &self.seq.0)
            .field("id", &self.id)
            .field("tenant_id", &self.tenant_id.as_str())
            .field("event_type", &self.event_type)
            .field("payload_bytes", &self.payload.len())
            .field("attempts", &self.attempts)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
