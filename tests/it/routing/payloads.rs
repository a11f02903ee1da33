//! Payloads that are too large for a message: a signed link in the message, the payload from the relay.

use std::time::Duration;

use outbox_relay::domain::payload_link::PayloadLinks;

use super::*;
use crate::support::local_ably::{LIMIT, http};

const SECRET: &str = "thirty-two-characters-or-more-of-chance";

const BY_REFERENCE: [(&str, &str); 4] = [
    ("OUTBOX_RELAY_MESSAGE_OVERSIZE", "reference"),
    ("OUTBOX_RELAY_PAYLOAD_URL", "http://links.example/x/"),
    ("OUTBOX_RELAY_PAYLOAD_SECRET", SECRET),
    ("OUTBOX_RELAY_HTTP_LISTEN", "127.0.0.1:0"),
];

/// A relay that publishes links, and where it answers.
fn start(site: &Site) -> (RelayProcess, String) {
    let relay = site.relay(&BY_REFERENCE);
    relay.wait_for_log("answering on", 1);
    let log = relay.log();
    let address = log.iter().find_map(|line| line["address"].as_str()).expect("an address");
    (relay, format!("http://{address}"))
}

/// An event whose payload has so many characters; its id.
async fn insert_large(site: &Site, characters: i32) -> String {
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) values \
               ('a', 'Task', 't-1', 'k.task.done', jsonb_build_object('text', repeat('ü', $1))) returning id";
    site.client.query_one(sql, &[&characters]).await.unwrap().get(0)
}

/// The path of a message's link.
fn path(got: &Got) -> String {
    let link = got.envelope["payload"]["payloadRef"].as_str().expect("a link");
    link.strip_prefix("http://links.example/x").expect("the URL of the settings").to_owned()
}

async fn get(url: &str, path: &str) -> reqwest::Response {
    // As through a proxy: under the name that links have.
    let request = http().get(format!("{url}{path}")).header("host", "links.example");
    request.timeout(LIMIT).send().await.expect("an answer")
}

