//! Hosts that fail, and what they cannot make the client do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox_relay::ably::{BatchMode, Client, ClientConfig};
use outbox_relay::domain::failure::FailureClass;

use super::server::{Reply, Request, Server, accept, bytes, json};
use super::{SECRET, client, config, soon, spec, specs};

/// A URL where nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn another_host_gets_the_very_same_bytes_and_is_preferred_from_then_on() {
    let primary = Server::start(|_| json(503, "<html>")).await;
    let fallback = Server::start(accept).await;
    let client = client(&[&primary, &fallback]);
    for round in 1..=3 {
        assert!(soon(client.publish(&specs(2))).await.iter().all(Result::is_ok));
        assert_eq!((primary.requests().len(), fallback.requests().len()), (1, round));
    }
    let (sent, again) = (&primary.requests()[0], &fallback.requests()[0]);
    assert_eq!(sent.body, again.body);
    assert_eq!(sent.path, again.path);
    assert_eq!(again.header("host"), Some(fallback.url().trim_start_matches("http://")));
}

#[tokio::test]
async fn a_preferred_host_that_fails_gives_way_to_the_primary() {
    let up = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&up);
    let turns = |up: bool, request: &_| if up { accept(request) } else { json(500, "") };
    let primary = Server::start(move |request| turns(!flag.load(Ordering::SeqCst), request)).await;
    let flag = Arc::clone(&up);
    let fallback = Server::start(move |request| turns(flag.load(Ordering::SeqCst), request)).await;
    let client = client(&[&primary, &fallback]);
    for (fallback_is_up, asked) in [(true, (1, 1)), (false, (2, 2)), (false, (3, 2))] {
        up.store(fallback_is_up, Ordering::SeqCst);
        assert!(soon(client.publish(&[spec("a")])).await[0].is_ok());
        assert_eq!((primary.requests().len(), fallback.requests().len()), asked);
    }
}

