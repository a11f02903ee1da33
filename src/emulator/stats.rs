//! Counters of requests; what was accepted is counted where it is decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Requests by kind and refusals by code, since the start.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) publish: AtomicU64,
    pub(super) batch: AtomicU64,
    pub(super) history: AtomicU64,
    pub(super) websocket: AtomicU64,
    pub(super) sse: AtomicU64,
    /// Codes come from a fixed set, or from faults, whose number is bounded too.
    refused: Mutex<BTreeMap<u32, u64>>,
}

/// Different codes that are counted; a caller of the admin endpoint can make up more.
const CODES_MAX: usize = 256;

impl Stats {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer with an Ably code.
    pub(super) fn refused(&self, code: u32) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < CODES_MAX || refused.contains_key(&code) {
            *refused.entry(code).or_insert(0) += 1;
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "publish": of(&self.publish),
            "batch": of(&self.batch),
            "history": of(&self.history),
            "websocket": of(&self.websocket),
            "sse": of(&self.sse),
            "refused": *self.refused.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}
