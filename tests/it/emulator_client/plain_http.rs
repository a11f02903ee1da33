//! The emulator without a client library: REST, batches, server-sent events, the admin endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use outbox_relay::emulator::{Emulator, EmulatorConfig, EmulatorError};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{
    KEY, admin_get, admin_post, client, emulator, get, post, publish, request, start,
};

/// A stream of server-sent events, read event by event.
struct Events {
    response: Response,
    unread: String,
}

impl Events {
    async fn open(url: &str, query: &str) -> Self {
        let address = format!("{url}/sse?v=6&key={KEY}&{query}");
        let response = client().get(address).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, unread: String::new() }
    }

    /// The next block between blank lines, comments included.
    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                return block;
            }
            let chunk = timeout(Duration::from_secs(10), self.response.chunk()).await;
            let chunk = chunk.expect("an event in time").unwrap().expect("the stream goes on");
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Id and data of the next message.
    async fn next(&mut self) -> (String, Value) {
        loop {
            let block = self.block().await;
            let field = |name: &str| {
                let line = block.lines().find_map(|l| l.strip_prefix(name));
                line.map(str::to_owned)
            };
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                assert_eq!(field("event: ").as_deref(), Some("message"));
                return (id, serde_json::from_str(&data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn server_sent_events_carry_every_message_and_resume_where_they_were_cut() {
    let emulator = emulator().await;
    let url = emulator.url();
    publish(&url, "a", &json!({ "id": "before", "data": "1" })).await;
    let mut events = Events::open(&url, "channels=a,b&rewind=1").await;
    let (_, message) = events.next().await;
    assert_eq!((&message["id"], &message["channel"]), (&json!("before"), &json!("a")));
    publish(&url, "b", &json!([{ "id": "g:0", "data": { "x": 1 } }, { "id": "g:1" }])).await;
    let (cut_at, message) = events.next().await;
    assert_eq!((&message["id"], &message["channel"]), (&json!("g:0"), &json!("b")));
    assert_eq!((&message["data"], &message["encoding"]), (&json!("{\"x\":1}"), &json!("json")));
    let cut = admin_post(&url, "disconnect", "").await;
    assert_eq!(cut["disconnected"], 1);
    publish(&url, "a", &json!({ "id": "missed" })).await;

    let mut events = Events::open(&url, &format!("channels=a,b&lastEvent={cut_at}")).await;
    for expected in ["g:1", "missed"] {
        assert_eq!(events.next().await.1["id"], expected);
    }
    publish(&url, "a", &json!({ "id": "live" })).await;
    assert_eq!(events.next().await.1["id"], "live");
}

#[tokio::test]
async fn server_sent_events_show_that_they_live_and_can_come_bare() {
    let config = EmulatorConfig { heartbeat: Duration::from_millis(50), ..Default::default() };
    let emulator = start(config).await;
    let url = emulator.url();
    let mut events = Events::open(&url, "channel=c&enveloped=false").await;
    for _ in 0..3 {
        assert_eq!(events.block().await, ":keepalive");
    }
    publish(&url, "c", &json!({ "data": { "x": 1 } })).await;
    assert_eq!(events.next().await.1, json!({ "x": 1 }));
    for (query, status, code) in
        [("key=app.key:wrong&channels=c", 401, 40_101), (&format!("key={KEY}"), 400, 40_010)]
    {
        let response = client().get(format!("{url}/sse?{query}")).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-ably-errorcode"], code.to_string());
    }
}

#[tokio::test]
async fn an_event_stream_without_sse_is_json_lines() {
    let emulator = emulator().await;
    let url = emulator.url();
    publish(&url, "c", &json!({ "id": "evt" })).await;
    let path = "/event-stream?channels=c&rewind=1";
    let mut stream = request(Method::GET, &url, path).send().await.unwrap().bytes_stream();
    let mut text = String::new();
    while !text.contains('{') || !text.ends_with('\n') {
        let chunk = timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["event"], "message");
    assert!(line["data"].as_str().unwrap().contains("\"id\":\"evt\""));
}

#[tokio::test]
async fn a_batch_answers_by_spec_since_version_3_and_flat_before() {
    let emulator = emulator().await;
    let url = emulator.url();
    let body = json!([
        { "channels": ["a", ":bad"], "messages": [{ "id": "x:0" }, { "id": "x:1" }] },
        { "channels": "b", "messages": [{ "id": "1" }, { "id": "2" }] },
    ]);
    let (status, reply) = post(&url, "/messages", &body).await;
    assert_eq!(status, 201);
    assert_eq!((&reply[0]["successCount"], &reply[0]["failureCount"]), (&json!(1), &json!(1)));
    assert_eq!(reply[0]["results"][0]["channel"], "a");
    assert_eq!(reply[0]["results"][0]["messageId"], "x:0");
    assert_eq!(reply[0]["results"][0]["serials"].as_array().unwrap().len(), 2);
    assert_eq!(reply[0]["results"][1]["error"]["code"], 40_010);
    assert_eq!(reply[1]["results"][0]["error"]["code"], 40_031);

    let old = |body: Value| {
        let request = client().post(format!("{url}/messages")).header("x-ably-version", "1.2");
        request.basic_auth("app.key", Some("secret")).body(body.to_string()).send()
    };
    let response = old(body).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["x-ably-errorcode"], "40020");
    let reply: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(reply["error"]["code"], 40_020);
    let codes: Vec<_> = reply["batchResponse"].as_array().unwrap().iter().collect();
    assert_eq!((codes.len(), &codes[1]["error"]["code"]), (3, &json!(40_010)));
    let response = old(json!({ "channels": ["a", "b"], "messages": {} })).await.unwrap();
    assert_eq!(response.status(), 201);
    let reply: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&reply[0]["channel"], &reply[1]["channel"]), (&json!("a"), &json!("b")));
}

#[tokio::test]
async fn a_batch_beyond_its_limits_is_refused_whole() {
    let emulator = emulator().await;
    let url = emulator.url();
    let channels: Vec<_> = (0..101).map(|i| format!("c{i}")).collect();
    let body = json!({ "channels": channels[..100], "messages": {} });
    assert_eq!(post(&url, "/messages", &body).await.0, 201);
    let body = json!({ "channels": channels, "messages": {} });
    assert_eq!(post(&url, "/messages", &body).await.0, 400);
    for body in [json!([]), json!({ "channels": [], "messages": {} }), json!({ "messages": {} })] {
        assert_eq!(post(&url, "/messages", &body).await.0, 400, "{body}");
    }
    let body = json!({ "channels": "c", "messages": { "data": "x".repeat(524_288) } });
    let (status, reply) = post(&url, "/messages", &body).await;
    assert_eq!((status, &reply["error"]["code"]), (413, &json!(40_009)));
}

#[tokio::test]
async fn rest_answers_and_refuses_as_ably_does() {
    let emulator = start(EmulatorConfig::default()).await;
    let url = emulator.url();
    let time = client().get(format!("{url}/time")).send().await.unwrap().text().await.unwrap();
    assert!(serde_json::from_str::<[u64; 1]>(&time).unwrap()[0] > 1_700_000_000_000);
    let (status, reply) = publish(&url, "tenant:a/b", &json!({ "data": "x" })).await;
    assert_eq!((status, &reply["channel"]), (201, &json!("tenant:a/b")));
    let history = get(&url, "/channels/tenant%3Aa%2Fb/history").await.1;
    assert_eq!(history[0]["id"], reply["messageId"]);
    assert_eq!(history[0]["serial"], reply["serials"][0]);

    let (status, reply) = publish(&url, "[bad", &json!({})).await;
    assert_eq!((status, &reply["error"]["code"]), (400, &json!(40_010)));
    let (status, reply) = publish(&url, "c", &json!({ "data": "x".repeat(65_537) })).await;
    assert_eq!((status, &reply["error"]["code"]), (413, &json!(40_009)));
    let response = client().post(format!("{url}/channels/c/messages")).body("{}").send().await;
    assert_eq!(response.unwrap().status(), 401);
    let response = request(Method::GET, &url, "/nowhere").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (404, &"application/json".parse().unwrap())
    );
    let msgpack = request(Method::POST, &url, "/channels/c/messages");
    let response = msgpack.header("content-type", "application/x-msgpack").send().await.unwrap();
    assert!(response.text().await.unwrap().contains("useBinaryProtocol"));
}

