//! Faults on demand, as a publisher meets them.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::http::{self, admin_get, admin_post, emulator, post, publish, request};

async fn accepted(url: &str) -> u64 {
    admin_get(url, "stats").await["accepted_messages"].as_u64().unwrap()
}

#[tokio::test]
async fn a_reset_is_a_broken_connection_and_after_accepting_a_retry_delivers_nothing_twice() {
    let emulator = emulator().await;
    let url = emulator.url();
    for (kind, stored) in [("reset_before", 0), ("reset_after", 1)] {
        admin_post(&url, "faults", &json!({ "kind": kind, "times": 1 }).to_string()).await;
        let message = json!({ "id": "evt", "data": "x" });
        let sent = request(Method::POST, &url, "/channels/c/messages").body(message.to_string());
        let error = sent.send().await.expect_err("a reset has no status");
        assert!(error.status().is_none() && !error.is_timeout(), "{error:?}");
        assert_eq!(accepted(&url).await, stored, "{kind}");
    }
    let (status, body) = publish(&url, "c", &json!({ "id": "evt", "data": "x" })).await;
    assert_eq!((status, body["serials"].as_array().unwrap().len()), (201, 1));
    let stats = admin_get(&url, "stats").await;
    assert_eq!(
        (&stats["accepted_messages"], &stats["duplicates_suppressed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!((&stats["faults"][0]["hits"], &stats["faults"][1]["hits"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_lost_reply_is_silence_and_the_message_was_accepted() {
    let emulator = emulator().await;
    let url = emulator.url();
    for (kind, stored) in [("hang_before", 0), ("reply_lost", 1)] {
        admin_post(&url, "faults", &json!({ "kind": kind, "times": 1 }).to_string()).await;
        let sent = request(Method::POST, &url, "/channels/c/messages").body(r#"{"id":"evt"}"#);
        let error = sent.timeout(Duration::from_millis(300)).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(accepted(&url).await, stored, "{kind}");
    }
}

#[tokio::test]
async fn each_fault_answers_as_ably_does() {
    let emulator = emulator().await;
    let url = emulator.url();
    for (fault, status, code) in [
        (json!({ "kind": "status" }), 503, 50_003),
        (json!({ "kind": "status", "status": 500, "code": 50_000 }), 500, 50_000),
        (json!({ "kind": "throttle_channel" }), 429, 42_913),
        (json!({ "kind": "throttle_account" }), 429, 42_917),
        (json!({ "kind": "unauthorized" }), 401, 40_101),
        (json!({ "kind": "unauthorized", "code": 40_131 }), 401, 40_131),
    ] {
        admin_post(&url, "faults", &fault.to_string()).await;
        let (got, body) = publish(&url, "c", &json!({ "id": "evt" })).await;
        assert_eq!((got, &body["error"]["code"]), (status, &json!(code)), "{fault}");
        let cleared = http::client().delete(format!("{url}/_emulator/faults")).send().await;
        assert!(cleared.unwrap().status().is_success());
    }
    assert_eq!(accepted(&url).await, 0);
    admin_post(&url, "faults", r#"{"kind":"status_after","times":1}"#).await;
    assert_eq!(publish(&url, "c", &json!({ "id": "evt" })).await.0, 503);
    assert_eq!(accepted(&url).await, 1);
    admin_post(&url, "faults", r#"{"kind":"delay","delay_ms":200,"times":1}"#).await;
    let before = Instant::now();
    assert_eq!(publish(&url, "c", &json!({ "id": "evt2" })).await.0, 201);
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn the_edge_answers_html_with_its_code_in_a_header_only() {
    let emulator = emulator().await;
    let url = emulator.url();
    admin_post(&url, "faults", r#"{"kind":"throttle_edge"}"#).await;
    let sent = request(Method::POST, &url, "/channels/c/messages").body("{}").send().await.unwrap();
    assert_eq!(sent.status(), 429);
    assert_eq!(sent.headers()["content-type"], "text/html");
    assert_eq!(sent.headers()["x-ably-errorcode"], "42922");
    assert!(sent.text().await.unwrap().starts_with("<html>"));
}

#[tokio::test]
async fn a_fault_of_a_channel_fails_its_part_of_a_batch_and_nothing_else() {
    let emulator = emulator().await;
    let url = emulator.url();
    let faults = json!([
        { "kind": "throttle_channel", "channel": "a", "times": 1 },
        { "kind": "status_after", "channel": "b", "times": 1 },
    ]);
    admin_post(&url, "faults", &faults.to_string()).await;
    let specs: Vec<_> = ["a", "b", "c"]
        .map(|c| json!({ "channels": c, "messages": { "id": format!("evt-{c}") } }))
        .into();
    let (status, body) = post(&url, "/messages", &json!(specs)).await;
    assert_eq!(status, 201);
    assert_eq!(body[0]["results"][0]["error"]["code"], 42_913);
    assert_eq!(body[1]["results"][0]["error"]["code"], 50_003);
    assert_eq!((&body[2]["successCount"], &body[2]["failureCount"]), (&json!(1), &json!(0)));
    assert_eq!(accepted(&url).await, 2, "b was accepted before it failed");
    let (_, body) = post(&url, "/messages", &json!(specs)).await;
    assert!(body.as_array().unwrap().iter().all(|s| s["failureCount"] == 0), "{body}");
    assert_eq!(accepted(&url).await, 3);
}
