//! The Ably client against servers that answer well, badly, late or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod publishing;
mod server;
mod trouble;

use std::future::Future;
use std::time::Duration;

use outbox_relay::ably::{ApiKey, Client, ClientConfig, Endpoint, Fallback};
use outbox_relay::domain::channel::ChannelName;
use outbox_relay::domain::event::TenantId;
use outbox_relay::domain::message::{Message, Spec};

use server::Server;

const SECRET: &str = "s3cretSECRETs3cret";

fn key() -> ApiKey {
    ApiKey::parse(&format!("app.key:{SECRET}")).unwrap()
}

/// A configuration for one server and its stand-ins, with times that tests can wait for.
fn config(primary: &str, fallbacks: &[&str]) -> ClientConfig {
    ClientConfig {
        endpoint: Endpoint::parse(primary).unwrap(),
        fallback: Fallback::Hosts(fallbacks.iter().map(ToString::to_string).collect()),
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_millis(400),
        retry_duration_max: Duration::from_secs(3),
        ..ClientConfig::new(key())
    }
}

fn client(servers: &[&Server]) -> Client {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    let fallbacks: Vec<&str> = urls[1..].iter().map(String::as_str).collect();
    Client::new(config(&urls[0], &fallbacks)).unwrap()
}

fn spec(tenant: &str) -> Spec {
    let message = Message {
        id: format!("id-{tenant}"),
        name: "kitchen.task".into(),
        data: r#"{"n":1}"#.into(),
        encoding: "json",
        extras: None,
    };
    let channel = ChannelName::for_tenant(&TenantId::new(tenant)).unwrap();
    Spec { channel, messages: vec![message] }
}

fn specs(count: usize) -> Vec<Spec> {
    (0..count).map(|n| spec(&n.to_string())).collect()
}

/// No test waits for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}
