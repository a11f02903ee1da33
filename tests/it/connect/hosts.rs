//! Several hosts, unix sockets, and which session will do.

use std::time::{Duration, Instant};

use outbox_relay::store::connect_error::ConnectErrorKind;
use tokio::net::TcpListener;

use super::cluster::{PASSWORD, STANDBY, WITH_TLS, WITHOUT_TLS, free_port};
use super::{failure, open, open_with, options, within};

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A URL of several local ports.
fn url(ports: &[u16], user: &str, query: &str) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://{user}:{}@{}/postgres?{query}", encoded(PASSWORD), hosts.join(","))
}

#[tokio::test]
async fn a_url_with_an_odd_password_connects() {
    let connected = open(&url(&[WITH_TLS.port], "writer", "")).await.unwrap();
    assert_eq!(connected.text("SELECT current_user::text").await, "writer");
    let name = connected.text("SELECT current_setting('application_name')").await;
    assert_eq!(name, "relay-test");
}

#[tokio::test]
async fn a_dead_host_is_passed_over() {
    let connected = open(&url(&[free_port(), WITH_TLS.port], "writer", "")).await.unwrap();
    assert!(connected.is_encrypted().await);
}

#[tokio::test]
async fn a_host_that_accepts_and_never_answers_costs_only_its_time() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut options = options();
    options.connect_timeout = Duration::from_millis(700);
    let started = Instant::now();
    let dsn = url(&[port, WITHOUT_TLS.port], "postgres", "");
    assert!(within(open_with(&dsn, &options, None)).await.is_ok());
    assert!(started.elapsed() >= Duration::from_millis(600), "the first host was tried");

    let alone = open_with(&url(&[port], "postgres", ""), &options, None).await.err().unwrap();
    assert_eq!(alone.kind(), ConnectErrorKind::Timeout);
    assert!(alone.is_transient());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_host_whose_backlog_is_full_times_out() {
    // The kernel drops further SYNs once the queue of a listener that nobody accepts from is full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address))
            .await
    {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 64, "the backlog is bounded");
    }
    let mut options = options();
    options.connect_timeout = Duration::from_millis(500);
    let dsn = url(&[address.port()], "postgres", "");
    let error = within(open_with(&dsn, &options, None)).await.err().unwrap();
    assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn the_host_that_can_write_is_found() {
    // The role is read-only on the first server, the second is a standby.
    let (read_only, primary) = (WITHOUT_TLS.port, WITH_TLS.port);
    for query in ["", "target_session_attrs=read-write", "load_balance_hosts=random"] {
        let found = open(&url(&[read_only, primary], "writer", query)).await.unwrap();
        assert!(found.is_encrypted().await, "only the server that can write has TLS");
    }
    let found = open(&url(&[STANDBY.port, primary], "postgres", "")).await.unwrap();
    assert_eq!(found.text("SELECT pg_is_in_recovery()::text").await, "false");
}

#[tokio::test]
async fn a_read_only_host_alone_is_refused_and_said_so() {
    let setting = failure(&url(&[WITHOUT_TLS.port], "writer", "")).await;
    assert_eq!(setting.kind(), ConnectErrorKind::ReadOnly);
    assert!(
        setting.is_transient() && setting.to_string().contains("default_transaction_read_only")
    );
    let standby = failure(&url(&[STANDBY.port], "postgres", "target_session_attrs=primary")).await;
    assert_eq!(standby.kind(), ConnectErrorKind::ReadOnly);
    assert!(standby.to_string().contains("standby"), "{standby}");

    assert!(
        open(&url(&[WITHOUT_TLS.port], "writer", "target_session_attrs=primary")).await.is_ok()
    );
    assert!(open(&url(&[STANDBY.port], "postgres", "target_session_attrs=any")).await.is_ok());
}

#[tokio::test]
async fn with_several_hosts_the_most_telling_failure_is_the_kind_and_all_are_named() {
    let dead = free_port();
    let error = failure(&url(&[STANDBY.port, dead], "postgres", "")).await;
    assert_eq!(error.kind(), ConnectErrorKind::ReadOnly);
    let line = error.to_string();
    assert!(line.contains(&format!("127.0.0.1:{dead}: ")) && line.contains("standby"), "{line}");
}

#[tokio::test]
async fn a_refusal_that_all_hosts_share_is_final() {
    // The second host would never answer; it is not asked.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [WITH_TLS.port, mute.local_addr().unwrap().port()];
    let error = failure(&url(&ports, "nobody_here", "")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert!(!error.to_string().contains(&ports[1].to_string()), "{error}");
}

#[tokio::test]
async fn unix_sockets_are_reached_by_every_spelling() {
    let directory = WITH_TLS.directory.to_str().unwrap();
    let port = WITH_TLS.port;
    for dsn in [
        format!("host={directory} port={port} user=postgres dbname=app/two"),
        format!("postgres://postgres@{}:{port}/app%2Ftwo", encoded(directory)),
        format!("postgres:///app%2Ftwo?host={directory}&port={port}&user=postgres"),
        format!("postgres://postgres@elsewhere:{port}/app%2Ftwo?host={directory}"),
        format!("host={directory} port={port} user=postgres dbname=app/two sslmode=verify-full"),
    ] {
        let connected = open(&dsn).await.unwrap_or_else(|e| panic!("{dsn}: {e}"));
        assert_eq!(connected.text("SELECT current_database()::text").await, "app/two");
        let peer = connected.text("SELECT coalesce(inet_client_addr()::text, 'socket')").await;
        assert_eq!(peer, "socket", "{dsn}");
    }
    let missing = failure(&format!("host={directory} port={} user=postgres", free_port())).await;
    assert_eq!(missing.kind(), ConnectErrorKind::Refused);
}