async fn refused(url: &str, path: &str) -> (u16, String) {
    let response = get(url, path).await;
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_too_large_is_a_link_to_exactly_it() {
    let site = Site::new("reference").await;
    let (relay, url) = start(&site);
    let id = insert_large(&site, 100_000).await;
    site.insert("k", 7).await;
    let got = site.ably.wait_for(2).await;
    assert_eq!((got[0].id(), got[1].n()), (id.as_str(), 7), "in order with the others");
    assert_eq!(got[0].envelope["payload"].as_object().unwrap().len(), 1);
    let response = get(&url, &path(&got[0])).await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "application/json"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let expected: String = site
        .client
        .query_one("select payload::text from outbox.event where id = $1", &[&id])
        .await
        .unwrap()
        .get(0);
    assert!(response.text().await.unwrap() == expected, "byte for byte");
    assert!(!relay.log().iter().any(|line| line.to_string().contains(SECRET)));
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_nothing_else_and_not_for_ever() {
    let site = Site::new("links").await;
    let (relay, url) = start(&site);
    let (id, other) = (insert_large(&site, 100_000).await, insert_large(&site, 100_001).await);
    let got = site.ably.wait_for(2).await;
    let good = path(&got[0]);
    let (plain, signature) = good.split_once("&signature=").unwrap();
    for forged in [
        format!("/events/{id}/payload"),
        plain.to_owned(),
        format!("{plain}&signature="),
        format!("{plain}&signature={}", signature.chars().rev().collect::<String>()),
        good.replace(&id, &other),
        good.replace("expires=", "expires=9"),
        good.replace("expires=", "expires=x"),
    ] {
        let (status, text) = refused(&url, &forged).await;
        assert!(status == 403 && text.contains("error"), "{forged}: {status} {text}");
    }
    // Made with the same secret: by an earlier relay, and for an event that is not there.
    let links = PayloadLinks::new("", SECRET.into(), Duration::from_secs(60));
    let (status, text) = refused(&url, &links.link(&id, 1_700_000_000)).await;
    assert!(status == 403 && text.contains("expired"), "{status} {text}");
    let (status, text) = refused(&url, &links.link("nobody", 4_000_000_000)).await;
    assert!(status == 404 && text.contains("no such event"), "{status} {text}");
    let other_secret = PayloadLinks::new("", "x".repeat(32).into(), Duration::from_secs(60));
    assert_eq!(refused(&url, &other_secret.link(&id, 4_000_000_000)).await.0, 403);
    site.all_published().await;
    let scrub =
        "update outbox.event set payload = '{\"scrubbed\": true}', headers = null where id = $1";
    site.client.execute(scrub, &[&id]).await.unwrap();
    let (status, text) = refused(&url, &good).await;
    assert!(status == 410 && text.contains("taken out"), "{status} {text}");
    assert_eq!(get(&url, &path(&got[1])).await.status(), 200);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_streams_through_little_memory() {
    let site = Site::new("stream").await;
    let (relay, url) = start(&site);
    insert_large(&site, 24_000_000).await;
    let got = site.ably.wait_for(1).await;
    let before = relay.peak_memory();
    let mut response = get(&url, &path(&got[0])).await;
    assert_eq!(response.status(), 200);
    let (mut bytes, mut last) = (0, 0);
    while let Some(chunk) = response.chunk().await.unwrap() {
        bytes += chunk.len();
        last = *chunk.last().unwrap();
    }
    assert_eq!((bytes, last), (2 * 24_000_000 + "{\"text\": \"\"}".len(), b'}'));
    let after = relay.peak_memory();
    assert!(after < before + 16, "{before} MiB before, {after} MiB after 48 MB");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_it_fails_and_no_link_opens_anything() {
    let site = Site::new("no_reference").await;
    let relay = site.relay(&[BY_REFERENCE[3], BY_REFERENCE[2]]);
    relay.wait_for_log("answering on", 1);
    let id = insert_large(&site, 100_000).await;
    wait_until(
        &site.client,
        "select coalesce(error ->> 'code' = 'PAYLOAD_TOO_LARGE', false) from outbox.event",
    )
    .await;
    let log = relay.log();
    let address = log.iter().find_map(|line| line["address"].as_str()).unwrap();
    let links = PayloadLinks::new("", SECRET.into(), Duration::from_secs(60));
    let (status, _) = refused(&format!("http://{address}"), &links.link(&id, 4_000_000_000)).await;
    assert_eq!(status, 404);
    let mut relay = site.relay(&BY_REFERENCE[..1]);
    assert_eq!(relay.wait(), Some(78), "it lacks URL and secret");
    for name in ["payload.url", "payload.secret"] {
        assert!(relay.log().iter().any(|line| line.to_string().contains(name)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_link_has_the_headers_of_any_other() {
    let site = Site::new("linkheaders").await;
    let mut settings = BY_REFERENCE.to_vec();
    settings.push(("OUTBOX_RELAY_MESSAGE_HEADERS", "on"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, traceparent) values \
               ('a', 'Task', 't-1', 'k.task.done', jsonb_build_object('n', $1::int8, 'text', repeat('x', $2)), '{\"region\": \"eu\"}', $3)";
    // The second is larger than what a claim reads at all; with the last they could be a group.
    for (n, characters) in [(0_i64, 70_000), (1, 20_000_000), (2, 1)] {
        site.client.execute(sql, &[&n, &characters, &trace]).await.unwrap();
    }
    let relay = site.relay(&settings);
    let got = site.ably.wait_for(3).await;
    let links = got.iter().filter(|one| one.envelope["payload"]["payloadRef"].is_string());
    assert_eq!(links.count(), 2);
    let expected = json!({ "headers": {
        "eventType": "k.task.done", "aggregateType": "Task", "aggregateId": "t-1", "traceparent": trace, "region": "eu",
    } });
    for message in site.ably.accepted_whole().await {
        assert_eq!(message["extras"], expected, "{}", message["id"]);
    }
    assert_eq!(relay.terminate(), Some(0));
}
