//! `POST /channels/{channel}/messages`, and how faults strike a publish.

use std::future::pending;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::connection::Connection;
use super::error::Refused;
use super::faults::{Effect, Strike, Target};
use super::frame::message_serial;
use super::group::Group;
use super::hub::Published;
use super::shared::{Caller, Shared, random_name};
use super::stats::Stats;

/// Publishes one group to one channel.
pub(super) async fn publish(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    channel: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    Stats::count(&shared.stats.publish);
    let channel = match read_channel(channel) {
        Ok(channel) => channel,
        Err(refused) => return refuse(&shared, refused),
    };
    let strike = shared.faults.strike(Target::Publish(&channel), fastrand::f64);
    let after = match before_accepting(&shared, &caller.connection, strike).await {
        Ok(after) => after,
        Err(response) => return response,
    };
    let result = read_body(&shared, body).and_then(|body| accept_one(&shared, &channel, &body));
    match (result, after) {
        (Err(refused), _) => refuse(&shared, refused),
        (Ok(_), Some(effect)) => suffer(&shared, &caller.connection, effect).await,
        (Ok(answer), None) => (StatusCode::CREATED, Json(answer)).into_response(),
    }
}

/// The channel of the path, percent-decoded.
pub(super) fn read_channel(path: Result<Path<String>, PathRejection>) -> Result<String, Refused> {
    path.map(|Path(channel)| channel)
        .map_err(|_| Refused::bad(40_010, "Invalid channel name: not UTF-8"))
}

/// The body as text.
///
/// # Errors
/// 413/40009 over the limit, 40001 for anything that is no UTF-8.
pub(super) fn read_body(
    shared: &Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, Refused> {
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = shared.body_bytes_max;
            Refused::new(413, 40_009, format!("The request body is over {limit} bytes"))
        } else {
            Refused::bad(40_001, "The request body could not be read")
        }
    })?;
    String::from_utf8(body.into()).map_err(|_| Refused::bad(40_001, "The body is not UTF-8"))
}

fn accept_one(shared: &Shared, channel: &str, body: &str) -> Result<Value, Refused> {
    let group = Group::parse(body, shared.message_bytes_max, random_name)?;
    let mut channels = shared.hub.lock();
    let published = channels.publish(channel, &group, None, shared.clock.now_ms())?;
    Ok(answer(channel, &channels.series, &group, &published))
}

/// `{"channel","messageId","serials"}`; a repetition is answered with the serials of the first.
pub(super) fn answer(channel: &str, series: &str, group: &Group, published: &Published) -> Value {
    json!({
        "channel": channel,
        "messageId": group.messages.first().map(|m| &m.id),
        "serials": serials(series, published),
    })
}

/// One serial a message.
pub(super) fn serials(series: &str, published: &Published) -> Vec<String> {
    let first = published.first;
    (0..first.count).map(|index| message_serial(first.serial, series, index)).collect()
}

/// Counts and answers a refusal.
pub(super) fn refuse(shared: &Shared, refused: Refused) -> Response {
    shared.stats.refused(refused.code);
    refused.into_response()
}

/// Waits and fails as the faults say; gives back what is to happen after accepting.
pub(super) async fn before_accepting(
    shared: &Shared,
    connection: &Connection,
    strike: Strike,
) -> Result<Option<Effect>, Response> {
    if !strike.delay.is_zero() {
        tokio::time::sleep(strike.delay).await;
    }
    match strike.effect {
        Some(effect) if !effect.is_after() => Err(suffer(shared, connection, effect).await),
        after => Ok(after),
    }
}

/// Answers as the fault says, or does not return because the connection ends.
pub(super) async fn suffer(shared: &Shared, connection: &Connection, effect: Effect) -> Response {
    match effect {
        Effect::Answer { refused, .. } => return refuse(shared, refused),
        Effect::EdgePage => return edge_page(shared),
        Effect::Reset { .. } => {}
        Effect::Silence { length, .. } => tokio::time::sleep(length).await,
    }
    connection.reset.cancel();
    // The connection's task drops this future together with the socket.
    pending().await
}

/// What Ably's edge answers in a flood: HTML, and the code in a header alone.
fn edge_page(shared: &Shared) -> Response {
    shared.stats.refused(42_922);
    let page = "<html><body><h1>429 Too Many Requests</h1></body></html>";
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/html"),
        ("server", "CloudFront"),
        ("x-ably-errorcode", "42922"),
        ("x-ably-errormessage", "Too many requests"),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, page).into_response()
}
