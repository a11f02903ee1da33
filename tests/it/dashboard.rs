//! The dashboard: in a real browser, with a real relay, PostgreSQL and emulator; and for those who should not get in.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::http::url_of;
use crate::support::local_ably::{LocalAbly, http};
use crate::support::outbox::{Outbox, count, insert, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

mod abuse;
mod access;
mod browser;
mod search;

/// What opens the dashboard in these tests.
const TOKEN: &str = "a-dashboard-token-of-tests";

/// How long a scenario may take on a busy machine.
const SCENARIO_MAX: Duration = Duration::from_secs(180);

/// A relay with a dashboard.
struct Site {
    outbox: Outbox,
    ably: LocalAbly,
    relay: RelayProcess,
    url: String,
    client: reqwest::Client,
}

impl Site {
    async fn start(hint: &str, environment: &[(&str, &str)]) -> Self {
        let (outbox, ably) = (Outbox::create(hint).await, LocalAbly::start().await);
        let mut command = RelayCommand::new(&outbox.database.dsn(), &ably)
            .env("OUTBOX_RELAY_HTTP_LISTEN", "127.0.0.1:0")
            .env("OUTBOX_RELAY_CANARY_INTERVAL", "500ms");
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let relay = command.start();
        let url = url_of(&relay);
        relay.wait_until_listening();
        Self { outbox, ably, relay, url, client: http() }
    }

    /// One that may change things.
    async fn acting(hint: &str) -> Self {
        Self::start(hint, &[("OUTBOX_RELAY_HTTP_DASHBOARD_ACTIONS", "on")]).await
    }

    fn page(&self) -> String {
        format!("{}/dashboard/", self.url)
    }

    fn api(&self, path: &str) -> String {
        format!("{}/dashboard/api/{path}", self.url)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(self.api(path)).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    /// As the page does it.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let csrf = self.get("session").await.1["csrf"].as_str().unwrap().to_owned();
        let request = self.client.post(self.api(path)).header("x-csrf-token", csrf);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    /// Some of everything: four published events, three failed ones, a paused tenant with two that wait, a tenant on hold.
    async fn fill(&self) -> TestClient {
        let client = self.outbox.connect().await;
        for n in 0..4 {
            let payload = json!({ "n": n, "secret": "hunter2-payload" }).to_string();
            let payload = payload.replacen('}', ",\"big\":9007199254740993}", 1);
            insert(&client, "fine", &payload).await;
        }
        let (status, said) =
            self.post("pause", &json!({ "scope": "tenant", "target": "paused" })).await;
        if status != 200 {
            assert_eq!(said["error"], "this dashboard is read-only");
            client
                .batch_execute(
                    "insert into outbox.pause (scope, target, until, actor) values ('tenant', 'paused', 'infinity', 'a test')",
                )
                .await
                .unwrap();
        }
        insert(&client, "paused", "{}").await;
        insert(&client, "paused", "{}").await;
        client
            .batch_execute(
                "insert into outbox.hold (tenant_id, until, reason, message)
                 values ('held', 'infinity', 'blocked', 'an event failed')",
            )
            .await
            .unwrap();
        self.fail_three(&client).await;
        wait_until(&client, "select count(*) = 4 from outbox.event where status = 'published'")
            .await;
        client
    }

    async fn fail_three(&self, client: &TestClient) {
        self.ably
            .fault(r#"{"kind":"status","status":400,"code":40031,"channel":"tenant:broken"}"#)
            .await;
        for _ in 0..3 {
            insert(client, "broken", "{}").await;
        }
        wait_until(client, "select count(*) = 3 from outbox.event where status = 'failed'").await;
        self.ably.clear_faults().await;
    }
}

/// `tests/browser/dashboard.mjs`.
fn scenario(name: &str, url: &str, rest: &[&str]) -> Command {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        directory.join("node_modules/playwright-core").is_dir(),
        "the browser's driver is not installed; run: npm ci --prefix tests/browser"
    );
    let mut command = Command::new("node");
    command.arg(directory.join("dashboard.mjs")).args([name, url]).args(rest);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a scenario to its end.
async fn run(name: &str, url: &str, rest: &[&str]) {
    let output = tokio::time::timeout(SCENARIO_MAX, scenario(name, url, rest).output()).await;
    let output = output.expect("the scenario ends").expect("node");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.ends_with("{\"type\":\"done\"}\n"), "{text}{error}");
}
