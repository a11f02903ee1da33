//! What every request handler shares, and who calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Query};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::credentials::Credentials;
use super::error::Refused;
use super::faults::FaultBoard;
use super::hub::Hub;
use super::stats::Stats;

/// The state of one emulator.
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) credentials: Credentials,
    pub(super) faults: FaultBoard,
    pub(super) stats: Stats,
    pub(super) clock: Clock,
    pub(super) message_bytes_max: usize,
    pub(super) body_bytes_max: usize,
    pub(super) subscriber_bytes_max: usize,
    pub(super) heartbeat: Duration,
    /// Counts up when all subscribers are to be cut off; has one receiver a subscriber.
    pub(super) disconnects: watch::Sender<u64>,
    /// WebSocket sessions, which outlive their HTTP connection.
    pub(super) sessions: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Milliseconds since 1970 that never go back.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    started_ms: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(passed)
    }
}

/// 12 characters that no client foresees: a base of ids, a connection, a run.
pub(super) fn random_name() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(12).collect()
}

/// A request whose key was accepted.
#[derive(Debug)]
pub(super) struct Caller {
    /// `X-Ably-Version` or `v`; the latest when neither is there, as Ably documents.
    pub(super) version: u32,
    pub(super) params: HashMap<String, String>,
    pub(super) connection: Connection,
}

/// The newest protocol version; other versions change the shape of batch replies only.
const VERSION_LATEST: u32 = 6;

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let caller = Self::read(parts, shared);
        if let Err(refused) = &caller {
            shared.stats.refused(refused.code);
        }
        caller
    }
}

impl Caller {
    fn read(parts: &Parts, shared: &Shared) -> Result<Self, Refused> {
        let params = params(parts)?;
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        shared.credentials.check(header(AUTHORIZATION), params.get("key").map(String::as_str))?;
        for name in [CONTENT_TYPE, ACCEPT] {
            // Clients that take both list JSON too; one that insists lists msgpack alone.
            if header(name).is_some_and(|v| v.contains("msgpack") && !v.contains("json")) {
                return Err(Refused::new(415, 40_001, JSON_ONLY));
            }
        }
        let asked = parts.headers.get("x-ably-version").and_then(|v| v.to_str().ok());
        let version = match asked.or(params.get("v").map(String::as_str)) {
            None => VERSION_LATEST,
            Some(text) => read_version(text).ok_or_else(|| {
                Refused::bad(40_017, format!("Unsupported protocol version {text:?}"))
            })?,
        };
        let connection = parts.extensions.get::<Connection>().cloned();
        let connection =
            connection.ok_or_else(|| Refused::new(500, 50_000, "The connection is unknown"))?;
        Ok(Self { version, params, connection })
    }
}

/// Why msgpack is refused, and what to do about it.
pub(super) const JSON_ONLY: &str =
    "The emulator speaks JSON only; create the Ably client with useBinaryProtocol: false";

/// The query string.
pub(super) fn params(parts: &Parts) -> Result<HashMap<String, String>, Refused> {
    Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
        .map(|Query(params)| params)
        .map_err(|_| Refused::bad(40_003, "The query string is unreadable"))
}

/// `6`, and `1.2` as it was written before protocol 2.
fn read_version(text: &str) -> Option<u32> {
    text.split('.').next()?.parse().ok().filter(|v| *v > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_both_spellings() {
        assert_eq!(read_version("6"), Some(6));
        assert_eq!(read_version("1.2"), Some(1));
        for bad in ["", "x", "0", "-1"] {
            assert_eq!(read_version(bad), None, "{bad}");
        }
    }
}
