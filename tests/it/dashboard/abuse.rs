//! Many tabs, odd paths, odd bodies.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::support::local_ably::LIMIT;

async fn raw(site: &Site) -> TcpStream {
    TcpStream::connect(site.url.trim_start_matches("http://")).await.expect("a connection")
}

async fn answer(site: &Site, request: &str) -> String {
    let mut stream = raw(site).await;
    // It may hang up in the middle.
    _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tabs_are_bounded_and_disturb_neither_probes_nor_publishing() {
    let site = Site::start("tabs", &[]).await;
    let client = site.outbox.connect().await;
    let mut tabs = Vec::new();
    for _ in 0..1_000 {
        let mut tab = raw(&site).await;
        tab.write_all(b"GET /dashboard/api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        tabs.push(tab);
        if tabs.len() % 100 == 0 {
            let begun = Instant::now();
            let probe = site.client.get(format!("{}/readyz", site.url)).send().await.unwrap();
            assert_eq!(probe.status(), 200);
            assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
            insert(&client, "a", &format!("{{\"n\":{}}}", tabs.len())).await;
            site.ably.wait_for(tabs.len() / 100).await;
        }
    }
    // The newest live on, all others have been sent away.
    let (mut living, mut heard) = (0, Vec::new());
    for tab in tabs.iter_mut().rev().take(100) {
        let mut some = [0; 64 * 1024];
        let mut open = false;
        // Whatever has arrived is read until there is silence, or the end.
        while let Ok(Ok(read)) =
            tokio::time::timeout(Duration::from_millis(50), tab.read(&mut some)).await
        {
            open = read > 0;
            if read == 0 {
                break;
            }
            heard.extend_from_slice(&some[..read]);
            open = true;
            if heard.len() > 4 * 1024 * 1024 {
                break;
            }
        }
        living += usize::from(open);
    }
    assert!((1..=32).contains(&living), "{living} streams at a time");
    assert!(String::from_utf8_lossy(&heard).contains("event: now"));
    assert!(site.relay.peak_memory() < 64, "{} MiB", site.relay.peak_memory());
    assert!(site.relay.complaints().is_empty(), "{:?}", site.relay.complaints());
    drop(tabs);
    assert_eq!(site.relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_lead_nowhere() {
    let site = Site::start("paths", &[]).await;
    let long = format!("/dashboard/assets/{}", "a".repeat(6_000));
    for path in [
        "/dashboard/../..",
        "/dashboard/../../etc/passwd",
        "/dashboard/%2e%2e/%2e%2e/etc/passwd",
        "/dashboard/assets/../../../Cargo.toml",
        "/dashboard/assets/..%2f..%2fCargo.toml",
        "/dashboard/assets/%00app.js",
        "/dashboard/assets/app.js%00",
        "/dashboard//",
        "/dashboard//assets/app.js",
        "/dashboard/assets//app.js",
        "/dashboard/assets/",
        "/dashboard/api/../assets/app.js",
        "/dashboard/api/nothing",
        "//dashboard/",
        &long,
    ] {
        let said = answer(&site, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 404"), "{path:.60}: {said:.200}");
    }
    let said = answer(&site, "GET /dashboard HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 308") && said.contains("location: /dashboard/"), "{said}");
    for path in ["/dashboard/\0", &format!("/dashboard/{}", "a".repeat(100_000))] {
        let said = answer(&site, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert!(!said.starts_with("HTTP/1.1 200"), "{said:.200}");
    }
    let said =
        answer(&site, "DELETE /dashboard/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said:.200}");
    assert_eq!(site.get("session").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_questions_and_orders_are_refused_with_the_reason() {
    let site = Site::acting("odd").await;
    for (path, status, text) in [
        ("events?status=lost", 400, "status is pending"),
        ("events?before=x", 400, "before"),
        ("events?unknown=1", 400, "unknown"),
        ("events?tenant=%00", 400, "NUL"),
        ("events?ago=-1", 400, "ago"),
        ("events/x", 400, "whole number"),
        ("events/99999999999999999999", 400, "whole number"),
        ("events/12", 404, "no event"),
        ("events/12/payload", 404, "no event"),
        ("history?span=1y", 400, "10m or 6h"),
        ("holds?after=%00", 400, "NUL"),
    ] {
        let (found, said) = site.get(path).await;
        assert_eq!(found, status, "{path}: {said}");
        assert!(said["error"].as_str().unwrap().contains(text), "{path}: {said}");
        assert!(said["remedy"].is_string());
    }
    for (path, body, text) in [
        ("requeue", json!({}), "either events or a filter"),
        ("requeue", json!({ "seqs": [1], "filter": {} }), "either events or a filter"),
        ("requeue", json!({ "filter": { "tenant": "\0" } }), "NUL"),
        ("requeue", json!({ "filter": {}, "operation": "x" }), "operation"),
        ("requeue", json!({ "seqs": vec![1; 501] }), "too many"),
        ("requeue", json!({ "filter": {}, "evil": true }), "evil"),
        ("requeue", json!([]), "not what is wanted"),
        ("discard", json!({ "filter": {} }), "say why"),
        ("discard", json!({ "filter": {}, "reason": "a\nb" }), "one line"),
        ("discard", json!({ "filter": {}, "reason": "x".repeat(501) }), "500 characters"),
        ("pause", json!({ "scope": "world" }), "of all, of a tenant"),
        ("pause", json!({ "scope": "all", "target": "x" }), "of all, of a tenant"),
        ("pause", json!({ "scope": "all", "seconds": 0 }), "a second to a year"),
        ("release", json!({}), "tenant"),
    ] {
        let (found, said) = site.post(path, &body).await;
        assert_eq!(found, 400, "{path} {body:.60}: {said}");
        assert!(said["error"].as_str().unwrap().contains(text), "{path}: {said}");
    }
    let large = json!({ "filter": { "tenant": "x".repeat(20_000) } });
    let (status, said) = site.post("requeue", &large).await;
    assert_eq!(status, 400, "{said}");
    assert!(said["error"].as_str().unwrap().contains("limit"), "{said}");
    assert_eq!(site.post("release", &json!({ "tenant": "nobody" })).await.1["changed"], false);
}
