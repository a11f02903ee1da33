//! The WebSocket endpoint: one session a connection, one task a session.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message as WsMessage, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::attach::{Replay, Start};
use super::connection::Connection;
use super::error::Refused;
use super::frame::Frame;
use super::group::Group;
use super::mailbox::{Delivery, Inbox, Mailbox, mailbox};
use super::protocol::{self, Details, Inbound, action};
use super::publish::serials;
use super::shared::{JSON_ONLY, Shared, params, random_name};
use super::stats::Stats;

/// A session is over, for whatever reason; the socket is dropped.
struct Ended;

struct Attachment {
    number: u64,
    /// Without the mode nothing is delivered.
    subscribed: bool,
    /// Channel serial of what was sent last.
    position: String,
}

struct Session {
    shared: Arc<Shared>,
    socket: WebSocket,
    connection_id: Arc<str>,
    mailbox: Mailbox,
    attachments: HashMap<String, Attachment>,
    /// Browsers cannot see pings; they ask for HEARTBEAT frames.
    heartbeat_frames: bool,
    reset: CancellationToken,
    last_sent: Instant,
}

/// Upgrades `/`. Refusals come as ERROR frames after the upgrade: only those reach the application.
pub(super) async fn connect(
    State(shared): State<Arc<Shared>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let hint = "Nothing here: this is an emulator of Ably's realtime and REST API";
        return Refused::new(404, 40_400, hint).into_response();
    };
    Stats::count(&shared.stats.websocket);
    let (parts, _) = request.into_parts();
    let params = match params(&parts) {
        Ok(params) => params,
        Err(refused) => return refused.into_response(),
    };
    let Some(connection) = parts.extensions.get::<Connection>().cloned() else {
        return Refused::new(500, 50_000, "The connection is unknown").into_response();
    };
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let authorization = authorization.map(str::to_owned);
    let limit = shared.body_bytes_max;
    let tracker = shared.sessions.clone();
    upgrade.max_message_size(limit).max_frame_size(limit).on_upgrade(move |socket| {
        // Tracked, so that shutdown waits for it.
        tracker.track_future(run(shared, socket, connection, params, authorization))
    })
}

async fn run(
    shared: Arc<Shared>,
    socket: WebSocket,
    connection: Connection,
    params: HashMap<String, String>,
    authorization: Option<String>,
) {
    let key = params.get("key").map(String::as_str);
    let is = |name: &str, value: &str| params.get(name).is_some_and(|v| v == value);
    if is("format", "msgpack") {
        let error = protocol::msgpack_error(&Refused::bad(40_000, JSON_ONLY));
        return refuse(socket, WsMessage::Binary(error.into()), &shared).await;
    }
    if let Err(refused) = shared.credentials.check(authorization.as_deref(), key) {
        shared.stats.refused(refused.code);
        return refuse(socket, WsMessage::Text(protocol::error(&refused, None)), &shared).await;
    }
    // A key `<id>!<series>` of this run is resumed with its id; channels keep their place by themselves.
    let series = Arc::clone(&shared.hub.lock().series);
    let resume = params.get("resume").or_else(|| params.get("recover"));
    let resumed = resume.and_then(|key| key.split_once('!')).filter(|(_, s)| **s == *series);
    let connection_id: Arc<str> = resumed.map_or_else(|| random_name().into(), |(id, _)| id.into());
    let no_echo = is("echo", "false").then(|| Arc::clone(&connection_id));
    let (mailbox, inbox) = mailbox(shared.subscriber_bytes_max, connection.reset.clone(), no_echo);
    let hello = protocol::connected(
        Details {
            connection_id: &connection_id,
            connection_key: &format!("{connection_id}!{series}"),
            client_id: params.get("clientId").map_or("*", String::as_str),
            message_bytes_max: shared.message_bytes_max,
            frame_bytes_max: shared.body_bytes_max,
            idle_ms_max: u64::try_from(shared.heartbeat.as_millis() * 3 / 2).unwrap_or(u64::MAX),
        },
        resume.is_some() && resumed.is_none(),
    );
    let session = Session {
        shared,
        socket,
        connection_id,
        mailbox,
        attachments: HashMap::new(),
        heartbeat_frames: is("heartbeats", "true"),
        reset: connection.reset,
        last_sent: Instant::now(),
    };
    session.live(inbox, hello).await;
}

