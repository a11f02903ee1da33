//! Events, counts and decisions as an operator's command gets them.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::error::StoreError;
use crate::domain::event::Seq;
use crate::domain::failure::FailureClass;

/// State of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Not yet published.
    Pending,
    /// Accepted by Ably.
    Published,
    /// Failed for good.
    Failed,
}

impl EventStatus {
    /// As the table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Published => "published",
            Self::Failed => "failed",
        }
    }
}

/// Which events are meant; `None` means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventFilter {
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of this event type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// With this `error.code`, or this Ably code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Written since then, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Failed ones that were discarded, too.
    pub discarded: bool,
}

/// An event as it is stored. Serialised it is one line of `events list --json`.
#[derive(Debug, Serialize)]
pub struct StoredEvent {
    /// Position.
    pub seq: i64,
    /// Identity.
    pub id: String,
    /// Whose.
    pub tenant_id: String,
    /// Kind of the thing that it is about.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: String,
    /// What happened.
    pub event_type: String,
    /// `pending`, `published` or `failed`.
    pub status: String,
    /// Refusals by Ably since it was last requeued.
    pub attempts: i32,
    /// How often it was requeued.
    pub generation: i32,
    /// When it happened, RFC 3339, if the producer said so.
    pub occurred_at: Option<String>,
    /// When it was written, RFC 3339.
    pub created_at: String,
    /// When Ably accepted it, RFC 3339.
    pub published_at: Option<String>,
    /// The row's `error`, with the decision in it if it was discarded.
    pub error: Option<serde_json::Value>,
    /// As PostgreSQL prints it; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// As PostgreSQL prints them; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Box<RawValue>>,
}

impl StoredEvent {
    /// A text field of the error.
    pub fn error_text(&self, field: &str) -> Option<&str> {
        self.error.as_ref()?.get(field)?.as_str()
    }

    /// Ably's code in the error.
    pub fn ably_code(&self) -> Option<u64> {
        self.error.as_ref()?.get("ablyErrorCode")?.as_u64()
    }

    /// What somebody decided: `at`, `by`, `reason`.
    pub fn discarded(&self) -> Option<&serde_json::Value> {
        self.error.as_ref()?.get("discarded")
    }

    /// What to do about its error.
    pub fn remedy(&self) -> Option<&'static str> {
        let code = self.error_text("code")?;
        let ably = self.ably_code().and_then(|code| u32::try_from(code).ok());
        if self.status == "published" {
            return None;
        }
        if code == "PAYLOAD_TOO_LARGE" || ably == Some(40_009) {
            return Some(
                "make the payload smaller in the row, or get an Ably package that takes more and raise relay.max_message_bytes; then requeue it, or discard it",
            );
        }
        let class = ably.map(|code| FailureClass::of_answer(400, Some(code)));
        match class {
            None | Some(FailureClass::Content | FailureClass::Unknown) => {
                Some("mend the row and its producer, then requeue it; or discard it")
            }
            Some(class) => Some(class.remedy()),
        }
    }
}

/// How many failed events a filter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCount {
    /// Events, counted up to [`super::operator::COUNT_MAX`] and one more.
    pub events: i64,
    /// Their tenants.
    pub tenants: i64,
    /// The last failed event of the outbox: an end for whoever goes through them while more fail.
    pub last: Option<Seq>,
}

/// A position that was found, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The position.
    pub seq: Seq,
    /// The event's id.
    pub id: String,
    /// By its id; otherwise by its position.
    pub by_id: bool,
}

/// A decision about an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// When, RFC 3339.
    pub at: String,
    /// Who, as they said.
    pub actor: String,
    /// The database role that it was done as.
    pub db_role: String,
    /// What.
    pub action: String,
    /// The same for all rows of one command.
    pub operation: String,
    /// Events decided about at once.
    pub count: i64,
    /// What was asked for, as JSON text, when it was not single ids.
    pub filter: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

pub(super) fn stored_event(row: &Row) -> Result<StoredEvent, StoreError> {
    let error: Option<&str> = row.try_get("error")?;
    // PostgreSQL prints valid JSON; one that serde_json does not take (1e400) is shown as text.
    let error = error.map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()));
    Ok(StoredEvent {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        event_type: row.try_get("event_type")?,
        status: row.try_get("status")?,
        attempts: row.try_get("attempts")?,
        generation: row.try_get("generation")?,
        occurred_at: row.try_get("occurred_at")?,
        created_at: row.try_get("created_at")?,
        published_at: row.try_get("published_at")?,
        error,
        payload: raw(row.try_get("payload")?)?,
        headers: raw(row.try_get("headers")?)?,
    })
}

fn raw(text: Option<String>) -> Result<Option<Box<RawValue>>, StoreError> {
    let raw = text.map(RawValue::from_string).transpose();
    raw.map_err(|error| StoreError::Unexpected(format!("jsonb that is not JSON: {error}")))
}

pub(super) fn audit_row(row: &Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        at: row.try_get("at")?,
        actor: row.try_get("actor")?,
        db_role: row.try_get("db_role")?,
        action: row.try_get("action")?,
        operation: row.try_get("operation")?,
        count: row.try_get("count")?,
        filter: row.try_get("filter")?,
        reason: row.try_get("reason")?,
    })
}
