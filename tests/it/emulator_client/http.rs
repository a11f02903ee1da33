//! Requests to an emulator, and how it is started here.

use std::sync::LazyLock;
use std::time::Duration;

use outbox_relay::emulator::{Emulator, EmulatorConfig};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// The key of [`emulator`].
pub(crate) const KEY: &str = "app.key:secret";

/// An emulator on a free port that takes [`KEY`], with Ably's limits but no rate per channel.
pub(crate) async fn emulator() -> Emulator {
    start(EmulatorConfig { channel_rate_per_second: 0, ..EmulatorConfig::default() }).await
}

/// An emulator that takes [`KEY`].
pub(crate) async fn start(config: EmulatorConfig) -> Emulator {
    Emulator::start(EmulatorConfig { api_key: KEY.to_owned(), ..config }).await.unwrap()
}

/// A client without connections to reuse: a reset must not be retried on a second one unseen, and
/// every test has a runtime of its own.
pub(crate) fn client() -> Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        // Another test of this process may have done it.
        _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap()
    });
    CLIENT.clone()
}

/// A request with the key.
pub(crate) fn request(method: Method, url: &str, path: &str) -> RequestBuilder {
    client()
        .request(method, format!("{url}{path}"))
        .basic_auth("app.key", Some("secret"))
        .header("x-ably-version", "6")
}

/// Publishes and returns status and body.
pub(crate) async fn publish(url: &str, channel: &str, body: &Value) -> (u16, Value) {
    let name = percent_encoding::utf8_percent_encode(channel, percent_encoding::NON_ALPHANUMERIC);
    post(url, &format!("/channels/{name}/messages"), body).await
}

/// Posts JSON and returns status and body.
pub(crate) async fn post(url: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = request(Method::POST, url, path).header("content-type", "application/json");
    read(request.body(body.to_string()).send().await.unwrap()).await
}

/// Gets status and body.
pub(crate) async fn get(url: &str, path: &str) -> (u16, Value) {
    read(request(Method::GET, url, path).send().await.unwrap()).await
}

/// `POST /_emulator/…`
pub(crate) async fn admin_post(url: &str, path: &str, body: &str) -> Value {
    let request = client().post(format!("{url}/_emulator/{path}")).body(body.to_owned());
    let (status, body) = read(request.send().await.unwrap()).await;
    assert!(status < 300, "{status} {body}");
    body
}

/// `GET /_emulator/…`
pub(crate) async fn admin_get(url: &str, path: &str) -> Value {
    read(client().get(format!("{url}/_emulator/{path}")).send().await.unwrap()).await.1
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
