//! `POST /messages`: several channels in one request, in both shapes of its reply.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::Refused;
use super::faults::{Effect, Target};
use super::group::Group;
use super::publish::{answer, before_accepting, read_body, refuse, suffer};
use super::shared::{Caller, Shared, random_name};
use super::stats::Stats;

/// Different channels in one request.
const BATCH_CHANNELS_MAX: usize = 100;

#[derive(Deserialize)]
pub(super) struct Spec {
    channels: ChannelList,
    messages: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChannelList {
    One(String),
    Several(Vec<String>),
}

impl ChannelList {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(channel) => std::slice::from_ref(channel),
            Self::Several(channels) => channels,
        }
    }
}

/// Publishes every spec to each of its channels; each succeeds or fails by itself.
pub(super) async fn publish_batch(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    Stats::count(&shared.stats.batch);
    let specs = match read_body(&shared, body).and_then(|body| read_specs(&body)) {
        Ok(specs) => specs,
        Err(refused) => return refuse(&shared, refused),
    };
    let strike = {
        let channels: Vec<&str> = channel_names(&specs).collect();
        shared.faults.strike(Target::Batch(&channels), fastrand::f64)
    };
    let after = match before_accepting(&shared, &caller.connection, strike).await {
        Ok(after) => after,
        Err(response) => return response,
    };
    let results: Vec<Vec<_>> = specs.iter().map(|spec| publish_spec(&shared, spec)).collect();
    match after {
        Some(effect) => suffer(&shared, &caller.connection, effect).await,
        None if caller.version >= 3 => by_spec(&results),
        None => flat(&results),
    }
}

fn channel_names(specs: &[Spec]) -> impl Iterator<Item = &str> {
    specs.iter().flat_map(|spec| spec.channels.as_slice()).map(String::as_str)
}

pub(super) fn read_specs(body: &str) -> Result<Vec<Spec>, Refused> {
    let invalid = |e| Refused::bad(40_001, format!("Invalid batch: {e}"));
    let specs: Vec<Spec> = if body.trim_start().starts_with('[') {
        serde_json::from_str(body).map_err(invalid)?
    } else {
        vec![serde_json::from_str(body).map_err(invalid)?]
    };
    if specs.iter().any(|spec| spec.channels.as_slice().is_empty()) || specs.is_empty() {
        return Err(Refused::bad(40_000, "Invalid batch: every spec needs at least one channel"));
    }
    let different = channel_names(&specs).collect::<BTreeSet<_>>().len();
    if different > BATCH_CHANNELS_MAX {
        return Err(Refused::bad(
            40_000,
            format!("Too many channels: {different} (the limit is {BATCH_CHANNELS_MAX})"),
        ));
    }
    Ok(specs)
}

/// A channel's part of a reply.
fn publish_spec(shared: &Shared, spec: &Spec) -> Vec<Result<Value, Value>> {
    let group = Group::parse(spec.messages.get(), shared.message_bytes_max, random_name);
    let publish = |channel: &String| {
        publish_to(shared, channel, &group).map_err(|refused| {
            shared.stats.refused(refused.code);
            json!({ "channel": channel, "error": refused.to_json() })
        })
    };
    spec.channels.as_slice().iter().map(publish).collect()
}

fn publish_to(
    shared: &Shared,
    channel: &str,
    group: &Result<Group, Refused>,
) -> Result<Value, Refused> {
    let struck = match shared.faults.strike(Target::Spec(channel), fastrand::f64).effect {
        Some(Effect::Answer { refused, after: false }) => return Err(refused),
        Some(Effect::Answer { refused, after: true }) => Some(refused),
        // All others strike the request.
        Some(Effect::EdgePage | Effect::Reset { .. } | Effect::Silence { .. }) | None => None,
    };
    let group = group.as_ref().map_err(Clone::clone)?;
    let mut channels = shared.hub.lock();
    let published = channels.publish(channel, group, None, shared.clock.now_ms())?;
    match struck {
        Some(refused) => Err(refused),
        None => Ok(answer(channel, &channels.series, group, &published)),
    }
}

/// Since version 3: one result a spec, and 2xx whatever failed.
fn by_spec(results: &[Vec<Result<Value, Value>>]) -> Response {
    let result = |results: &Vec<Result<Value, Value>>| {
        let failed = results.iter().filter(|r| r.is_err()).count();
        json!({
            "successCount": results.len() - failed,
            "failureCount": failed,
            "results": results.iter().map(either).collect::<Vec<_>>(),
        })
    };
    let body: Vec<Value> = results.iter().map(result).collect();
    (StatusCode::CREATED, Json(body)).into_response()
}

/// Before version 3: one flat list, and 400 with it when anything failed.
fn flat(results: &[Vec<Result<Value, Value>>]) -> Response {
    let all: Vec<&Value> = results.iter().flatten().map(either).collect();
    if results.iter().flatten().all(Result::is_ok) {
        return (StatusCode::CREATED, Json(all)).into_response();
    }
    let refused = Refused::bad(40_020, "Batched response includes errors");
    refused.respond(json!({ "error": refused.to_json(), "batchResponse": all }))
}

fn either(result: &Result<Value, Value>) -> &Value {
    match result {
        Ok(value) | Err(value) => value,
    }
}
