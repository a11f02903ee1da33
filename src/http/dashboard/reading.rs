//! What is asked: events, dead letters, who waits, what was decided.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Dashboard;
use super::answer::{Refused, answer};
use super::guard::User;
use super::operators::Asker;
use crate::domain::event::Seq;
use crate::relay::recent::Timeline;
use crate::store::search::{Cursor, SHOWN_BYTES_MAX, Search};
use crate::store::stats::StatsLimits;
use crate::store::stored_event::{EventFilter, EventStatus};

/// Events of a page.
const PAGE: i64 = 50;

/// Decisions of a page.
const AUDIT_PAGE: i64 = 100;

/// Decisions that are shown about one event.
const EVENT_AUDIT_MAX: i64 = 20;

/// Holds and pauses that are shown at once.
const HOLDS_PAGE: i64 = 100;

/// How far backlogs of tenants on hold are counted.
const BACKLOG_MAX: i64 = 1_000;

/// How much the numbers of the first page read.
const STATS: StatsLimits = StatsLimits { counted: 10_000, listed: 8 };

/// What a page needs to know before it asks anything.
pub(super) async fn session(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(User(user)): Extension<User>,
) -> Response {
    let store = dashboard.operators.store();
    answer(Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "database": store.describe(),
        "schema": store.schema().to_string(),
        "actions": dashboard.actions,
        "user": user,
        "csrf": dashboard.csrf,
    })))
}

/// Tenants and types that wait, the table, who is connected.
pub(super) async fn stats(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let ask = dashboard.operators.ask(async |asker| Ok(asker.operator.stats(STATS).await?));
    answer(Box::pin(ask).await)
}

/// A search as it is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    status: Option<String>,
    tenant: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    aggregate: Option<String>,
    code: Option<String>,
    /// An id, or a position.
    id: Option<String>,
    /// Written in the last so many seconds.
    ago: Option<u32>,
    /// Written since then, in ms since 1970.
    at: Option<i64>,
    before: Option<i64>,
    after: Option<i64>,
    after_tenant: Option<String>,
}

impl Asked {
    fn search(&self, now_ms: i64) -> Result<Search, Refused> {
        let (status, discarded) = match self.status.as_deref() {
            None | Some("" | "any") => (None, false),
            Some("pending") => (Some(EventStatus::Pending), false),
            Some("published") => (Some(EventStatus::Published), false),
            Some("failed") => (Some(EventStatus::Failed), false),
            Some("discarded") => (Some(EventStatus::Failed), true),
            Some(_) => {
                let cause = "status is pending, published, failed or discarded";
                return Err(Refused::Unclear(cause.to_owned()));
            }
        };
        let ago = self.ago.map(|seconds| now_ms.saturating_sub(i64::from(seconds) * 1_000).max(0));
        let filter = EventFilter {
            tenant: self.tenant.clone(),
            event_type: self.event_type.clone(),
            code: self.code.clone(),
            since_ms: ago.or(self.at),
            discarded,
        };
        Ok(Search { status, filter, aggregate: self.aggregate.clone() })
    }

    fn cursor(&self) -> Option<Cursor> {
        let before = self.before.map(|before| Cursor::Before { before });
        let tenant = self.after_tenant.clone().unwrap_or_default();
        self.after.map(|after| Cursor::After { tenant, after }).or(before)
    }

    /// PostgreSQL's text holds no NUL.
    fn check(&self) -> Result<(), Refused> {
        let texts = [
            &self.tenant,
            &self.event_type,
            &self.aggregate,
            &self.code,
            &self.id,
            &self.after_tenant,
        ];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(Refused::Unclear("a text holds a NUL character".to_owned()));
        }
        Ok(())
    }
}

pub(super) async fn search(
    State(dashboard): State<Arc<Dashboard>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return answer::<()>(Err(Refused::Unclear(rejection.body_text()))),
    };
    let ask = dashboard.operators.ask(async |asker| {
        asked.check()?;
        if let Some(id) = &asked.id {
            return by_id(asker, id).await;
        }
        let search = asked.search(asker.now_ms())?;
        let page = asker.operator.search(&search, asked.cursor().as_ref(), PAGE).await?;
        Ok(json!(page))
    });
    answer(Box::pin(ask).await)
}

async fn by_id(asker: &mut Asker, id: &str) -> Result<Value, Refused> {
    let position: Vec<i64> = id.trim().parse().into_iter().collect();
    let found = asker.operator.find(&[id.trim()], &position).await?;
    let mut seqs: Vec<Seq> = found.iter().map(|found| found.seq).collect();
    seqs.dedup();
    let events = asker.operator.events(&seqs, false).await?;
    Ok(json!({ "events": events, "next": null, "window_ended": false }))
}

