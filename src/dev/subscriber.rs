//! A real subscriber: server-sent events over HTTP, read as they come, resumed after a disconnection.
//!
//! It knows nothing of the emulator but its address: what it reports has been through the same wire
//! as at any other client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::sse::{SseEvent, SseParser};

/// Longest wait for the stream to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which the stream is dead: clients of Ably give up after 25 s, its heartbeats come
/// at least every 15.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// Attempts in a row to open the stream again. With the pauses between them some 6 s.
const REOPENINGS_MAX: u32 = 10;
/// Pause before the first attempt; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// When its bytes were here.
    pub received: Instant,
    /// The envelope; `None` when the message holds something else (published by hand).
    pub envelope: Option<Envelope>,
    /// The channel it came on.
    pub channel: String,
    /// The message's name.
    pub name: String,
}

/// The event in a message. A payload may hold anything; only what is shown of it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Identity.
    pub id: String,
    /// Whose.
    pub tenant_id: String,
    /// What it is about.
    pub aggregate_id: String,
    /// When, as the producer has it.
    pub occurred_at: String,
    /// What happened.
    pub event_type: String,
    /// Its data.
    pub payload: Value,
}

/// The part of Ably's message that is read.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    name: String,
    data: Option<String>,
}

/// Why a subscriber gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// The HTTP client cannot be set up.
    #[error("the subscriber's HTTP client cannot be set up: {0}")]
    Http(String),
    /// The stream was refused.
    #[error("the emulator refused the subscription: {0}")]
    Refused(String),
    /// The stream is gone and cannot be opened again.
    #[error("the subscriber lost the emulator: {0}")]
    Lost(String),
}

/// A subscription that is open: whatever is published from now on will arrive.
#[derive(Debug)]
pub struct Subscriber {
    http: Client,
    address: Url,
    key: String,
    stream: Response,
    parser: SseParser,
    /// Where to go on.
    last_event: String,
}

