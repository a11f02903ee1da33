//! What is done: requeue, discard, release, pause, resume. Each writes the audit's row in its own transaction, as the commands do.
//!
//! A request decides about 500 events at most and for 10 s; the page asks again for the rest, so no request outlives its connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Dashboard;
use super::answer::{Refused, answer};
use super::guard::User;
use super::operators::Asker;
use crate::domain::event::{Seq, TenantId};
use crate::store::decide::{Account, Decision};
use crate::store::operator::COUNT_MAX;
use crate::store::pause::Scope;
use crate::store::stored_event::EventFilter;

/// Events of one request: as many as a command decides about in a second.
const EVENTS_MAX: usize = 500;

/// How long one request goes on.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Events in the sample of a dry run.
const SAMPLE: i64 = 10;

/// The longest reason, in characters, as for the commands.
const REASON_CHARS_MAX: usize = 500;

/// The longest pause: whoever means longer leaves it out.
const PAUSE_SECONDS_MAX: u64 = 365 * 86_400;

/// Tenants that are named as still blocked.
const NAMED_MAX: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Order {
    /// Positions of single events; otherwise a filter.
    #[serde(default)]
    seqs: Vec<i64>,
    filter: Option<Filter>,
    #[serde(default)]
    dry_run: bool,
    /// Single events that were discarded, too: takes that decision back.
    #[serde(default)]
    discarded: bool,
    reason: Option<String>,
    /// For the rest of an order: what the first answer said.
    operation: Option<String>,
    last: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    tenant: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    code: Option<String>,
}

impl From<Filter> for EventFilter {
    fn from(Filter { tenant, event_type, code }: Filter) -> Self {
        Self { tenant, event_type, code, since_ms: None, discarded: false }
    }
}

pub(super) async fn requeue(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let ordered = ordered::<Order>(&dashboard, body);
    let discarded = ordered.as_ref().is_ok_and(|order| order.discarded && !order.seqs.is_empty());
    let decision = Decision::Requeue { discarded };
    answer(Box::pin(carry_out(&dashboard, &user, decision, ordered)).await)
}

pub(super) async fn discard(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let ordered = ordered::<Order>(&dashboard, body).and_then(|order| {
        let said = order.dry_run || order.reason.as_ref().is_some_and(|r| !r.trim().is_empty());
        said.then_some(order)
            .ok_or_else(|| Refused::Unclear("say why they are discarded".to_owned()))
    });
    answer(Box::pin(carry_out(&dashboard, &user, Decision::Discard, ordered)).await)
}

/// What was ordered, if anything may be.
fn ordered<T: DeserializeOwned>(
    dashboard: &Dashboard,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, Refused> {
    if !dashboard.actions {
        return Err(Refused::ReadOnly);
    }
    let body = body.map_err(|rejection| Refused::Unclear(rejection.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|error| Refused::Unclear(format!("the body is not what is wanted: {error}")))
}

async fn carry_out(
    dashboard: &Dashboard,
    user: &User,
    decision: Decision,
    order: Result<Order, Refused>,
) -> Result<Value, Refused> {
    let order = order?;
    if order.seqs.len() > EVENTS_MAX {
        return Err(Refused::Unclear(format!("{} events are too many at once", order.seqs.len())));
    }
    let mut account = account(user, order.reason.as_deref())?;
    if let Some(operation) = &order.operation {
        let known = uuid::Uuid::parse_str(operation);
        account.operation =
            known.map_err(|_| Refused::Unclear("no such operation".into()))?.to_string();
    }
    dashboard
        .operators
        .ask(async |asker| match order.filter {
            Some(filter) if order.seqs.is_empty() => {
                let filter = EventFilter::from(filter);
                let texts = [&filter.tenant, &filter.event_type, &filter.code];
                check(texts.into_iter().flatten().map(String::as_str))?;
                if order.dry_run {
                    return count(asker, &filter).await;
                }
                account.filter = serde_json::to_string(&filter).ok();
                by_filter(asker, decision, &filter, order.last, &account).await
            }
            None if !order.seqs.is_empty() => {
                let seqs: Vec<Seq> = order.seqs.iter().copied().map(Seq).collect();
                let events = asker.operator.events(&seqs, false).await?;
                let failed = events.into_iter().filter(|event| event.status == "failed");
                let failed: Vec<_> =
                    failed.map(|e| (Seq(e.seq), TenantId::new(e.tenant_id))).collect();
                let tally = decide(asker, decision, failed, &account).await?;
                Ok(tally.json(&account, None))
            }
            Some(_) | None => Err(Refused::Unclear("name either events or a filter".to_owned())),
        })
        .await
}

async fn count(asker: &mut Asker, filter: &EventFilter) -> Result<Value, Refused> {
    let count = asker.operator.count_failed(filter).await?;
    let last = count.last.unwrap_or(Seq(0));
    let first = asker.operator.next_failed(filter, Seq(i64::MIN), last, SAMPLE).await?;
    let seqs: Vec<Seq> = first.into_iter().map(|(seq, _)| seq).collect();
    let sample = asker.operator.events(&seqs, false).await?;
    Ok(json!({
        "events": count.events.min(COUNT_MAX), "more": count.events > COUNT_MAX,
        "tenants": count.tenants, "sample": sample,
    }))
}

/// The next events of a filter. What was decided about no longer matches, so each request begins at the front; `last` keeps
/// what fails meanwhile out.
async fn by_filter(
    asker: &mut Asker,
    decision: Decision,
    filter: &EventFilter,
    last: Option<i64>,
    account: &Account,
) -> Result<Value, Refused> {
    let last = match last {
        Some(last) => Seq(last),
        None => asker.operator.count_failed(filter).await?.last.unwrap_or(Seq(0)),
    };
    let most = i64::try_from(EVENTS_MAX).unwrap_or(i64::MAX);
    let events = asker.operator.next_failed(filter, Seq(i64::MIN), last, most).await?;
    let full = events.len() >= EVENTS_MAX;
    let tally = decide(asker, decision, events, account).await?;
    // Nothing changed is no progress: somebody else is at it.
    let more = (full || tally.cut) && tally.changed > 0;
    Ok(tally.json(account, more.then_some(last)))
}

#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    changed: usize,
    released: usize,
    still_blocked: Vec<String>,
    /// Time was up.
    cut: bool,
}

impl Tally {
    fn json(&self, account: &Account, next: Option<Seq>) -> Value {
        json!({
            "asked": self.asked, "changed": self.changed, "released": self.released,
            "stillBlocked": self.still_blocked, "operation": account.operation,
            "next": next.map(|last| json!({ "last": last.0, "operation": account.operation })),
        })
    }
}

/// Tenant by tenant, and within a tenant in order.
async fn decide(
    asker: &mut Asker,
    decision: Decision,
    events: Vec<(Seq, TenantId)>,
    account: &Account,
) -> Result<Tally, Refused> {
    let mut tenants: BTreeMap<TenantId, Vec<Seq>> = BTreeMap::new();
    for (seq, tenant) in events {
        tenants.entry(tenant).or_default().push(seq);
    }
    let (begun, mut tally) = (Instant::now(), Tally::default());
    for (tenant, mut seqs) in tenants {
        if begun.elapsed() > TIME_MAX {
            tally.cut = true;
            break;
        }
        seqs.sort_unstable();
        let decided = asker.operator.decide(decision, &tenant, &seqs, account).await?;
        tally.asked += seqs.len();
        tally.changed += decided.changed.len();
        tally.released += usize::from(decided.released);
        if decided.still_blocked && tally.still_blocked.len() < NAMED_MAX {
            tally.still_blocked.push(tenant.as_str().to_owned());
        }
    }
    Ok(tally)
}

fn account(user: &User, reason: Option<&str>) -> Result<Account, Refused> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason
        .is_some_and(|r| r.chars().count() > REASON_CHARS_MAX || r.chars().any(char::is_control))
    {
        let cause = format!("a reason is one line of at most {REASON_CHARS_MAX} characters");
        return Err(Refused::Unclear(cause));
    }
    Ok(Account {
        actor: user.actor(),
        operation: uuid::Uuid::now_v7().to_string(),
        filter: None,
        reason: reason.map(str::to_owned),
    })
}