/// One event: its error with the remedy, its tenant's hold, its way, and what was decided about it.
pub(super) async fn event(
    State(dashboard): State<Arc<Dashboard>>,
    Path(seq): Path<String>,
) -> Response {
    let ask = dashboard.operators.ask(async |asker| {
        let seq = position(&seq)?;
        let operator = &mut asker.operator;
        let event = operator.events(&[Seq(seq)], false).await?.into_iter().next();
        let event = event.ok_or(Refused::Missing("there is no event at this position"))?;
        let hold = operator.holds("", Some(&event.tenant_id), 1, BACKLOG_MAX).await?;
        let audit = operator.audit_of(Seq(seq), EVENT_AUDIT_MAX).await?;
        let timeline = dashboard.monitor.timeline(seq).as_ref().map(timeline);
        Ok(json!({
            "remedy": event.remedy(), "event": event, "hold": hold.into_iter().next(),
            "audit": audit, "timeline": timeline,
        }))
    });
    answer(Box::pin(ask).await)
}

fn position(text: &str) -> Result<i64, Refused> {
    text.parse().map_err(|_| Refused::Unclear("a position is a whole number".to_owned()))
}

fn timeline(way: &Timeline) -> Value {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
    json!({
        "waitedMs": way.waited.map(ms),
        "wokenBy": way.woken_by,
        "wokenBeforeMs": way.woken_before.map(ms),
        "beganBeforeMs": ms(way.began_before),
        "sentAfterMs": way.sent_after.map(ms),
        "acceptedAfterMs": way.accepted_after.map(ms),
        "settledAfterMs": ms(way.settled_after),
        "failed": way.failed,
    })
}

/// Payload and headers, which may be personal data: by a request of its own, which the log notes.
pub(super) async fn payload(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    Path(seq): Path<String>,
) -> Response {
    let ask = dashboard.operators.ask(async |asker| {
        let seq = position(&seq)?;
        let peeked = asker.operator.peek(seq).await?;
        let peeked = peeked.ok_or(Refused::Missing("there is no event at this position"))?;
        let actor = user.actor();
        tracing::info!(seq, actor, "the payload at position {seq} was shown to {actor}");
        // As PostgreSQL prints it: numbers beyond 2^53 survive.
        let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        Ok(Shown {
            stored_bytes: peeked.stored_bytes,
            shown_bytes_max: SHOWN_BYTES_MAX,
            payload: raw(peeked.payload),
            headers: raw(peeked.headers),
        })
    });
    answer(Box::pin(ask).await)
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    stored_bytes: i64,
    shown_bytes_max: i64,
    payload: Option<Box<RawValue>>,
    headers: Option<Box<RawValue>>,
}

pub(super) async fn dead_letters(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let ask = dashboard.operators.ask(async |asker| Ok(asker.operator.failure_groups().await?));
    answer(Box::pin(ask).await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<String>,
}

/// Who waits, and what is paused.
pub(super) async fn holds(
    State(dashboard): State<Arc<Dashboard>>,
    query: Result<Query<After>, QueryRejection>,
) -> Response {
    let after = query.map(|Query(query)| query.after.unwrap_or_default()).unwrap_or_default();
    let ask = dashboard.operators.ask(async |asker| {
        if after.contains('\0') {
            return Err(Refused::Unclear("a text holds a NUL character".to_owned()));
        }
        let pauses = asker.operator.pauses(HOLDS_PAGE).await?;
        let holds = asker.operator.holds(&after, None, HOLDS_PAGE, BACKLOG_MAX).await?;
        let full = i64::try_from(holds.len()).is_ok_and(|found| found >= HOLDS_PAGE);
        let next = holds.last().filter(|_| full).map(|hold| hold.tenant_id.clone());
        Ok(json!({ "pauses": pauses, "holds": holds, "next": next, "countedMax": BACKLOG_MAX }))
    });
    answer(Box::pin(ask).await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    before: Option<i64>,
}

/// What was decided, newest first.
pub(super) async fn audit(
    State(dashboard): State<Arc<Dashboard>>,
    query: Result<Query<Before>, QueryRejection>,
) -> Response {
    let before = query.ok().and_then(|Query(query)| query.before).unwrap_or(i64::MAX);
    let ask = dashboard.operators.ask(async |asker| {
        let entries = asker.operator.audit(before, AUDIT_PAGE).await?;
        let full = i64::try_from(entries.len()).is_ok_and(|found| found >= AUDIT_PAGE);
        let next = entries.last().filter(|_| full).map(|entry| entry.id);
        Ok(json!({ "entries": entries, "next": next }))
    });
    answer(Box::pin(ask).await)
}
