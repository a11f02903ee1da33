//! What is pushed: the relay's state, made text once a second however many watch.
//!
//! A stream is a connection that stays. There are 32 at most; one more ends the oldest, whose page asks again later and later. Nothing waits
//! for a slow reader: each stream sends the newest state, and what came in between is left out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Dashboard, charts};
use crate::http::server::Place;

/// Streams at a time: half of the connections, so that probes, scrapes and pages always find one.
const STREAMS_MAX: usize = 32;

/// How old what the database has said may be while somebody watches.
const LOOK_WATCHED: Duration = Duration::from_secs(2);

/// And while nobody does: the charts of the last hours want a point each 15 s.
const LOOK_UNWATCHED: Duration = Duration::from_secs(15);

/// Time between two looks at whether somebody watches.
const LOOK_STEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Live {
    newest: watch::Sender<Option<Arc<str>>>,
    streams: Mutex<VecDeque<CancellationToken>>,
}

impl Live {
    fn admit(&self, end: CancellationToken) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| !stream.is_cancelled());
        if streams.len() >= STREAMS_MAX
            && let Some(oldest) = streams.pop_front()
        {
            oldest.cancel();
        }
        streams.push_back(end);
    }
}

/// Seconds since 1970, for the axes of charts. No layer below reads this clock: nothing may be decided by it.
fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl Dashboard {
    /// Notes each second, and tells those who watch. Never ends by itself.
    pub(in crate::http) async fn watch(&self) {
        let seconds = async {
            let mut ticks = interval(Duration::from_secs(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                self.monitor.note_second(wall_clock());
                if self.live.newest.receiver_count() > 0 {
                    let text = charts::now(&self.monitor.now()).to_string();
                    self.live.newest.send_replace(Some(text.into()));
                }
                self.operators.tidy();
            }
        };
        let looks = async {
            loop {
                let watched = self.live.newest.receiver_count() > 0;
                let interval = if watched { LOOK_WATCHED } else { LOOK_UNWATCHED };
                self.monitor.refresh(interval).await;
                sleep(LOOK_STEP).await;
            }
        };
        tokio::join!(seconds, Box::pin(looks));
    }
}

pub(super) async fn live(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(place): Extension<Place>,
) -> Response {
    dashboard.live.admit(place.stream());
    let (newest, closing) = (dashboard.live.newest.subscribe(), dashboard.closing.clone());
    // At once: nobody should look at an empty page for a second.
    let first =
        format!("retry: 3000\n\n{}", event(&charts::now(&dashboard.monitor.now()).to_string()));
    let events = stream::unfold((Some(first), newest, closing), async |state| {
        let (first, mut newest, closing) = state;
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(first), (None, newest, closing)));
        }
        tokio::select! {
            () = closing.cancelled() => return None,
            changed = newest.changed() => changed.ok()?,
        }
        let text = newest.borrow_and_update().as_deref().map(event).unwrap_or_default();
        Some((Ok(text), (None, newest, closing)))
    });
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    ([kind], Body::from_stream(events)).into_response()
}

/// JSON text has no line breaks of its own.
fn event(data: &str) -> String {
    format!("event: now\ndata: {data}\n\n")
}