/// PostgreSQL's text holds no NUL.
fn check<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<(), Refused> {
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(Refused::Unclear("a text holds a NUL character".to_owned()));
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    tenant: String,
    reason: Option<String>,
}

pub(super) async fn release(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Release { tenant, reason } = match ordered(&dashboard, body) {
        Ok(order) => order,
        Err(refused) => return refused.into_response(),
    };
    let ask = dashboard.operators.ask(async |asker| {
        check([tenant.as_str()])?;
        let account = account(&user, reason.as_deref())?;
        let changed = asker.operator.release_hold(&tenant, &account).await?;
        Ok(json!({ "changed": changed }))
    });
    answer(Box::pin(ask).await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    scope: String,
    #[serde(default)]
    target: String,
    /// After how many seconds it ends by itself.
    seconds: Option<u64>,
    reason: Option<String>,
}

impl Pause {
    fn scope(&self) -> Result<Scope, Refused> {
        check([self.target.as_str()])?;
        match (self.scope.as_str(), self.target.is_empty()) {
            ("all", true) => Ok(Scope::All),
            ("tenant", false) => Ok(Scope::Tenant(self.target.clone())),
            ("type", false) => Ok(Scope::Type(self.target.clone())),
            _ => Err(Refused::Unclear("a pause is of all, of a tenant or of a type".to_owned())),
        }
    }

    fn time(&self) -> Result<Option<Duration>, Refused> {
        if self.seconds.is_some_and(|s| s == 0 || s > PAUSE_SECONDS_MAX) {
            return Err(Refused::Unclear("a pause takes from a second to a year".to_owned()));
        }
        Ok(self.seconds.map(Duration::from_secs))
    }
}

pub(super) async fn pause(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let order: Pause = match ordered(&dashboard, body) {
        Ok(order) => order,
        Err(refused) => return refused.into_response(),
    };
    let ask = dashboard.operators.ask(async |asker| {
        let (scope, time) = (order.scope()?, order.time()?);
        let account = account(&user, order.reason.as_deref())?;
        asker.operator.pause(&scope, time, &account).await?;
        Ok(json!({ "changed": true }))
    });
    answer(Box::pin(ask).await)
}

pub(super) async fn resume(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(user): Extension<User>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let order: Pause = match ordered(&dashboard, body) {
        Ok(order) => order,
        Err(refused) => return refused.into_response(),
    };
    let ask = dashboard.operators.ask(async |asker| {
        let scope = order.scope()?;
        let account = account(&user, order.reason.as_deref())?;
        let changed = asker.operator.resume(&scope, &account).await?;
        Ok(json!({ "changed": changed }))
    });
    answer(Box::pin(ask).await)
}
