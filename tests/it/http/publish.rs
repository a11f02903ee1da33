//! `/outbox/publish`.

use super::*;
use crate::support::outbox::{count, insert};

const PUBLISH: [(&str, &str); 1] = [("OUTBOX_PUBLISH_TOKEN", "s3cret")];

async fn ask(site: &Site, request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.timeout(LIMIT).send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(!text.contains("s3cret"), "{}: {text}", site.url);
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
}

fn post(site: &Site, body: &'static str) -> reqwest::RequestBuilder {
    site.client.post(format!("{}/outbox/publish", site.url)).bearer_auth("s3cret").body(body)
}

/// A relay that publishes only when asked: its rows came in unheard, and the sweep is far away.
async fn quiet(hint: &str, rows: usize) -> Site {
    let environment = [PUBLISH[0], ("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")];
    let site = Site::with(hint, &environment).await;
    let client = site.outbox.connect().await;
    client.batch_execute("alter table outbox.event disable trigger event_bell").await.unwrap();
    for n in 0..rows {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn it_publishes_what_waits_and_says_what_it_did() {
    let site = quiet("ask", 3).await;
    let client = site.outbox.connect().await;
    insert(&client, "a:b", "{}").await;
    let (status, answer) = ask(&site, post(&site, "{\"limit\": 100}")).await;
    assert_eq!(status, 200);
    let expected =
        serde_json::json!({"published": 3, "failed": 1, "skipped": 0, "oldestPendingSeconds": 0.0});
    assert_eq!(answer, expected);
    assert_eq!((count(&client, "published").await, count(&client, "failed").await), (3, 1));
    assert!(site.metric("wakeups_total{reason=\"request\"}").await == Some(1.0));
    let get = site.client.get(format!("{}/outbox/publish", site.url)).bearer_auth("s3cret");
    let (status, answer) = ask(&site, get).await;
    assert_eq!((status, &answer["published"]), (200, &Value::from(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_batches_publish_at_most_the_limit_in_order() {
    let site = quiet("limit", 8).await;
    let (status, answer) = ask(&site, post(&site, "{\"limit\": 3}")).await;
    assert_eq!(
        (status, &answer["published"], &answer["skipped"]),
        (200, &Value::from(3), &Value::from(0))
    );
    // What is left is the relay's own business, now that it has been woken.
    let got = site.ably.wait_for(8).await;
    assert_eq!(got.iter().map(|got| got.n()).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ably_is_away_it_answers_in_bounded_time_with_what_is_left() {
    let site = quiet("away", 2).await;
    site.ably.fault(r#"{"kind":"status","status":503,"code":50003}"#).await;
    let (status, answer) = ask(&site, post(&site, "")).await;
    assert_eq!(
        (status, &answer["published"], &answer["failed"]),
        (200, &Value::from(0), &Value::from(0))
    );
    assert_eq!(answer["skipped"], 2);
    assert!(answer["oldestPendingSeconds"].as_f64() > Some(0.0), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nobody_publishes() {
    let site = quiet("token", 1).await;
    let url = format!("{}/outbox/publish", site.url);
    for request in [
        site.client.post(&url),
        site.client.get(&url),
        site.client.post(&url).bearer_auth("wrong"),
        site.client.post(&url).bearer_auth("s3cret2"),
        site.client.post(&url).basic_auth("s3cret", None::<&str>),
        site.client.post(format!("{url}?token=s3cret")),
        // Authorised first: who may not publish learns nothing about bodies.
        site.client.post(&url).body("{"),
    ] {
        assert_eq!(ask(&site, request).await.0, 401);
    }
    let client = site.outbox.connect().await;
    assert_eq!(count(&client, "pending").await, 1);
    let off = Site::start("off").await;
    let request = off.client.post(format!("{}/outbox/publish", off.url)).bearer_auth("");
    let (status, answer) = ask(&off, request).await;
    assert!(status == 401 && answer["error"].as_str().unwrap().contains("OUTBOX_PUBLISH_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_is_refused_with_the_reason() {
    let site = Site::with("body", &PUBLISH).await;
    for (body, reason) in
        [("{", "not JSON"), ("[]", "object"), ("{\"limit\":\"x\"}", "whole number")]
    {
        let (status, answer) = ask(&site, post(&site, body)).await;
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
    }
    let large = site.client.post(format!("{}/outbox/publish", site.url)).bearer_auth("s3cret");
    assert_eq!(ask(&site, large.body("x".repeat(20_000))).await.0, 413);
    let delete = site.client.delete(format!("{}/outbox/publish", site.url)).send().await.unwrap();
    assert_eq!(delete.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_served_one_after_another_or_sent_away() {
    let site = quiet("many", 20).await;
    let asking = (0..40).map(|_| ask(&site, post(&site, "{\"limit\": 1}")));
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(|(status, _)| [200, 429].contains(status)), "{answers:?}");
    assert!(answers.iter().any(|(status, _)| *status == 200));
    site.ably.wait_for(20).await;
}
