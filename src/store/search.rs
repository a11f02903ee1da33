//! What a dashboard asks of the outbox beside what commands ask: pages of events however many there are, failures by
//! reason, decisions. Each question reads a bounded number of rows and may take 2 s.

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::error::StoreError;
use super::operator::{Operator, Work, read};
use super::session::answered;
use super::statement::{StatementText, statement};
use super::stored_event::{EventFilter, EventStatus, StoredEvent};

const RECENT: StatementText =
    statement!("search_recent", [INT8, INT8, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, INT8]);
const FAILED: StatementText =
    statement!("search_failed", [INT8, INT8, TEXT, TEXT, TEXT, TEXT, INT8, BOOL]);
const PENDING: StatementText =
    statement!("search_pending", [TEXT, INT8, INT8, TEXT, TEXT, TEXT, INT8]);
const END_OF_FAILED: StatementText = statement!("end_of_failed", [INT8]);
const END_OF_PENDING: StatementText = statement!("end_of_pending", [TEXT, INT8, TEXT]);
const BELOW: StatementText = statement!("position_below", [INT8]);
const AUDIT: StatementText = statement!("list_audit", [INT8, INT8]);
const GROUPS: StatementText = statement!("group_failed", [INT8]);
const PEEK: StatementText = statement!("peek_payload", [INT8, INT8]);

/// The statements, for the test that prepares every one.
pub static STATEMENTS: [StatementText; 9] =
    [RECENT, FAILED, PENDING, END_OF_FAILED, END_OF_PENDING, BELOW, AUDIT, GROUPS, PEEK];

/// Positions that one page looks at; of failed and of pending events, which lie scattered, 20,000.
pub const WINDOW: i64 = 100_000;

/// Failed events that are read to group them.
const GROUPED_MAX: i64 = 20_000;

/// Bytes that a payload may take where it is stored to be shown.
pub const SHOWN_BYTES_MAX: i64 = 256 * 1_024;

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cursor {
    /// Below this position.
    Before {
        /// The position.
        before: i64,
    },
    /// Behind this event of this tenant: pending events come by tenant.
    After {
        /// The tenant.
        tenant: String,
        /// The position.
        after: i64,
    },
}

/// Which events are looked for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `None` for any.
    pub status: Option<EventStatus>,
    /// Tenant, type, code and time; `discarded` looks for discarded ones alone, and only with [`EventStatus::Failed`].
    pub filter: EventFilter,
    /// Id or type of the aggregate.
    pub aggregate: Option<String>,
}

/// A page of events.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Without payloads.
    pub events: Vec<StoredEvent>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// The page ended because it had looked at as many events as it may, not because it was full.
    pub window_ended: bool,
}

/// Failed events about which nobody has decided, by reason.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Groups {
    /// All of them, as far as they were counted.
    pub events: i64,
    /// Whether there are more.
    pub more: bool,
    /// The largest first.
    pub groups: Vec<Group>,
}

/// Failed events with one code.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Group {
    /// Ably's code where there is one, else ours.
    pub code: String,
    /// Our code.
    pub kind: Option<String>,
    /// How many.
    pub events: i64,
    /// Of how many tenants.
    pub tenants: i64,
    /// Of how many types.
    pub types: i64,
    /// When the first was written, RFC 3339.
    pub oldest: Option<String>,
    /// And the last.
    pub newest: Option<String>,
    /// What the newest says.
    pub message: Option<String>,
}

/// A decision as the whole list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
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
    /// Whose events; empty when it was not about one tenant.
    pub tenant_id: String,
    /// The first positions.
    pub seqs: Vec<i64>,
    /// Events decided about at once.
    pub count: i64,
    /// What was asked for, as JSON text, when it was not single ids.
    pub filter: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A payload, if it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Bytes that it takes where it is stored.
    pub stored_bytes: i64,
    /// JSON text; `None` when it takes more than [`SHOWN_BYTES_MAX`].
    pub payload: Option<String>,
    /// JSON text; `None` when there are none.
    pub headers: Option<String>,
}

impl Operator {
    /// A page of events, from a cursor or from the newest on.
    ///
    /// # Errors
    /// Any; a time-out when the server is too slow for the window.
    pub async fn search(
        &mut self,
        search: &Search,
        from: Option<&Cursor>,
        limit: i64,
    ) -> Result<Page, StoreError> {
        answered(async {
            let work = self.begin_looking().await?;
            match search.status {
                Some(EventStatus::Pending) => pending(&work, search, from, limit).await,
                Some(EventStatus::Failed) => failed(&work, search, from, limit).await,
                None | Some(EventStatus::Published) => recent(&work, search, from, limit).await,
            }
        })
        .await
    }

    /// Failed events about which nobody has decided, by reason.
    ///
    /// # Errors
    /// Any.
    pub async fn failure_groups(&mut self) -> Result<Groups, StoreError> {
        answered(async {
            let rows = self.begin_looking().await?.query(&GROUPS, &[&GROUPED_MAX]).await?;
            let row = rows.first().ok_or_else(|| StoreError::Unexpected("no groups".into()))?;
            serde_json::from_str(row.try_get(0)?)
                .map_err(|error| StoreError::Unexpected(error.to_string()))
        })
        .await
    }