#[tokio::test]
async fn a_channel_over_its_rate_is_throttled_and_the_others_are_not() {
    let config = EmulatorConfig { channel_rate_per_second: 2, ..Default::default() };
    let emulator = start(config).await;
    let url = emulator.url();
    let group = json!([{}, {}]);
    let many = (0..50).map(|_| publish(&url, "hot", &group));
    let answers = futures_util::future::join_all(many).await;
    let taken = answers.iter().filter(|(status, _)| *status == 201).count();
    assert!((2..50).contains(&taken), "{taken} of 50 were taken");
    for (status, body) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!((*status, &body["error"]["code"]), (429, &json!(42_913)));
    }
    assert_eq!(publish(&url, "cold", &json!({})).await.0, 201);
}

#[tokio::test]
async fn the_admin_endpoint_lists_what_was_accepted_and_is_closed_to_web_pages() {
    let emulator = emulator().await;
    let url = emulator.url();
    for channel in ["a", "b", "a"] {
        publish(&url, channel, &json!([{ "data": "1" }, { "data": "2" }])).await;
    }
    let orders = |reply: &Value| {
        let messages = reply["messages"].as_array().unwrap().iter();
        messages.map(|m| m["order"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(orders(&get(&url, "/_emulator/messages").await.1), [1, 2, 3, 4, 5, 6]);
    assert_eq!(orders(&get(&url, "/_emulator/messages?channel=a&after=1").await.1), [2, 5, 6]);
    assert_eq!(orders(&get(&url, "/_emulator/messages?limit=3").await.1), [1, 2, 3]);
    let page = client().get(format!("{url}/_emulator/stats")).header("origin", "http://x");
    assert_eq!(page.send().await.unwrap().status(), 403);
    let bad = client().post(format!("{url}/_emulator/faults")).body(r#"{"kind":"sttaus"}"#);
    assert_eq!(bad.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off_and_the_others_miss_nothing() {
    let emulator = start(EmulatorConfig {
        channel_rate_per_second: 0,
        subscriber_bytes_max: 200_000,
        ..Default::default()
    })
    .await;
    let url = emulator.url();
    let mut lazy = TcpStream::connect(emulator.addr()).await.unwrap();
    let request = format!("GET /sse?channels=c&key={KEY} HTTP/1.1\r\nHost: x\r\n\r\n");
    lazy.write_all(request.as_bytes()).await.unwrap();
    // The head says that it is subscribed; from here on it does not read.
    assert_eq!(lazy.read(&mut [0; 8]).await.unwrap(), 8);
    let mut reader = Events::open(&url, "channels=c").await;
    let message = json!({ "data": "x".repeat(60_000) });
    let mut published = 0_u64;
    while admin_get(&url, "stats").await["slow_subscribers_disconnected"] == 0 {
        assert!(published < 1_000, "nobody was cut off");
        publish(&url, "c", &message).await;
        reader.next().await;
        published += 1;
    }
    let rest = timeout(Duration::from_secs(10), lazy.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(rest.is_err(), "the connection was reset");
    publish(&url, "c", &json!({ "id": "still here" })).await;
    assert_eq!(reader.next().await.1["id"], "still here");
}

#[tokio::test]
async fn what_keeps_an_emulator_from_starting_is_named_with_its_remedy() {
    let first = emulator().await;
    let again = |config| async { Emulator::start(config).await.unwrap_err() };
    let listen = first.addr();
    let error = again(EmulatorConfig { listen, ..Default::default() }).await;
    assert!(matches!(error, EmulatorError::AddressInUse { addr } if addr == listen));
    assert!(error.to_string().contains("port 0"), "{error}");
    let listen: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let error = again(EmulatorConfig { listen, ..Default::default() }).await;
    assert!(matches!(error, EmulatorError::Listen { .. }), "{error}");
    let api_key = "s3cret".to_owned();
    let error = again(EmulatorConfig { api_key, ..Default::default() }).await;
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_dropped_emulator_is_gone() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut events = Events::open(&url, "channels=c").await;
    assert_eq!(events.block().await, ":keepalive");
    drop(emulator);
    let ended = async { while let Ok(Some(_)) = events.response.chunk().await {} };
    timeout(Duration::from_secs(5), ended).await.expect("the stream ends");
}
