//! An emulator for one test: faults, what it accepted, and a subscriber over SSE.

use std::net::SocketAddr;
use std::time::Duration;

use outbox_relay::emulator::{API_KEY_DEFAULT, Emulator, EmulatorConfig};
use serde_json::Value;

/// How long anything may take on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A running emulator.
pub(crate) struct LocalAbly {
    emulator: Emulator,
    http: reqwest::Client,
}

/// A message as accepted or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) channel: String,
    /// The message's id: what Ably dedupes on.
    pub(crate) message_id: String,
    /// The envelope.
    pub(crate) envelope: Value,
}

impl Got {
    /// `payload.n` of the envelope.
    pub(crate) fn n(&self) -> i64 {
        self.envelope["payload"]["n"].as_i64().expect("payload.n")
    }

    /// The envelope's id.
    pub(crate) fn id(&self) -> &str {
        self.envelope["id"].as_str().expect("envelope id")
    }
}

impl LocalAbly {
    /// Without a rate per channel: tests write faster than 50 a second.
    pub(crate) async fn start() -> Self {
        Self::with(EmulatorConfig { channel_rate_per_second: 0, ..EmulatorConfig::default() }).await
    }

    /// Keeps what was accepted for as long as any test takes.
    pub(crate) async fn with(config: EmulatorConfig) -> Self {
        let config = EmulatorConfig { retention: 10 * LIMIT, ..config };
        let emulator = Emulator::start(config).await.expect("emulator");
        Self { emulator, http: http() }
    }

    pub(crate) fn url(&self) -> String {
        self.emulator.url()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.emulator.addr()
    }

    /// Ends it, and says which address is free again.
    pub(crate) async fn stop(self) -> SocketAddr {
        let addr = self.addr();
        self.emulator.shutdown().await;
        addr
    }

    /// Installs faults, given as the admin endpoint takes them.
    pub(crate) async fn fault(&self, json: &str) {
        let url = format!("{}/_emulator/faults", self.url());
        let reply = self.http.post(url).body(json.to_owned()).send().await.expect("fault");
        assert_eq!(reply.status(), 201, "{}", reply.text().await.unwrap());
    }

    pub(crate) async fn clear_faults(&self) {
        let url = format!("{}/_emulator/faults", self.url());
        assert!(self.http.delete(url).send().await.expect("clear").status().is_success());
    }

    /// Cuts every subscriber off, as a network would.
    pub(crate) async fn drop_subscribers(&self) {
        let url = format!("{}/_emulator/disconnect", self.url());
        assert!(self.http.post(url).send().await.expect("disconnect").status().is_success());
    }

    pub(crate) async fn stats(&self) -> Value {
        self.admin("stats").await
    }

    /// Everything accepted so far, in the order in which subscribers got it.
    pub(crate) async fn accepted(&self) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            let page = self.admin(&format!("messages?after={}", all.len())).await;
            assert_eq!(page["forgotten"], 0, "the emulator keeps what this test sends");
            let messages = page["messages"].as_array().unwrap();
            if messages.is_empty() {
                return all;
            }
            all.extend(messages.iter().map(|m| got(m["channel"].as_str().unwrap(), &m["message"])));
        }
    }

    /// Channel and envelope, as text, of every message accepted so far: parsing would alter numbers.
    pub(crate) async fn accepted_texts(&self) -> Vec<(String, String)> {
        let page = self.admin("messages?after=0").await;
        let text = |m: &Value| {
            Some((m["channel"].as_str()?.into(), m["message"]["data"].as_str()?.into()))
        };
        page["messages"].as_array().unwrap().iter().map(|m| text(m).unwrap()).collect()
    }

    /// Every message accepted so far, with all that subscribers get of it.
    pub(crate) async fn accepted_whole(&self) -> Vec<Value> {
        let page = self.admin("messages?after=0").await;
        page["messages"].as_array().unwrap().iter().map(|m| m["message"].clone()).collect()
    }

    /// Waits until so many messages have been accepted, whatever they are.
    pub(crate) async fn wait_for_texts(&self, messages: u64) -> Vec<(String, String)> {
        self.wait_until(&format!("{messages} messages"), async |stats| {
            stats["accepted_messages"].as_u64().is_some_and(|n| n >= messages)
        })
        .await;
        self.accepted_texts().await
    }

    /// Waits until this many messages have been accepted.
    pub(crate) async fn wait_for(&self, messages: usize) -> Vec<Got> {
        self.wait_until(&format!("{messages} messages"), async |stats| {
            stats["accepted_messages"].as_u64().is_some_and(|n| n >= messages as u64)
        })
        .await;
        self.accepted().await
    }

    /// Waits until the emulator's counters say so.
    pub(crate) async fn wait_until(&self, what: &str, done: impl AsyncFn(&Value) -> bool) {
        let wait = async {
            while !done(&self.stats().await).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("{what} did not come about: {}", self.stats().await);
        }
    }

    async fn admin(&self, path: &str) -> Value {
        let url = format!("{}/_emulator/{path}", self.url());
        let text = self.http.get(url).send().await.expect("admin").text().await.expect("body");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// A client that needs no process-wide TLS provider.
pub(crate) fn http() -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().expect("http client")
}

fn got(channel: &str, message: &Value) -> Got {
    let data = message["data"].as_str().expect("data is a string");
    Got {
        channel: channel.to_owned(),
        message_id: message["id"].as_str().expect("id").to_owned(),
        envelope: serde_json::from_str(data).expect("envelope"),
    }
}

/// The environment variables with which a relay finds this emulator.
pub(crate) fn ably_environment(ably: &LocalAbly) -> [(String, String); 2] {
    [("ABLY_ENDPOINT".into(), ably.url()), ("ABLY_API_KEY".into(), API_KEY_DEFAULT.into())]
}
