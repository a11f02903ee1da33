//! JSON, and errors as JSON: one line of cause, one of remedy.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::store::error::StoreError;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too many ask at once.
    Busy,
    /// What was asked makes no sense.
    Unclear(String),
    /// There is no such thing.
    Missing(&'static str),
    /// The settings do not allow it.
    ReadOnly,
    /// PostgreSQL.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) fn refuse(status: StatusCode, cause: &str, remedy: &str) -> Response {
    (status, Json(json!({ "error": cause, "remedy": remedy }))).into_response()
}

/// What was found out, or why it was not.
pub(super) fn answer<T: Serialize>(result: Result<T, Refused>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(refused) => refused.into_response(),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Busy => {
                let cause = "the dashboard's connections to the database are all in use";
                let mut response =
                    refuse(StatusCode::SERVICE_UNAVAILABLE, cause, "try again in a moment");
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
                response
            }
            Self::Unclear(cause) => {
                refuse(StatusCode::BAD_REQUEST, &cause, "correct it, or load the page again")
            }
            Self::Missing(cause) => refuse(StatusCode::NOT_FOUND, cause, "it may have been pruned"),
            Self::ReadOnly => refuse(
                StatusCode::FORBIDDEN,
                "this dashboard is read-only",
                "set OUTBOX_RELAY_HTTP_DASHBOARD_ACTIONS=on for the relay, or use its commands",
            ),
            Self::Store(error) if error.is_time_out() => refuse(
                StatusCode::GATEWAY_TIMEOUT,
                "PostgreSQL did not answer this within its 2 s",
                "narrow it down, by tenant or by id, or try when the server is less busy",
            ),
            Self::Store(error) => {
                refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), &error.remedy())
            }
        }
    }
}

pub(super) async fn nothing_here() -> Response {
    refuse(StatusCode::NOT_FOUND, "nothing here", "see /dashboard/")
}

pub(super) async fn wrong_method() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "not with this method", "see /dashboard/")
}
