//! The driver: notices, ends, and peers that are dead or half dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox_relay::store::driver::notices;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cluster::{WITH_TLS, WITHOUT_TLS};
use super::{open, open_with, options, within};

#[tokio::test]
async fn notices_arrive_through_the_driver() {
    let (sender, mut receiver) = notices();
    let listener = open_with(&WITH_TLS.dsn("writer", "sslmode=require"), &options(), Some(sender))
        .await
        .unwrap();
    listener.client.batch_execute("LISTEN bell").await.unwrap();
    let writer = open(&WITH_TLS.dsn("writer", "")).await.unwrap();
    writer.client.batch_execute("NOTIFY bell, 'one'").await.unwrap();
    let notice = within(receiver.recv()).await.unwrap();
    assert_eq!((notice.channel.as_str(), notice.payload.as_str()), ("bell", "one"));

    drop(listener.client);
    assert_eq!(within(receiver.recv()).await, None, "the driver ended with its client");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up() {
    let (sender, mut receiver) = notices();
    let listener =
        open_with(&WITHOUT_TLS.dsn("postgres", ""), &options(), Some(sender)).await.unwrap();
    listener.client.batch_execute("LISTEN flood").await.unwrap();
    // 80 MB of different notifications: far more than socket buffers hold.
    let flood =
        "SELECT pg_notify('flood', i || repeat('x', 7900)) FROM generate_series(1, 10000) i";
    let writer = open(&WITHOUT_TLS.dsn("postgres", "")).await.unwrap();
    within(writer.client.batch_execute(flood)).await.unwrap();
    within(writer.client.batch_execute("NOTIFY flood, 'last'")).await.unwrap();
    // The listener's own query comes through behind all of them, and the server's queue is empty again.
    assert_eq!(listener.text("SELECT 'through'").await, "through");
    let usage = "SELECT (pg_notification_queue_usage() < 0.001)::text";
    assert_eq!(listener.text(usage).await, "true");
    assert!(within(receiver.recv()).await.unwrap().payload.starts_with("1x"));
}

#[tokio::test]
async fn a_terminated_session_ends_the_driver_with_an_error() {
    let mut victim = open(&WITH_TLS.dsn("writer", "")).await.unwrap();
    let pid = victim.text("SELECT pg_backend_pid()::text").await;
    let other = open(&WITH_TLS.dsn("writer", "")).await.unwrap();
    assert_eq!(other.text(&format!("SELECT pg_terminate_backend({pid})::text")).await, "true");
    let ended = within(victim.driver.join_next()).await.unwrap().unwrap();
    assert!(ended.is_err());
    assert!(victim.client.is_closed());
}

#[tokio::test]
async fn dropping_the_driver_closes_the_socket_and_fails_what_waits() {
    let mut dropped = open(&WITH_TLS.dsn("writer", "")).await.unwrap();
    let pid = dropped.text("SELECT pg_backend_pid()::text").await;
    let client = Arc::new(dropped.client);
    let mut waiting = JoinSet::new();
    let asking = Arc::clone(&client);
    waiting.spawn(async move { asking.batch_execute("SELECT pg_sleep(60)").await });
    let other = open(&WITH_TLS.dsn("writer", "")).await.unwrap();
    let sleeps = format!(
        "SELECT count(*)::text FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
    );
    within(async { while other.text(&sleeps).await != "1" {} }).await;

    dropped.driver.abort_all();
    assert!(within(waiting.join_next()).await.unwrap().unwrap().is_err());
    assert!(client.is_closed());
    let _ = within(dropped.driver.join_next()).await;
}

/// The kernel's timer of our end of a connection, as `/proc/net/tcp` shows it: kind and seconds left.
#[cfg(target_os = "linux")]
fn socket_timer(local_port: u16) -> (u8, f64) {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!(":{local_port:04X}");
    let line = table
        .lines()
        .find(|line| {
            line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local))
        })
        .expect("our socket");
    let (kind, left) = line.split_whitespace().nth(5).unwrap().split_once(':').unwrap();
    let ticks = u32::from_str_radix(left, 16).unwrap();
    (u8::from_str_radix(kind, 16).unwrap(), f64::from(ticks) / 100.0)
}

#[tokio::test]
async fn both_ends_probe_a_silent_connection_soon() {
    let shown = "SELECT concat_ws(',', current_setting('tcp_keepalives_idle'), \
                 current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count'), \
                 current_setting('tcp_user_timeout'))";
    let ours = open(&WITH_TLS.dsn("writer", "keepalives_idle=17")).await.unwrap();
    assert_eq!(ours.text(shown).await, "17,5,3,15000");
    #[cfg(target_os = "linux")]
    {
        let port = ours.text("SELECT inet_client_port()::text").await.parse().unwrap();
        let keepalive = async {
            loop {
                // 1 is the retransmission timer, while the last answer is being acknowledged.
                let (kind, left) = socket_timer(port);
                if kind == 2 {
                    break left;
                }
                tokio::task::yield_now().await;
            }
        };
        let left = within(keepalive).await;
        assert!(left > 10.0 && left <= 17.1, "next probe in {left} s");
    }
    // Behind a transaction pooler a SET would stick to a session of somebody else.
    let pooled = open(&WITH_TLS.dsn("writer", "pgbouncer=true")).await.unwrap();
    assert_ne!(pooled.text(shown).await, "20,5,3,15000");
}

/// A proxy to `port` that passes bytes until told to stop, and then keeps its sockets open without reading.
async fn proxy(port: u16) -> (u16, watch::Sender<bool>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().port();
    let (stop, mut stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => return,
            // Dropping the sender counts as a stop as well.
            () = async { drop(stopped.changed().await) } => {}
        }
        std::future::pending::<()>().await;
    });
    (local, stop, tasks)
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_noticed_by_the_socket_when_its_buffers_are_full() {
    let (port, stop, _proxy) = proxy(WITHOUT_TLS.port).await;
    let mut options = options();
    options.tcp_user_timeout = Duration::from_millis(1_000);
    let dsn = WITHOUT_TLS.dsn("postgres", &format!("port={port} host=127.0.0.1"));
    let through = open_with(&dsn, &options, None).await.unwrap();
    stop.send(true).unwrap();
    let started = Instant::now();
    // One message, far larger than both kernels' buffers.
    let large = format!("SELECT 1 -- {}", "x".repeat(64 << 20));
    assert!(within(through.client.batch_execute(&large)).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_peer_that_acknowledges_and_never_answers_is_noticed_only_by_a_deadline() {
    // Its kernel acknowledges the query and answers the keepalives, so no socket option can see it. This
    // is why every statement has a deadline and the listener a canary.
    let (port, stop, _proxy) = proxy(WITHOUT_TLS.port).await;
    let mut options = options();
    options.tcp_user_timeout = Duration::from_millis(200);
    options.keepalive_idle = Duration::from_secs(1);
    options.keepalive_interval = Duration::from_secs(1);
    options.keepalive_count = 1;
    let dsn = WITHOUT_TLS.dsn("postgres", &format!("port={port} host=127.0.0.1"));
    let mut through = open_with(&dsn, &options, None).await.unwrap();
    stop.send(true).unwrap();
    let small = through.client.query("SELECT 1", &[]);
    let result = tokio::time::timeout(Duration::from_millis(3_500), small).await;
    assert!(result.is_err(), "the deadline passed, and nothing else had noticed");
    // What the caller does then: the driver goes, and everything on the connection fails at once.
    through.driver.shutdown().await;
    assert!(within(through.client.query("SELECT 1", &[])).await.is_err());
}