impl Subscriber {
    /// Opens the stream of these channels and waits for its first bytes.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn attach(
        emulator: &str,
        key: &str,
        channels: &[String],
    ) -> Result<Self, SubscriberError> {
        let parameters = [("v", "1.2"), ("channels", &channels.join(","))];
        let address = Url::parse_with_params(&format!("{emulator}/sse"), &parameters)
            .map_err(|error| SubscriberError::Http(error.to_string()))?;
        let http = http_client().map_err(SubscriberError::Http)?;
        let (stream, first) = open(&http, address.clone(), key).await?;
        let mut subscriber = Self {
            http,
            address,
            key: key.to_owned(),
            stream,
            parser: SseParser::default(),
            last_event: String::new(),
        };
        // Nothing is published before the stream is open: these bytes are a sign of life.
        subscriber.read(&first).map_err(SubscriberError::Lost)?;
        Ok(subscriber)
    }

    /// Hands over deliveries until their reader has gone (`Ok`).
    ///
    /// # Errors
    /// When the stream is lost for good.
    pub async fn run(mut self, deliveries: mpsc::Sender<Delivery>) -> Result<(), SubscriberError> {
        loop {
            let why = loop {
                let received = match self.stream.chunk().await {
                    Ok(Some(bytes)) => self.read(&bytes),
                    Ok(None) => Err("the stream has ended".to_owned()),
                    Err(error) => Err(root_cause(&error)),
                };
                match received {
                    Ok(received) => {
                        for delivery in received {
                            if deliveries.send(delivery).await.is_err() {
                                return Ok(());
                            }
                        }
                    }
                    Err(why) => break why,
                }
            };
            tracing::debug!(why, "subscribing again");
            for delivery in self.reopen(why).await? {
                if deliveries.send(delivery).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Delivery>, String> {
        let received = Instant::now();
        let mut deliveries = Vec::new();
        for event in self.parser.feed(bytes).map_err(|error| error.to_string())? {
            if event.kind == "error" {
                return Err(event.data);
            }
            deliveries.push(delivery(&event, received)?);
            self.last_event = event.id;
        }
        Ok(deliveries)
    }

    /// Opens the stream behind the last event. Without one, nothing can have been missed but what was
    /// published since the subscription: the emulator keeps that for two minutes.
    async fn reopen(&mut self, mut why: String) -> Result<Vec<Delivery>, SubscriberError> {
        let mut address = self.address.clone();
        if self.last_event.is_empty() {
            address.query_pairs_mut().append_pair("rewind", "2m");
        } else {
            address.query_pairs_mut().append_pair("lastEvent", &self.last_event);
        }
        let mut pause = PAUSE_MIN;
        for _ in 0..REOPENINGS_MAX {
            // Before the first attempt too: a server that opens and closes at once is not asked in a loop.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match open(&self.http, address.clone(), &self.key).await {
                Ok((stream, first)) => {
                    self.stream = stream;
                    self.parser = SseParser::default();
                    return self.read(&first).map_err(SubscriberError::Lost);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(SubscriberError::Lost(why))
    }
}

fn delivery(event: &SseEvent, received: Instant) -> Result<Delivery, String> {
    let message: Message = serde_json::from_str(&event.data)
        .map_err(|error| format!("a message is not what Ably sends: {error}"))?;
    let envelope = message.data.and_then(|data| serde_json::from_str(&data).ok());
    Ok(Delivery { received, envelope, channel: message.channel, name: message.name })
}

async fn open(
    http: &Client,
    address: Url,
    key: &str,
) -> Result<(Response, Vec<u8>), SubscriberError> {
    let (user, password) = key.split_once(':').unwrap_or((key, ""));
    let opening = async {
        let request = http.get(address).basic_auth(user, Some(password));
        let mut stream = request
            .header("accept", "text/event-stream")
            .send()
            .await
            .map_err(|error| SubscriberError::Lost(root_cause(&error)))?;
        let status = stream.status();
        let lost = |error: reqwest::Error| SubscriberError::Lost(root_cause(&error));
        let first = stream.chunk().await.map_err(lost)?.unwrap_or_default().to_vec();
        if status.is_success() {
            return Ok((stream, first));
        }
        let body: String = String::from_utf8_lossy(&first).chars().take(200).collect();
        Err(SubscriberError::Refused(format!("{status}: {body}")))
    };
    match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(SubscriberError::Lost("the stream did not open in time".to_owned())),
    }
}

fn http_client() -> Result<Client, String> {
    // Unused, but without one reqwest would look for a provider of the whole process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        // The emulator is on this machine, whatever the proxy variables say.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true)
        .read_timeout(SILENCE_MAX)
        .build()
        .map_err(|error| root_cause(&error))
}

/// The last of an error's causes: reqwest's own texts repeat the address and say little.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::{API_KEY_DEFAULT, Emulator, EmulatorConfig};

    const CHANNEL: &str = "tenant:bistro-nord";
    const LIMIT: Duration = Duration::from_secs(30);

    async fn post(emulator: &Emulator, path: &str, body: String) {
        let (user, password) = API_KEY_DEFAULT.split_once(':').unwrap();
        let request = http_client().unwrap().post(format!("{}{path}", emulator.url()));
        let request = request.basic_auth(user, Some(password)).body(body);
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// Publishes an event as the relay does.
    async fn publish(emulator: &Emulator, id: &str) {
        let envelope = serde_json::json!({
            "id": id, "version": 1, "tenantId": "bistro-nord", "aggregateType": "KitchenTask",
            "aggregateId": "task-1", "occurredAt": "2026-01-23T10:30:00.000Z",
            "eventType": "kitchen.task.claimed", "payload": {},
        });
        let message =
            serde_json::json!({ "id": id, "name": "kitchen.task.claimed", "data": envelope });
        post(emulator, &format!("/channels/{CHANNEL}/messages"), message.to_string()).await;
    }

    async fn next(deliveries: &mut mpsc::Receiver<Delivery>) -> String {
        let delivery = tokio::time::timeout(LIMIT, deliveries.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.channel, CHANNEL);
        delivery.envelope.unwrap().id
    }

    #[tokio::test]
    async fn every_event_arrives_once_in_order_although_the_stream_is_cut_again_and_again() {
        let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
        let channels = [CHANNEL.to_owned()];
        let subscriber =
            Subscriber::attach(&emulator.url(), API_KEY_DEFAULT, &channels).await.unwrap();
        let (sender, mut deliveries) = mpsc::channel(4);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(subscriber.run(sender));
        for round in 0..5 {
            // The first cut comes before any event: there is no id to go on from.
            post(&emulator, "/_emulator/disconnect", String::new()).await;
            for event in 0..3 {
                publish(&emulator, &format!("{round}-{event}")).await;
            }
            for event in 0..3 {
                assert_eq!(next(&mut deliveries).await, format!("{round}-{event}"));
            }
        }
        drop(deliveries);
        publish(&emulator, "last").await;
        let end = tokio::time::timeout(LIMIT, running.join_next()).await.unwrap().unwrap().unwrap();
        assert!(end.is_ok(), "nobody reads any more: {end:?}");
        emulator.shutdown().await;
    }

    #[tokio::test]
    async fn an_emulator_that_has_gone_and_a_wrong_key_are_told_apart() {
        let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
        let channels = [CHANNEL.to_owned()];
        let refused = Subscriber::attach(&emulator.url(), "dev.local:wrong", &channels).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("401") && refused.contains("40101"), "{refused}");

        let subscriber =
            Subscriber::attach(&emulator.url(), API_KEY_DEFAULT, &channels).await.unwrap();
        let (sender, _deliveries) = mpsc::channel(1);
        emulator.shutdown().await;
        let end = tokio::time::timeout(LIMIT, subscriber.run(sender)).await.unwrap();
        assert!(matches!(end, Err(SubscriberError::Lost(_))), "{end:?}");
    }
}
