//! `POST /keys/{key}/requestToken`: what the key may do, as a token's capability. The token itself opens nothing
//! here: the emulator takes its key only.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::Refused;
use super::faults::Target;
use super::publish::{before_accepting, read_body, refuse};
use super::shared::{Caller, Shared, random_name};

/// Grants what is asked, unless a fault strikes the publishes to one of the resources.
pub(super) async fn request_token(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let capability = match read_body(&shared, body).and_then(|body| capability(&body)) {
        Ok(capability) => capability,
        Err(refused) => return refuse(&shared, refused),
    };
    for resource in capability.keys() {
        let strike = shared.faults.strike(Target::Publish(resource), fastrand::f64);
        if let Err(response) = before_accepting(&shared, &caller.connection, strike).await {
            return response;
        }
    }
    let now = shared.clock.now_ms();
    let token = json!({
        "token": random_name(),
        "issued": now,
        "expires": now + 3_600_000,
        "capability": Value::Object(capability).to_string(),
    });
    (StatusCode::CREATED, Json(token)).into_response()
}

/// The capability that is asked for: an object in a string.
fn capability(body: &str) -> Result<Map<String, Value>, Refused> {
    let request: Value = serde_json::from_str(body)
        .map_err(|_| Refused::bad(40_001, "The request for a token is not JSON"))?;
    let text = request.get("capability").and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| Refused::bad(40_003, "The request for a token has no capability"))
}
