//! Clients that are slow, many, wrong or curious.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::support::outbox::insert;

async fn raw(site: &Site) -> TcpStream {
    TcpStream::connect(site.url.trim_start_matches("http://")).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_nobody_up_and_are_sent_away() {
    let site = Site::start("slow").await;
    let client = site.outbox.connect().await;
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = raw(&site).await;
        if n % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.").await.unwrap();
        }
        slow.push(stream);
    }
    // All places are taken, and yet a probe is answered, and events flow.
    let begun = Instant::now();
    assert_eq!(site.get("/livez").await.0, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    insert(&client, "a", "{\"n\":1}").await;
    site.ably.wait_for(1).await;
    for mut stream in slow {
        let mut answer = Vec::new();
        let end = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "it was cut off");
    }
    assert!(site.relay.complaints().is_empty(), "{:?}", site.relay.complaints());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_odd_paths_are_refused_and_the_relay_goes_on() {
    let site = Site::start("nonsense").await;
    for (request, status) in [
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET /%2e%2e/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET //livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
    ] {
        let mut stream = raw(&site).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
    }
    let mut stream = raw(&site).await;
    let head =
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    // It may hang up in the middle.
    _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(site.get("/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_metrics_and_details_want_it_and_probes_do_not() {
    let site = Site::with("guarded", &[("OUTBOX_RELAY_HTTP_TOKEN", TOKEN)]).await;
    assert_eq!(site.get("/metrics").await.0, 401);
    assert_eq!(site.get("/readyz?verbose").await.0, 401);
    assert_eq!((site.get("/readyz").await.0, site.get("/livez").await.0), (200, 200));
    let with = site.client.get(format!("{}/metrics", site.url)).bearer_auth(TOKEN);
    let response = with.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_needs_a_token_and_a_taken_one_is_told() {
    let (outbox, ably) =
        (Outbox::create("open").await, LocalAbly::with(EmulatorConfig::default()).await);
    let start = |listen: &str| {
        let command = RelayCommand::new(&outbox.database.dsn(), &ably);
        command.env("OUTBOX_RELAY_HTTP_LISTEN", listen).start()
    };
    let mut open = start("0.0.0.0:0");
    assert_eq!(open.wait(), Some(78));
    open.wait_for_log("http.token is not set", 1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut second = start(&taken.local_addr().unwrap().to_string());
    assert_eq!(second.wait(), Some(69));
    second.wait_for_log("cannot listen on 127.0.0.1:", 1);
}

/// Lets so many events through, one after the other; how long one takes from commit to acceptance on average, in ms.
async fn mean_latency(site: &Site, events: u32) -> f64 {
    let client = site.outbox.connect().await;
    let read = async |name: &str| {
        let request = site.client.get(format!("{}/metrics", site.url)).bearer_auth(TOKEN);
        // Whoever asks while all places are taken may have to ask again.
        loop {
            let answer = request.try_clone().unwrap().timeout(LIMIT).send().await;
            if let Ok(answer) = answer
                && let Ok(text) = answer.text().await
                && let Some(value) = metric(&text, name)
            {
                return value;
            }
        }
    };
    let (count, sum) = ("commit_to_accepted_seconds_count", "commit_to_accepted_seconds_sum");
    let (before, begun) = (read(count).await, read(sum).await);
    for n in 0..events {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let done = async {
        while read(count).await < before + f64::from(events) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, done).await.expect("all are published");
    (read(sum).await - begun) / f64::from(events) * 1_000.0
}

/// Wrong tokens, bodies of a megabyte, odd paths, heads that never end: as fast as they can, until it is over.
async fn attack(url: String, kind: usize, answers: Arc<AtomicU64>) {
    let client = http();
    let big = "x".repeat(1 << 20);
    let mut slow = tokio::task::JoinSet::new();
    loop {
        let request = match kind {
            0 => client.get(format!("{url}/metrics")).bearer_auth("wrong-token-of-somebody"),
            1 => client.post(format!("{url}/outbox/publish")).bearer_auth(TOKEN).body(big.clone()),
            2 => client.get(format!("{url}/%2e%2e/%2e%2e/etc/passwd?{}", &big[..4_000])),
            _ => {
                let mut stream =
                    TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
                _ = stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                // Left open: the next one needs its place.
                slow.spawn(async move {
                    _ = stream.read_to_end(&mut Vec::new()).await;
                });
                continue;
            }
        };
        if request.timeout(LIMIT).send().await.is_ok() {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_clients_attack_events_go_out_as_ever_and_memory_stays() {
    let guarded = [("OUTBOX_RELAY_HTTP_TOKEN", TOKEN), ("OUTBOX_PUBLISH_TOKEN", TOKEN)];
    let site = Site::with("attack", &guarded).await;
    let calm = mean_latency(&site, 200).await;
    let memory = site.relay.peak_memory();
    let answers = Arc::default();
    let mut attackers = tokio::task::JoinSet::new();
    for n in 0..16 {
        attackers.spawn(attack(site.url.clone(), n % 4, Arc::clone(&answers)));
    }
    let begun = Instant::now();
    let attacked = mean_latency(&site, 200).await;
    let took = begun.elapsed().as_secs_f64();
    attackers.shutdown().await;
    let (grown, answers) = (site.relay.peak_memory() - memory, answers.load(Ordering::Relaxed));
    eprintln!(
        "calm {calm:.1} ms, attacked {attacked:.1} ms by {answers} answers in {took:.1} s; {grown} MiB more"
    );
    assert!(answers > 100, "{answers} requests are no attack");
    // The service objective: attackers, emulator and PostgreSQL share the machine with the relay, and other tests do.
    assert!(attacked < 5_000.0, "{calm} ms before, {attacked} ms during the attack");
    assert!(grown < 32, "{grown} MiB more than {memory}");
    assert_eq!(site.get("/livez").await.0, 200);
    assert!(site.relay.complaints().is_empty(), "{:?}", site.relay.complaints());
}
