//! The doctor: on demand, one at a time, and not more often than anybody reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Dashboard;
use super::answer::refuse;
use crate::doctor::{self, Subject};

/// How long it may take, below what a connection lives.
const TIME_MAX: Duration = Duration::from_secs(25);

pub(super) struct Examining {
    subject: Box<dyn Fn() -> Subject + Send + Sync>,
    turn: Semaphore,
    last: Mutex<Option<Value>>,
}

impl std::fmt::Debug for Examining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examining").finish_non_exhaustive()
    }
}

impl Examining {
    pub(super) fn new(subject: Box<dyn Fn() -> Subject + Send + Sync>) -> Self {
        Self { subject, turn: Semaphore::new(1), last: Mutex::default() }
    }
}

/// What was found last, null before the first time.
pub(super) async fn last(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let last = dashboard.examining.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(json!({ "report": last })).into_response()
}

pub(super) async fn run(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let examining = &dashboard.examining;
    let Ok(_turn) = examining.turn.try_acquire() else {
        let cause = "the doctor is at work already";
        return refuse(StatusCode::TOO_MANY_REQUESTS, cause, "wait for what it finds");
    };
    let subject = (examining.subject)();
    let Ok(report) = timeout(TIME_MAX, Box::pin(doctor::examine(&subject))).await else {
        let cause = "the doctor did not come to an end within 25 s";
        let remedy = "run `outbox-relay doctor`, which has more time";
        return refuse(StatusCode::GATEWAY_TIMEOUT, cause, remedy);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut report = report.json();
    if let Value::Object(fields) = &mut report {
        fields.insert("at".to_owned(), json!(now));
    }
    let report = json!(report);
    *examining.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
    Json(json!({ "report": report })).into_response()
}