/// Says why and closes.
async fn refuse(mut socket: WebSocket, error: WsMessage, shared: &Shared) {
    let say = async {
        if socket.send(error).await.is_ok() {
            _ = socket.send(WsMessage::Close(None)).await;
        }
    };
    tokio::select! { () = say => {}, () = shared.shutdown.cancelled() => {} }
}

impl Drop for Session {
    fn drop(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        let mut hub = self.shared.hub.lock();
        for (channel, attachment) in &self.attachments {
            hub.unsubscribe(channel, attachment.number, now_ms);
        }
    }
}

impl Session {
    /// Until the client closes, is too slow, is cut off, or the emulator stops.
    async fn live(mut self, mut inbox: Inbox, hello: Utf8Bytes) {
        let mut disconnects = self.shared.disconnects.subscribe();
        let (reset, shutdown) = (self.reset.clone(), self.shared.shutdown.clone());
        let talk = async {
            self.send(hello).await?;
            loop {
                self.step(&mut inbox).await?;
            }
            #[expect(unreachable_code, reason = "names the type of the block")]
            Ok::<(), Ended>(())
        };
        tokio::select! {
            _ = talk => {}
            () = reset.cancelled() => {}
            _ = disconnects.changed() => reset.cancel(),
            () = shutdown.cancelled() => {}
        }
    }

    async fn step(&mut self, inbox: &mut Inbox) -> Result<(), Ended> {
        let quiet = sleep_until(self.last_sent + self.shared.heartbeat);
        tokio::select! {
            inbound = self.socket.recv() => match inbound {
                Some(Ok(WsMessage::Text(text))) => self.take(&text).await,
                Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => Ok(()),
                Some(Ok(WsMessage::Binary(_))) => {
                    let error = protocol::msgpack_error(&Refused::bad(40_000, JSON_ONLY));
                    self.send_raw(WsMessage::Binary(error.into())).await?;
                    Err(Ended)
                }
                Some(Ok(WsMessage::Close(_)) | Err(_)) | None => Err(Ended),
            },
            delivery = inbox.next() => match delivery {
                Some(delivery) => self.deliver(delivery).await,
                None => Err(Ended),
            },
            () = quiet => self.send_sign_of_life().await,
        }
    }

    async fn send_sign_of_life(&mut self) -> Result<(), Ended> {
        if self.heartbeat_frames {
            self.send(protocol::text(&json!({ "action": action::HEARTBEAT }))).await
        } else {
            self.send_raw(WsMessage::Ping(axum::body::Bytes::new())).await
        }
    }

    async fn send(&mut self, text: Utf8Bytes) -> Result<(), Ended> {
        self.send_raw(WsMessage::Text(text)).await
    }

