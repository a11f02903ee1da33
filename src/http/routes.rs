//! Which path does what.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::SecretString;

use super::access;
use super::dashboard::{self, Dashboard};
use super::payload::payload;
use super::publish::publish;
use crate::relay::health::{Check, Grade};
use crate::relay::monitor::Monitor;
use crate::relay::payloads::Payloads;

/// Bytes of a body at most; a limit has some twenty.
const BODY_BYTES_MAX: usize = 16 * 1024;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "outbox-relay

GET  /livez           does the process do anything at all? never depends on PostgreSQL or Ably
GET  /readyz          is it doing its work? ?verbose says why
GET  /metrics         OpenMetrics, for Prometheus
GET  /dashboard/      the same and more, for people
POST /outbox/publish  publish at most {\"limit\": 100} events now; with OUTBOX_PUBLISH_TOKEN
GET  /events/{id}/payload  what was too large for a message; by the link in the message
";

/// What the handlers share.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) monitor: Monitor,
    /// Opens what is for operators; `None` on a loopback address only.
    pub(super) token: Option<SecretString>,
    /// Opens `/outbox/publish`.
    pub(super) publish_token: Option<SecretString>,
    /// What links to payloads open.
    pub(super) payloads: Option<Payloads>,
    /// The page for people.
    pub(super) dashboard: Option<Arc<Dashboard>>,
}

/// Everything that is answered.
pub(super) fn router(served: Arc<Served>) -> Router {
    let dashboard = served.dashboard.as_ref().map(dashboard::router);
    let others = Router::new()
        .route("/", get(INDEX))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/outbox/publish", get(publish).post(publish))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&served), only_by_address))
        // Behind it: a link is followed by whatever name it was made with.
        .route("/events/{id}/payload", get(payload))
        .with_state(served);
    // It has a guard of its own.
    dashboard
        .into_iter()
        .fold(others, Router::merge)
        .layer(from_fn(careful_headers))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn nothing_here() -> Response {
    (StatusCode::NOT_FOUND, "nothing here; see /\n").into_response()
}

async fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "not with this method; see /\n").into_response()
}

/// Without a token only a browser's own user may ask through it, and no page of another site.
async fn only_by_address(
    State(served): State<Arc<Served>>,
    request: Request,
    next: Next,
) -> Response {
    if served.token.is_none() && !access::by_address(request.headers()) {
        let reason = "ask by address or as localhost, or set OUTBOX_RELAY_HTTP_TOKEN\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    next.run(request).await
}

async fn careful_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn metrics(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    if let Some(refused) = refused(&served, &headers) {
        return refused;
    }
    ([(header::CONTENT_TYPE, OPENMETRICS)], served.monitor.metrics().await).into_response()
}

async fn livez(
    State(served): State<Arc<Served>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    health(&served, &headers, query.as_deref(), &[served.monitor.liveness()])
}

async fn readyz(
    State(served): State<Arc<Served>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    health(&served, &headers, query.as_deref(), &served.monitor.readiness())
}

/// A word for machines, which everybody may have; why, for those who may ask.
fn health(served: &Served, headers: &HeaderMap, query: Option<&str>, checks: &[Check]) -> Response {
    let grade = checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Failing);
    let status =
        if grade == Grade::Failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut text = format!("{}\n", grade.as_str());
    let verbose = query.is_some_and(|query| {
        query.split('&').any(|pair| pair.split('=').next() == Some("verbose"))
    });
    if verbose {
        if let Some(refused) = refused(served, headers) {
            return refused;
        }
        for check in checks {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{}: {}: {}", check.name, check.grade.as_str(), check.says);
        }
    }
    (status, text).into_response()
}

fn refused(served: &Served, headers: &HeaderMap) -> Option<Response> {
    let token = served.token.as_ref()?;
    (!access::carries(headers, token)).then(|| {
        let reason = "send the relay's OUTBOX_RELAY_HTTP_TOKEN as `Authorization: Bearer …`\n";
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], reason).into_response()
    })
}
