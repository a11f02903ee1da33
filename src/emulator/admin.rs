//! `/_emulator/`: faults, counters and everything that was accepted. For programs on this machine.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::connection::Connection;
use super::error::Refused;
use super::faults::Fault;
use super::frame::WireMessage;
use super::shared::Shared;

/// Messages in one reply of `/_emulator/messages`.
const MESSAGES_MAX: usize = 10_000;

#[derive(Serialize)]
struct AcceptedMessages<'a> {
    forgotten: u64,
    messages: Vec<AcceptedMessage<'a>>,
}

#[derive(Serialize)]
struct AcceptedMessage<'a> {
    /// 1 for the first message since the start, over all channels.
    order: u64,
    channel: &'a str,
    message: WireMessage<'a>,
}

/// Lets only this machine through: the endpoint asks for no key.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>();
    // A page in a browser on this machine is not this machine's user.
    let foreign_page = request.headers().contains_key("origin");
    if foreign_page || !connection.is_some_and(|c| c.peer.ip().to_canonical().is_loopback()) {
        let refused = Refused::new(403, 40_300, "/_emulator/ is for programs on the same machine");
        return refused.into_response();
    }
    next.run(request).await
}

/// Installs one fault or several, behind those that are there.
pub(super) async fn install_faults(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response, Refused> {
    let faults = read_faults(&body)?;
    let ids: Result<Vec<u64>, Refused> =
        faults.into_iter().map(|fault| shared.faults.install(fault)).collect();
    Ok((StatusCode::CREATED, Json(json!({ "ids": ids? }))).into_response())
}

/// One fault or several.
pub(super) fn read_faults(body: &[u8]) -> Result<Vec<Fault>, Refused> {
    let is_array = body.trim_ascii_start().starts_with(b"[");
    let faults: Result<Vec<Fault>, _> = if is_array {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|fault| vec![fault])
    };
    faults.map_err(|e| Refused::bad(40_001, format!("Invalid fault: {e}")))
}

/// What is installed.
pub(super) async fn list_faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "faults": shared.faults.list() }))
}

/// Removes all faults and tells what they did.
pub(super) async fn clear_faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "cleared": shared.faults.clear() }))
}

/// Cuts every subscriber off, as a network would: RST, no word.
pub(super) async fn disconnect(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let subscribers = shared.disconnects.receiver_count();
    shared.disconnects.send_modify(|count| *count += 1);
    Json(json!({ "disconnected": subscribers }))
}

/// Counters since the start.
pub(super) async fn stats(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let subscribers = shared.disconnects.receiver_count();
    let hub = shared.hub.lock();
    Json(json!({
        "requests": shared.stats.to_json(),
        "accepted_messages": hub.accepted,
        "duplicates_suppressed": hub.duplicates,
        "slow_subscribers_disconnected": hub.slow_disconnected,
        "channels": hub.len(),
        "subscribers": subscribers,
        "faults": shared.faults.list(),
    }))
}

/// What was accepted, in order: `?channel=`, `?after=<order>`, `?limit=`. `forgotten` counts what is no
/// longer kept, over all channels.
pub(super) async fn messages(
    State(shared): State<Arc<Shared>>,
    Query(params): Query<HashMap<String, String>>,
) -> Result<Response, Refused> {
    let number = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| Refused::bad(40_003, format!("Invalid {name}: not a number"))),
    };
    let after = number("after")?.unwrap_or(0);
    let limit = number("limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(MESSAGES_MAX);
    let channel = params.get("channel");
    let (forgotten, frames) = {
        let hub = shared.hub.lock();
        let forgotten = hub.ring.front().map_or(hub.accepted, |f| f.accepted_before);
        let wanted = hub.ring.iter().filter(|f| channel.is_none_or(|c| **c == *f.channel));
        let newer = wanted.filter(|f| f.accepted_before + f.messages.len() as u64 > after);
        (forgotten, newer.take(limit.min(MESSAGES_MAX)).cloned().collect::<Vec<_>>())
    };
    let numbered = frames.iter().flat_map(|frame| {
        let order = move |index: usize| frame.accepted_before + index as u64 + 1;
        (0..frame.messages.len()).filter_map(move |index| {
            let message = frame.message(index, false)?;
            Some(AcceptedMessage { order: order(index), channel: &frame.channel, message })
        })
    });
    let messages: Vec<_> =
        numbered.filter(|m| m.order > after).take(limit.min(MESSAGES_MAX)).collect();
    Ok(Json(AcceptedMessages { forgotten, messages }).into_response())
}
