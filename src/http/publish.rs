//! `POST` or `GET /outbox/publish`: publish at most so many events now.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::access;
use super::routes::Served;
use super::server::Place;
use crate::relay::monitor::NotDrained;

/// Events when nobody says how many.
const LIMIT_DEFAULT: usize = 100;

/// Events at most in one request.
const LIMIT_MAX: usize = 500;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    published: usize,
    failed: usize,
    skipped: usize,
    oldest_pending_seconds: f64,
}

pub(super) async fn publish(
    State(served): State<Arc<Served>>,
    Extension(place): Extension<Place>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(token) = &served.publish_token else {
        return refuse_unauthorized(
            "publishing on request is off: set OUTBOX_PUBLISH_TOKEN for the relay",
        );
    };
    if !access::carries(&headers, token) {
        return refuse_unauthorized(
            "send the relay's OUTBOX_PUBLISH_TOKEN as `Authorization: Bearer …`",
        );
    }
    let limit = match body {
        Ok(body) => limit(&body, query.as_deref()),
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let limit = match limit {
        Ok(limit) => limit,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, &reason),
    };
    place.keep();
    match served.monitor.drain(limit).await {
        Ok(drained) => Json(Outcome {
            published: drained.published,
            failed: drained.failed,
            skipped: drained.skipped,
            // Milliseconds are as fine as anybody reads them.
            oldest_pending_seconds: (drained.oldest_pending_seconds * 1_000.0).round() / 1_000.0,
        })
        .into_response(),
        Err(error) => {
            let status = match error {
                NotDrained::Busy => StatusCode::TOO_MANY_REQUESTS,
                NotDrained::NotRunning | NotDrained::Database => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut response = refuse(status, &error.to_string());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// How many events: of the body, else of the query, else the default. Out of range is the nearest in range.
pub(super) fn limit(body: &[u8], query: Option<&str>) -> Result<usize, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        let text =
            query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("limit=")));
        let Some(text) = text else { return Ok(LIMIT_DEFAULT) };
        let number: Value = serde_json::from_str(text)
            .map_err(|_| "limit must be a whole number, such as ?limit=100".to_owned())?;
        return clamped(&number);
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        format!("the body is not JSON: {error}; send {{\"limit\": 100}} or nothing")
    })?;
    let Value::Object(fields) = body else {
        return Err("the body must be a JSON object, such as {\"limit\": 100}".to_owned());
    };
    fields.get("limit").map_or(Ok(LIMIT_DEFAULT), clamped)
}

fn clamped(value: &Value) -> Result<usize, String> {
    // Beyond 64 bits, and written as 1e2, whole numbers are floats.
    let float = value.as_f64().filter(|float| float.fract() == 0.0);
    let whole = value.as_i64().or_else(|| format!("{:.0}", float?.clamp(1.0, 1e9)).parse().ok());
    let whole = whole.ok_or_else(|| {
        // Not repeated whole: a caller may have sent 64 KiB of it.
        let start: String = value.to_string().chars().take(40).collect();
        format!("limit must be a whole number, not {start}")
    })?;
    Ok(usize::try_from(whole.max(1)).unwrap_or(LIMIT_MAX).min(LIMIT_MAX))
}

fn refuse_unauthorized(reason: &str) -> Response {
    let mut response = refuse(StatusCode::UNAUTHORIZED, reason);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// A refusal as every caller of this path can read it.
pub(super) fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": reason }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_100_and_clamped_to_1_and_500() {
        for (body, query, expected) in [
            ("", None, 100),
            (" \n", None, 100),
            ("{}", None, 100),
            ("{\"limit\": 7, \"other\": 1}", None, 7),
            ("{\"limit\": 0}", None, 1),
            ("{\"limit\": -5}", None, 1),
            ("{\"limit\": 501}", None, 500),
            ("{\"limit\": 18446744073709551615}", None, 500),
            ("{\"limit\": 99999999999999999999999999}", None, 500),
            ("{\"limit\": -1e30}", None, 1),
            ("{\"limit\": 1e2}", None, 100),
            ("{\"limit\": 7.0}", None, 7),
            ("", Some("limit=20"), 20),
            ("", Some("a=b&limit=9000"), 500),
            ("{\"limit\": 3}", Some("limit=20"), 3),
        ] {
            assert_eq!(limit(body.as_bytes(), query), Ok(expected), "{body} {query:?}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_reason() {
        for (body, query, reason) in [
            ("{", None, "not JSON"),
            ("[]", None, "JSON object"),
            ("5", None, "JSON object"),
            ("{\"limit\": \"5\"}", None, "whole number"),
            ("{\"limit\": 5.5}", None, "whole number"),
            ("{\"limit\": null}", None, "whole number"),
            ("", Some("limit=x"), "whole number"),
            ("", Some("limit="), "whole number"),
        ] {
            let found = limit(body.as_bytes(), query).unwrap_err();
            assert!(found.contains(reason), "{body}: {found}");
        }
        assert!(limit(b"\xff", None).is_err());
    }
}