    /// Decisions before number `before`, newest first.
    ///
    /// # Errors
    /// Any.
    pub async fn audit(&mut self, before: i64, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        answered(async {
            let rows = self.begin_looking().await?.query(&AUDIT, &[&before, &limit]).await?;
            rows.iter().map(audit_entry).collect()
        })
        .await
    }

    /// The payload at a position; `None` when there is no such event.
    ///
    /// # Errors
    /// Any.
    pub async fn peek(&mut self, seq: i64) -> Result<Option<Peeked>, StoreError> {
        answered(async {
            let rows = self.begin_looking().await?.query(&PEEK, &[&seq, &SHOWN_BYTES_MAX]).await?;
            let peeked = |row: &Row| {
                Ok(Peeked {
                    stored_bytes: row.try_get("stored_bytes")?,
                    payload: row.try_get("payload")?,
                    headers: row.try_get("headers")?,
                })
            };
            rows.first().map(peeked).transpose()
        })
        .await
    }
}

async fn recent(
    work: &Work<'_>,
    search: &Search,
    from: Option<&Cursor>,
    limit: i64,
) -> Result<Page, StoreError> {
    let before = below(work, before(from)).await?.map_or(0, |highest| highest + 1);
    let lowest = before.saturating_sub(WINDOW);
    let (status, f) = (search.status.map(EventStatus::as_str), &search.filter);
    let rows = work
        .query(
            &RECENT,
            &[
                &before,
                &lowest,
                &limit,
                &status,
                &f.tenant,
                &f.event_type,
                &search.aggregate,
                &f.code,
                &f.since_ms,
            ],
        )
        .await?;
    let events = events(work, &rows).await?;
    let last = events.last().map(|event| event.seq).filter(|_| full(&events, limit));
    let next = match last {
        Some(seq) => Some(seq),
        None => below(work, lowest).await?.map(|seq| seq + 1),
    };
    let window_ended = last.is_none() && next.is_some();
    Ok(Page { events, next: next.map(|before| Cursor::Before { before }), window_ended })
}

async fn failed(
    work: &Work<'_>,
    search: &Search,
    from: Option<&Cursor>,
    limit: i64,
) -> Result<Page, StoreError> {
    let (before, f) = (before(from), &search.filter);
    let discarded = f.discarded.then_some(true);
    let rows = work
        .query(
            &FAILED,
            &[
                &before,
                &limit,
                &f.tenant,
                &f.event_type,
                &search.aggregate,
                &f.code,
                &f.since_ms,
                &discarded,
            ],
        )
        .await?;
    let events = events(work, &rows).await?;
    let last = events.last().map(|event| event.seq).filter(|_| full(&events, limit));
    let next = match last {
        Some(seq) => Some(seq),
        None => {
            let end = work.query(&END_OF_FAILED, &[&before]).await?;
            end.first().map(|row| row.try_get(0)).transpose()?
        }
    };
    let window_ended = last.is_none() && next.is_some();
    Ok(Page { events, next: next.map(|before| Cursor::Before { before }), window_ended })
}

async fn pending(
    work: &Work<'_>,
    search: &Search,
    from: Option<&Cursor>,
    limit: i64,
) -> Result<Page, StoreError> {
    let (tenant, after) = match from {
        Some(Cursor::After { tenant, after }) => (tenant.as_str(), *after),
        Some(Cursor::Before { .. }) | None => ("", i64::MIN),
    };
    let f = &search.filter;
    let rows = work
        .query(
            &PENDING,
            &[&tenant, &after, &limit, &f.tenant, &f.event_type, &search.aggregate, &f.since_ms],
        )
        .await?;
    let events = events(work, &rows).await?;
    let last = events.last().filter(|_| full(&events, limit));
    if let Some(last) = last {
        let next = Cursor::After { tenant: last.tenant_id.clone(), after: last.seq };
        return Ok(Page { events, next: Some(next), window_ended: false });
    }
    let end = work.query(&END_OF_PENDING, &[&tenant, &after, &f.tenant]).await?;
    let cursor = |row: &Row| {
        Ok::<_, StoreError>(Cursor::After { tenant: row.try_get(0)?, after: row.try_get(1)? })
    };
    let next = end.first().map(cursor).transpose()?;
    Ok(Page { events, window_ended: next.is_some(), next })
}

fn before(from: Option<&Cursor>) -> i64 {
    match from {
        Some(Cursor::Before { before }) => *before,
        Some(Cursor::After { .. }) | None => i64::MAX,
    }
}

fn full(events: &[StoredEvent], limit: i64) -> bool {
    i64::try_from(events.len()).is_ok_and(|found| found >= limit)
}

async fn below(work: &Work<'_>, position: i64) -> Result<Option<i64>, StoreError> {
    let rows = work.query(&BELOW, &[&position]).await?;
    rows.first().map_or(Ok(None), |row| Ok(row.try_get(0)?))
}

async fn events(work: &Work<'_>, rows: &[Row]) -> Result<Vec<StoredEvent>, StoreError> {
    let seqs: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    read(work, &seqs, false).await
}

fn audit_entry(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        actor: row.try_get("actor")?,
        db_role: row.try_get("db_role")?,
        action: row.try_get("action")?,
        operation: row.try_get("operation")?,
        tenant_id: row.try_get("tenant_id")?,
        seqs: row.try_get("seqs")?,
        count: row.try_get("count")?,
        filter: row.try_get("filter")?,
        reason: row.try_get("reason")?,
    })
}
