//! The relay over HTTP: metrics that are true, health that means something, publishing on request, and
//! clients that behave badly.

use std::time::Duration;

use outbox_relay::emulator::EmulatorConfig;
use serde_json::Value;

use crate::support::local_ably::{LIMIT, LocalAbly, http};
use crate::support::outbox::Outbox;
use crate::support::relay::{RelayCommand, RelayProcess};

mod abuse;
mod health;
mod metrics;
mod publish;
mod shipped;

/// What opens metrics in these tests.
const TOKEN: &str = "sixteen-characters";

/// A relay that answers, and a client for it.
struct Site {
    outbox: Outbox,
    ably: LocalAbly,
    relay: RelayProcess,
    url: String,
    client: reqwest::Client,
}

impl Site {
    async fn start(hint: &str) -> Self {
        Self::with(hint, &[]).await
    }

    /// With more of the environment.
    async fn with(hint: &str, environment: &[(&str, &str)]) -> Self {
        let (outbox, ably) = (Outbox::create(hint).await, LocalAbly::start().await);
        let mut command = RelayCommand::new(&outbox.database.dsn(), &ably)
            .env("OUTBOX_RELAY_HTTP_LISTEN", "127.0.0.1:0");
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let relay = command.start();
        let url = url_of(&relay);
        relay.wait_until_listening();
        Self { outbox, ably, relay, url, client: http() }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = self.client.get(format!("{}{path}", self.url)).timeout(LIMIT);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// The value of a metric, as it is written with its labels.
    async fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        metric(&text, name)
    }

    /// Waits until a metric fits.
    async fn wait_for(&self, name: &str, fits: impl Fn(Option<f64>) -> bool) {
        let wait = async {
            while !fits(self.metric(name).await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("{name} never fits: {}", self.get("/metrics").await.1);
        }
    }

    /// Waits until a page answers with this status.
    async fn wait_for_status(&self, path: &str, status: u16) -> String {
        let wait = async {
            loop {
                let (found, text) = self.get(path).await;
                if found == status {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(LIMIT, wait).await;
        found.unwrap_or_else(|_| panic!("{path} never answers {status}"))
    }
}

/// Where a relay says that it answers.
pub(crate) fn url_of(relay: &RelayProcess) -> String {
    relay.wait_for_log("answering on", 1);
    format!("http://{}", relay.address().expect("an address"))
}

fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("outbox_relay_{name} ")));
    line.and_then(|value| value.parse().ok())
}
