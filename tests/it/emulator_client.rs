//! The emulator as its clients see it: the unmodified official one, and plain HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod faults;
mod http;
pub(crate) mod js_client;
mod plain_http;

use http::{KEY, emulator, publish};
use js_client::JsClient;
use serde_json::{Value, json};

#[tokio::test]
async fn the_official_client_receives_every_message_once_and_in_order() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut client = JsClient::subscribe(&url, KEY, &["tenant:a", "tenant:b/ü"]).await;
    for index in 0..100 {
        let id = format!("evt-{index}");
        let data = json!({ "n": index }).to_string();
        let message = json!({ "id": id, "name": "order.created", "data": data, "encoding": "json",
            "extras": { "headers": { "version": index } } });
        assert_eq!(publish(&url, "tenant:a", &message).await.0, 201);
        if index % 10 == 0 {
            // The same id with other data: the first wins, nobody hears the second.
            let again = json!({ "id": id, "data": "other" });
            assert_eq!(publish(&url, "tenant:a", &again).await.0, 201);
        }
    }
    let group = json!([{ "id": "g:0", "data": "x" }, { "id": "g:1", "data": { "raw": true } }]);
    assert_eq!(publish(&url, "tenant:b/ü", &group).await.0, 201);

    for index in 0..100 {
        let message = client.next("message").await;
        assert_eq!(message["id"], format!("evt-{index}"));
        assert_eq!(message["channel"], "tenant:a");
        assert_eq!(message["name"], "order.created");
        assert_eq!(message["data"], json!({ "n": index }));
        assert_eq!(message["extras"], json!({ "headers": { "version": index } }));
        assert!(message["timestamp"].as_u64().unwrap() > 1_700_000_000_000);
    }
    let first = client.next("message").await;
    let second = client.next("message").await;
    assert_eq!((&first["id"], &first["data"]), (&json!("g:0"), &json!("x")));
    assert_eq!((&second["id"], &second["data"]), (&json!("g:1"), &json!({ "raw": true })));

    let stats = http::admin_get(&url, "stats").await;
    assert_eq!(stats["accepted_messages"], 102);
    assert_eq!(stats["duplicates_suppressed"], 10);
    assert_eq!(client.end().await, Some(0));
    emulator.shutdown().await;
}

#[tokio::test]
async fn two_official_clients_see_the_same_order_of_concurrent_publishers() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut one = JsClient::subscribe(&url, KEY, &["c"]).await;
    let mut two = JsClient::subscribe(&url, KEY, &["c"]).await;
    let publishers = (0..5).map(|publisher| {
        let url = url.clone();
        async move {
            for index in 0..20 {
                publish(&url, "c", &json!({ "id": format!("{publisher}-{index}") })).await;
            }
        }
    });
    futures_util::future::join_all(publishers).await;
    let order = one.message_ids(100).await;
    assert_eq!(two.message_ids(100).await, order);
    let accepted = http::admin_get(&url, "messages?channel=c").await;
    let accepted = accepted["messages"].as_array().unwrap();
    let accepted: Vec<_> = accepted.iter().map(|m| m["message"]["id"].as_str().unwrap()).collect();
    assert_eq!(accepted, order);
}

#[tokio::test]
async fn the_official_client_misses_nothing_when_its_socket_is_cut() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut client = JsClient::subscribe(&url, KEY, &["c", "quiet"]).await;
    client.passed_over.clear();
    let mut expected = Vec::new();
    for round in 0..3 {
        for index in 0..5 {
            expected.push(format!("{round}-{index}"));
            publish(&url, "c", &json!({ "id": expected.last() })).await;
        }
        let cut = http::admin_post(&url, "disconnect", "").await;
        assert_eq!(cut["disconnected"], 1);
        // Published while nobody listens, or just after: either way exactly once.
        for index in 5..10 {
            expected.push(format!("{round}-{index}"));
            publish(&url, "c", &json!({ "id": expected.last() })).await;
        }
        assert_eq!(client.message_ids(10).await, expected[round * 10..]);
        // Both channels must be back, and with their continuity, before the next cut.
        let back = |line: &Value| line["type"] == "channel" && line["state"] == "attached";
        while client.passed_over.iter().filter(|line| back(line)).count() < 2 {
            let line = client.next("channel").await;
            client.passed_over.push(line);
        }
        let lines = client.passed_over.drain(..);
        assert!(lines.filter(back).all(|line| line["resumed"] == true), "continuity was lost");
    }
}