#[tokio::test]
async fn silence_reset_a_closed_port_and_half_an_answer_lead_to_another_host() {
    let half = bytes(201, "", r#"{"channel":"tenant:a","messageId":"m"}"#);
    let half = half[..half.len() - 5].to_vec();
    for trouble in ["silence", "reset", "half", "drip", "edge"] {
        let half = half.clone();
        let primary = Server::start(move |_| match trouble {
            "silence" => Reply::Silence,
            "reset" => Reply::Reset,
            "half" => Reply::Cut(half.clone()),
            "drip" => Reply::Drip(half.clone()),
            _ => Reply::Raw(bytes(403, "Server: CloudFront\r\n", "<html>")),
        })
        .await;
        let fallback = Server::start(accept).await;
        let results = soon(client(&[&primary, &fallback]).publish(&[spec("a")])).await;
        assert!(results[0].is_ok(), "{trouble}: {results:?}");
        assert_eq!((primary.requests().len(), fallback.requests().len()), (1, 1), "{trouble}");
    }
    let closed = closed_port();
    let fallback = Server::start(accept).await;
    let client = Client::new(config(&closed, &[&fallback.url()])).unwrap();
    assert!(soon(client.publish(&[spec("a")])).await[0].is_ok());
}

#[tokio::test]
async fn refusals_do_not_lead_to_another_host() {
    for (status, headers) in [
        (400, ""),
        (401, ""),
        (404, ""),
        (413, ""),
        (429, ""),
        (429, "Server: CloudFront\r\nX-Ably-ErrorCode: 42922\r\n"),
    ] {
        let primary = Server::start(move |_| Reply::Raw(bytes(status, headers, "<html>"))).await;
        let fallback = Server::start(accept).await;
        let results = soon(client(&[&primary, &fallback]).publish(&[spec("a")])).await;
        assert_eq!(results[0].as_ref().unwrap_err().status, Some(status));
        assert!(fallback.requests().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(accept).await;
    let location = format!("Location: {}/channels/x/messages\r\n", elsewhere.url());
    let server = Server::start(move |_| Reply::Raw(bytes(307, &location, ""))).await;
    let results = soon(client(&[&server]).publish(&[spec("a")])).await;
    assert_eq!(results[0].as_ref().unwrap_err().class, FailureClass::Outage);
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn an_answer_byte_by_byte_ends_with_the_requests_time() {
    let answer = bytes(201, "", &format!(r#"{{"messageId":"{}"}}"#, "m".repeat(500)));
    let server = Server::start(move |_| Reply::Drip(answer.clone())).await;
    let started = Instant::now();
    let results = soon(client(&[&server]).publish(&specs(2))).await;
    assert!((400..2_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    for result in results {
        assert_eq!(result.unwrap_err().class, FailureClass::Outage);
    }
}

#[tokio::test]
async fn all_hosts_together_take_no_longer_than_the_whole_may() {
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(Server::start(|_| Reply::Silence).await);
    }
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let fallbacks: Vec<&str> = urls[1..].iter().map(String::as_str).collect();
    let config = ClientConfig {
        retry_duration_max: Duration::from_millis(1_000),
        batch: BatchMode::Off,
        ..config(&urls[0], &fallbacks)
    };
    let client = Client::new(config).unwrap();
    let started = Instant::now();
    // 400 + 400 + 200 ms, though there are four hosts to ask and twenty specs, eight at once.
    let results = soon(client.publish(&specs(20))).await;
    assert!((1_000..2_500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    for result in &results {
        assert_eq!(result.as_ref().unwrap_err().class, FailureClass::Outage);
    }
    let text = results[0].as_ref().unwrap_err().to_string();
    assert_eq!(
        text,
        format!("{} did not answer: no answer within 400 ms (nor did 2 other hosts)", urls[0])
    );
    let last = results[19].as_ref().unwrap_err().to_string();
    assert_eq!(last, "the time for this publish was over before it was sent");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let announced = b"HTTP/1.1 201 X\r\nContent-Length: 99999999999\r\n\r\n{".to_vec();
    let mut chunked = b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    for body in [announced, chunked] {
        let server = Server::start(move |_| Reply::Raw(body.clone())).await;
        let results = soon(client(&[&server]).publish(&specs(2))).await;
        let failure = results[0].as_ref().unwrap_err();
        assert_eq!(failure.class, FailureClass::Outage);
        assert!(failure.message.contains("too large"), "{failure}");
    }
}

#[tokio::test]
async fn what_went_wrong_is_said_with_its_cause_and_without_the_channel() {
    let closed = closed_port();
    let client = Client::new(config(&closed, &[])).unwrap();
    let text = soon(client.publish(&[spec("confidential")])).await.remove(0).unwrap_err();
    let text = text.to_string();
    assert!(text.starts_with(&format!("{closed} did not answer: could not connect: ")), "{text}");
    assert!(text.contains("refused") && !text.contains("confidential"), "{text}");
}

#[tokio::test]
async fn the_secret_is_nowhere_even_if_the_server_repeats_it() {
    let text = |request: &Request| {
        let sent = request.header("authorization").unwrap_or_default().replace("Basic ", "");
        format!(r#"{{"error":{{"code":40101,"message":"no key {SECRET} of {sent}"}}}}"#)
    };
    let json_echo = Server::start(move |request| json(401, &text(request))).await;
    let header_echo = Server::start(move |request| {
        let sent = request.header("authorization").unwrap_or_default();
        Reply::Raw(bytes(401, &format!("X-Ably-ErrorMessage: {sent} {SECRET}\r\n"), ""))
    })
    .await;
    let garbage = Server::start(|_| Reply::Cut(format!("{SECRET}\r\n\r\n").into_bytes())).await;
    for server in [&json_echo, &header_echo, &garbage] {
        let config = config(&server.url(), &[]);
        let mut seen = format!("{config:?}");
        let client = Client::new(config).unwrap();
        for count in [1, 2] {
            for result in soon(client.publish(&specs(count))).await {
                let failure = result.unwrap_err();
                seen += &format!("{failure} {failure:?}");
            }
        }
        seen += &format!("{client:?} {:?}", soon(client.time()).await);
        assert!(!seen.contains(SECRET), "{seen}");
        assert!(!seen.contains("YXBwLmtleT"), "{seen}");
    }
}