    async fn send_raw(&mut self, message: WsMessage) -> Result<(), Ended> {
        self.last_sent = Instant::now();
        self.socket.send(message).await.map_err(|_| Ended)
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), Ended> {
        let frame = delivery.frame;
        match self.attachments.get_mut(&*frame.channel) {
            Some(attachment) if attachment.number == delivery.attachment => {
                attachment.position = frame.channel_serial();
                if attachment.subscribed { self.send(frame.text()).await } else { Ok(()) }
            }
            // Queued before a detach.
            _ => Ok(()),
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Ended> {
        let inbound: Inbound = match serde_json::from_str(text) {
            Ok(inbound) => inbound,
            Err(e) => {
                let refused = Refused::bad(40_000, format!("Unreadable protocol message: {e}"));
                self.send(protocol::error(&refused, None)).await?;
                return Err(Ended);
            }
        };
        match inbound.action {
            action::HEARTBEAT => {
                let mut echo = json!({ "action": action::HEARTBEAT });
                if let Some(id) = inbound.id {
                    echo["id"] = id.into();
                }
                self.send(protocol::text(&echo)).await
            }
            action::CLOSE => {
                self.send(protocol::text(&json!({ "action": action::CLOSED }))).await?;
                _ = self.socket.send(WsMessage::Close(None)).await;
                Err(Ended)
            }
            action::DISCONNECT => Err(Ended),
            action::ATTACH => self.attach(inbound).await,
            action::DETACH => self.detach(inbound).await,
            action::MESSAGE => self.publish(inbound).await,
            // Presence is taken and told to nobody: a client that enters must not wait for ever.
            action::PRESENCE => {
                self.send(protocol::ack(inbound.msg_serial.unwrap_or(0), &[])).await
            }
            // New credentials (AUTH) change nothing here, and all else that a newer client may send is optional.
            _ => Ok(()),
        }
    }

    async fn attach(&mut self, inbound: Inbound) -> Result<(), Ended> {
        let name = inbound.channel.unwrap_or_default();
        let modes = match inbound.flags.unwrap_or(0) & protocol::MODES_ALL {
            0 => protocol::MODES_ALL,
            modes => modes,
        };
        let subscribed = modes & protocol::SUBSCRIBE != 0;
        let mut reply = json!({ "action": action::ATTACHED, "channel": name, "flags": modes });
        if let Some(params) = &inbound.params {
            reply["params"] = params.clone();
        }
        if let Some(attachment) = self.attachments.get_mut(&name) {
            // Still attached: nothing was missed.
            attachment.subscribed = subscribed;
            reply["flags"] = (modes | protocol::RESUMED).into();
            reply["channelSerial"] = attachment.position.as_str().into();
            return self.send(protocol::text(&reply)).await;
        }
        let rewind = inbound
            .params
            .as_ref()
            .and_then(|p| p.get("rewind"))
            .map(|rewind| rewind.as_str().map_or_else(|| rewind.to_string(), str::to_owned));
        let start = match (&inbound.channel_serial, &rewind) {
            (Some(serial), _) if !serial.is_empty() => Ok(Start::After(serial)),
            (_, Some(rewind)) => Start::rewind(rewind),
            _ => Ok(Start::Now),
        };
        let now_ms = self.shared.clock.now_ms();
        let attached = start.and_then(|start| {
            self.shared.hub.lock().subscribe(&name, self.mailbox.clone(), start, now_ms)
        });
        let attached = match attached {
            Ok(attached) => attached,
            Err(refused) => {
                self.shared.stats.refused(refused.code);
                return self.send(protocol::error(&refused, Some(&name))).await;
            }
        };
        let mut flags = modes;
        if attached.resumed {
            flags |= protocol::RESUMED;
        }
        if !attached.backlog.is_empty() {
            flags |= protocol::HAS_BACKLOG;
        }
        reply["flags"] = flags.into();
        reply["channelSerial"] = attached.position.as_str().into();
        let position = attached
            .backlog
            .last()
            .map_or(attached.position, |replay| replay.frame.channel_serial());
        let attachment = Attachment { number: attached.attachment, subscribed, position };
        self.attachments.insert(name, attachment);
        self.send(protocol::text(&reply)).await?;
        for Replay { frame, skip } in attached.backlog {
            if subscribed && self.is_for_us(&frame) {
                let text = if skip == 0 { frame.text() } else { frame.text_after(skip) };
                self.send(text).await?;
            }
        }
        Ok(())
    }

    /// `echo=false` holds for a replay too.
    fn is_for_us(&self, frame: &Frame) -> bool {
        self.mailbox.no_echo.is_none() || self.mailbox.no_echo != frame.connection_id
    }

    async fn detach(&mut self, inbound: Inbound) -> Result<(), Ended> {
        let name = inbound.channel.unwrap_or_default();
        if let Some(attachment) = self.attachments.remove(&name) {
            let now_ms = self.shared.clock.now_ms();
            self.shared.hub.lock().unsubscribe(&name, attachment.number, now_ms);
        }
        self.send(protocol::text(&json!({ "action": action::DETACHED, "channel": name }))).await
    }

    async fn publish(&mut self, inbound: Inbound) -> Result<(), Ended> {
        let msg_serial = inbound.msg_serial.unwrap_or(0);
        let reply = match self.accept(&inbound, msg_serial) {
            Ok(serials) => protocol::ack(msg_serial, &serials),
            Err(refused) => {
                self.shared.stats.refused(refused.code);
                protocol::nack(msg_serial, &refused)
            }
        };
        self.send(reply).await
    }

    fn accept(&self, inbound: &Inbound, msg_serial: u64) -> Result<Vec<String>, Refused> {
        let channel = inbound.channel.as_deref().unwrap_or_default();
        let messages = inbound.messages.as_ref().map_or("[]", |m| m.get());
        // A client that resumes sends what was not acknowledged again, with the same serial.
        let base = format!("{}:{msg_serial}", self.connection_id);
        let mut group = Group::parse(messages, self.shared.message_bytes_max, || base.clone())?;
        group.key.get_or_insert(base);
        let mut hub = self.shared.hub.lock();
        let now_ms = self.shared.clock.now_ms();
        let published = hub.publish(channel, &group, Some(&self.connection_id), now_ms)?;
        Ok(serials(&hub.series, &published))
    }
}