#[tokio::test]
async fn a_detached_channel_is_silent_and_starts_anew_when_attached_again() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut client = JsClient::subscribe(&url, KEY, &["a", "b"]).await;
    client.tell("detach a").await;
    while client.next("channel").await["state"] != "detached" {}
    publish(&url, "a", &json!({ "id": "unheard" })).await;
    publish(&url, "b", &json!({ "id": "heard" })).await;
    assert_eq!(client.message_ids(1).await, ["heard"]);
    client.tell("attach a").await;
    while client.next("channel").await["state"] != "attached" {}
    publish(&url, "a", &json!({ "id": "again" })).await;
    assert_eq!(client.message_ids(1).await, ["again"]);
}

#[tokio::test]
async fn the_official_client_publishes_over_its_socket_and_is_told_the_outcome() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut client = JsClient::subscribe(&url, KEY, &["c"]).await;
    client.tell(r#"publish c [{"name":"x","data":{"a":1}},{"name":"y"}]"#).await;
    client.next("acknowledged").await;
    client.tell(r#"publish c [{"id":"one"},{"id":"two"}]"#).await;
    assert_eq!(client.next("refused").await["code"], 40_031);
    client.tell(r#"publish c {"id":"last"}"#).await;
    client.next("acknowledged").await;
    let history = http::get(&url, "/channels/c/messages?direction=forwards").await.1;
    let names: Vec<_> = history.as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, [&json!("x"), &json!("y"), &Value::Null]);
    assert_eq!(history[2]["id"], "last");
    assert!(history[0]["connectionId"].is_string());
}

#[tokio::test]
async fn the_official_client_publishes_over_rest_and_reads_history_page_by_page() {
    let emulator = emulator().await;
    let url = emulator.url();
    let mut client = JsClient::start("publish.mjs", &[&url, KEY, "tenant:a b"], &[]);
    for line in [
        r#"{"name":"n","data":{"a":1},"id":"one"}"#,
        r#"{"name":"n","data":"other","id":"one"}"#,
        r#"[{"id":"g:0","data":"x"},{"id":"g:1","data":"y"}]"#,
        r#"[{"id":"x","data":"x"},{"id":"y","data":"y"}]"#,
        r#"{"id":"two"}"#,
        r#"{"id":"three"}"#,
    ] {
        client.tell(line).await;
    }
    client.close_stdin();
    let history = client.next("history").await;
    assert_eq!(history["ids"], json!(["one", "g:0", "g:1", "two", "three"]));
    let refused: Vec<_> =
        client.passed_over.iter().filter(|l| l["type"] == "refused").map(|l| &l["code"]).collect();
    assert_eq!(refused, [&json!(40_031)]);
    assert_eq!(client.passed_over.len(), 6);
    assert_eq!(client.end().await, Some(0));
}

#[tokio::test]
async fn the_official_client_is_told_why_it_is_refused() {
    let emulator = emulator().await;
    let url = emulator.url();
    let binary = [("BINARY", "true")];
    let mut client = JsClient::start("subscribe.mjs", &[&url, KEY, "c"], &binary);
    let failed = client.next("failed").await;
    assert!(failed["message"].as_str().unwrap().contains("useBinaryProtocol: false"), "{failed}");
    for (key, code) in [("app.key:wrong", 40_101), ("other.key:secret", 40_400)] {
        let mut client = JsClient::start("subscribe.mjs", &[&url, key, "c"], &[]);
        assert_eq!(client.next("failed").await["code"], code);
    }
    let mut client = JsClient::start("subscribe.mjs", &[&url, KEY, ":bad"], &[]);
    assert_eq!(client.next("failed").await["code"], 40_010);
}

#[tokio::test]
async fn a_stopped_emulator_closes_its_subscribers_and_frees_its_port() {
    let emulator = emulator().await;
    let (url, addr) = (emulator.url(), emulator.addr());
    let mut client = JsClient::subscribe(&url, KEY, &["c"]).await;
    emulator.shutdown().await;
    while client.next("connection").await["state"] != "disconnected" {}
    drop(tokio::net::TcpListener::bind(addr).await.unwrap());
}
