//! The relay's state and its last hours as JSON.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Dashboard;
use super::answer::{Refused, answer};
use crate::relay::history::{COARSE_SECONDS, Sample, Span};
use crate::relay::metrics::WAKE_REASONS;
use crate::relay::monitor::Now;
use crate::store::observe::{OBSERVED_MAX, Observation};

pub(super) async fn history(
    State(dashboard): State<Arc<Dashboard>>,
    RawQuery(query): RawQuery,
) -> Response {
    let span = match query.as_deref() {
        None | Some("" | "span=10m") => Ok((Span::Minutes, 1)),
        Some("span=6h") => Ok((Span::Hours, COARSE_SECONDS)),
        Some(_) => Err(Refused::Unclear("span is 10m or 6h".to_owned())),
    };
    answer(span.map(|(span, step)| {
        let samples = dashboard.monitor.samples(span);
        json!({ "step": step, "reasons": WAKE_REASONS, "columns": columns(&samples) })
    }))
}

/// One array a number: names once and not in each of 1,440 samples.
fn columns(samples: &[Sample]) -> Value {
    let mut columns = Map::new();
    for sample in samples {
        let Value::Object(fields) = fields(sample) else { continue };
        for (name, value) in fields {
            let column = columns.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            column.as_array_mut().into_iter().for_each(|column| column.push(value.clone()));
        }
    }
    Value::Object(columns)
}

fn fields(sample: &Sample) -> Value {
    let milliseconds = |seconds: Option<f64>| seconds.map(|s| (s * 100_000.0).round() / 100.0);
    let level = sample.level;
    json!({
        "at": sample.at,
        "published": sample.published,
        "failed": sample.failed,
        "swept": sample.swept,
        "throttledChannel": sample.throttled_channel,
        "throttledAccount": sample.throttled_account,
        "woken": sample.woken,
        "p50": milliseconds(sample.p50),
        "p99": milliseconds(sample.p99),
        "pending": level.map(|level| level.pending),
        "oldest": level.map(|level| (level.oldest_seconds * 1_000.0).round() / 1_000.0),
        "deadLetters": level.map(|level| level.dead_letters),
    })
}

/// The relay at one moment.
pub(super) fn now(now: &Now) -> Value {
    let worst = now.checks.iter().map(|check| check.grade).max();
    let checks = now.checks.iter().map(
        |check| json!({ "name": check.name, "grade": check.grade.as_str(), "says": check.says }),
    );
    json!({
        "grade": worst.map_or("failing", |grade| grade.as_str()),
        "checks": checks.collect::<Vec<_>>(),
        "canaryMs": now.gauges.canary_seconds.map(|seconds| seconds * 1_000.0),
        "batchesInFlight": now.gauges.batches_in_flight,
        "eventsInFlight": now.gauges.events_in_flight,
        "listenerLosses": now.gauges.listener_losses,
        "databaseFailures": now.gauges.database_failures,
        "swept": now.swept,
        "codes": now.codes,
        "outbox": now.observation.as_ref().map(outbox),
        "sample": now.sample.as_ref().map(fields),
    })
}

fn outbox(seen: &Observation) -> Value {
    let counts = |counts: &[(String, i64)]| {
        let counts = counts.iter().map(|(name, count)| (name.clone(), json!(count)));
        Value::Object(counts.collect())
    };
    json!({
        "pending": seen.pending,
        "oldest": seen.oldest_pending_age,
        "deadLetters": seen.dead_letters,
        "oldestDeadLetter": seen.oldest_dead_letter_age,
        "countedMax": OBSERVED_MAX,
        "held": counts(&seen.held),
        "paused": counts(&seen.paused),
        "notifyQueue": seen.notify_queue_usage,
    })
}
