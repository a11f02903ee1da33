//! `GET /sse` and `/event-stream`: messages as server-sent events, or as one JSON object a line.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::attach::{Replay, Start};
use super::error::Refused;
use super::frame::Frame;
use super::mailbox::{Inbox, mailbox};
use super::publish::refuse;
use super::shared::{Caller, Shared};
use super::stats::Stats;

/// Channels in one stream; 100 is also what a batch publish can reach.
const SSE_CHANNELS_MAX: usize = 100;

/// How a message is written.
#[derive(Debug, Clone, Copy)]
struct Format {
    /// `id:`/`event:`/`data:` lines instead of JSON lines.
    sse: bool,
    /// The whole message instead of its data alone.
    enveloped: bool,
    heartbeats: bool,
}

/// A stream that is being sent.
struct Streaming {
    shared: Arc<Shared>,
    attachments: Vec<(String, u64)>,
    inbox: Inbox,
    backlog: VecDeque<Replay>,
    format: Format,
    heartbeat: Duration,
    disconnects: watch::Receiver<u64>,
    reset: CancellationToken,
    /// Sends the response head to a client that waits for it before anything happens.
    opened: bool,
}

/// Opens a stream.
pub(super) async fn sse(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Response {
    stream_as(&caller, &shared, &headers, true)
}

/// As [`sse`], for clients that accept `text/event-stream`; JSON lines for others.
pub(super) async fn event_stream(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let sse = accept.contains("text/event-stream");
    stream_as(&caller, &shared, &headers, sse)
}

fn stream_as(caller: &Caller, shared: &Arc<Shared>, headers: &HeaderMap, sse: bool) -> Response {
    Stats::count(&shared.stats.sse);
    match open(caller, shared, headers, sse) {
        Ok(streaming) => {
            let kind = if sse { "text/event-stream" } else { "application/json" };
            let body = Body::from_stream(stream::unfold(streaming, Streaming::step));
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body)
                .into_response()
        }
        Err(refused) => refuse(shared, refused),
    }
}

fn open(
    caller: &Caller,
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    sse: bool,
) -> Result<Streaming, Refused> {
    let params = &caller.params;
    let channels = channel_list(params)?;
    let last_event = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .or(params.get("lastEvent").map(String::as_str))
        .filter(|id| !id.is_empty());
    let start = match (last_event, params.get("rewind")) {
        (Some(id), _) => Start::After(id),
        (None, Some(rewind)) => Start::rewind(rewind)?,
        (None, None) => Start::Now,
    };
    let flag = |name: &str| params.get(name).is_none_or(|value| value != "false");
    let format = Format { sse, enveloped: flag("enveloped"), heartbeats: flag("heartbeats") };
    let reset = caller.connection.reset.clone();
    let (mailbox, inbox) = mailbox(shared.subscriber_bytes_max, reset.clone(), None);
    let mut streaming = Streaming {
        attachments: Vec::new(),
        inbox,
        backlog: VecDeque::new(),
        format,
        heartbeat: shared.heartbeat,
        disconnects: shared.disconnects.subscribe(),
        reset,
        opened: false,
        shared: Arc::clone(shared),
    };
    let now_ms = shared.clock.now_ms();
    let mut backlog = Vec::new();
    {
        let mut hub = shared.hub.lock();
        for channel in channels {
            let attached = hub.subscribe(&channel, mailbox.clone(), start, now_ms);
            // `streaming` detaches what is attached so far when it is dropped by `?`; it takes the lock, so
            // the error must leave this scope first.
            match attached {
                Ok(attached) => {
                    streaming.attachments.push((channel, attached.attachment));
                    backlog.extend(attached.backlog);
                }
                Err(refused) => {
                    drop(hub);
                    return Err(refused);
                }
            }
        }
    }
    backlog.sort_by_key(|replay| replay.frame.serial);
    streaming.backlog = backlog.into();
    Ok(streaming)
}

fn channel_list(params: &HashMap<String, String>) -> Result<Vec<String>, Refused> {
    let text = params.get("channels").or_else(|| params.get("channel"));
    let separator = params.get("separator").map_or(",", String::as_str);
    let text = text.filter(|t| !t.is_empty() && !separator.is_empty()).ok_or_else(|| {
        Refused::bad(40_010, "No channels: add ?channels=<name>,<name> to the address")
    })?;
    let mut channels: Vec<String> = text.split(separator).map(str::to_owned).collect();
    channels.sort();
    channels.dedup();
    if channels.len() > SSE_CHANNELS_MAX {
        return Err(Refused::bad(40_000, "Too many channels: at most 100 in one stream"));
    }
    Ok(channels)
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        let mut hub = self.shared.hub.lock();
        for (channel, attachment) in &self.attachments {
            hub.unsubscribe(channel, *attachment, now_ms);
        }
    }
}

impl Streaming {
    /// The next piece of the body; `None` ends it.
    async fn step(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        if !self.opened {
            self.opened = true;
            return Some((Ok(Bytes::from_static(self.keepalive())), self));
        }
        if let Some(Replay { frame, skip }) = self.backlog.pop_front() {
            return Some((Ok(self.format.write(&frame, skip).into()), self));
        }
        let shutdown = self.shared.shutdown.clone();
        let quiet = async {
            if self.format.heartbeats {
                tokio::time::sleep(self.heartbeat).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let bytes = tokio::select! {
            delivery = self.inbox.next() => self.format.write(&delivery?.frame, 0).into(),
            () = quiet => Bytes::from_static(self.keepalive()),
            // A reset connection is dropped by its own task; this only asks for it.
            _ = self.disconnects.changed() => { self.reset.cancel(); return None }
            () = shutdown.cancelled() => return None,
        };
        Some((Ok(bytes), self))
    }

    fn keepalive(&self) -> &'static [u8] {
        if self.format.sse { b":keepalive\n\n" } else { b"\n" }
    }
}

impl Format {
    fn write(self, frame: &Frame, skip: usize) -> String {
        (skip..frame.messages.len()).filter_map(|index| self.write_message(frame, index)).collect()
    }

    fn write_message(self, frame: &Frame, index: usize) -> Option<String> {
        let id = frame.message_serial(index);
        let data = if self.enveloped {
            // Strings and numbers always serialise.
            serde_json::to_string(&frame.message(index, true)?).unwrap_or_default()
        } else {
            frame.messages.get(index)?.data.clone().unwrap_or_default()
        };
        if !self.sse {
            return Some(format!("{}\n", json!({ "id": id, "event": "message", "data": data })));
        }
        // Bare data may have line breaks; each line is a `data:` of its own.
        let data = data.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\ndata: ");
        Some(format!("id: {id}\nevent: message\ndata: {data}\n\n"))
    }
}
