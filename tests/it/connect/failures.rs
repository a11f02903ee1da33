//! Every kind of failure, from real servers where they can be made to fail so, and else from a peer that says
//! on the wire what they would say.

use outbox_relay::store::connect_error::{ConnectErrorKind, TlsProblem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::cluster::{WITH_TLS, free_port};
use super::{failure, within};

#[tokio::test]
async fn wrong_credentials_and_names_are_told_apart() {
    let dsn = |user: &str, more: &str| WITH_TLS.dsn(user, more);
    for (dsn, kind, sqlstate, said) in [
        (
            dsn("writer", "password=wrong"),
            ConnectErrorKind::Authentication,
            Some("28P01"),
            "password authentication failed",
        ),
        (
            dsn("writer", "password=''"),
            ConnectErrorKind::Authentication,
            None,
            "the connection string has none",
        ),
        (
            dsn("writer", "dbname=nowhere"),
            ConnectErrorKind::DatabaseMissing,
            Some("3D000"),
            "\"nowhere\" does not exist",
        ),
        (
            dsn("crowded", ""),
            ConnectErrorKind::TooManyConnections,
            Some("53300"),
            "too many connections",
        ),
        (
            dsn("writer", "options='-c nonsense=1'"),
            ConnectErrorKind::Other,
            Some("42704"),
            "nonsense",
        ),
        (
            format!("postgres://u@127.0.0.1:{}/d", free_port()),
            ConnectErrorKind::Refused,
            None,
            "refused",
        ),
        (
            "postgres://u@does-not-exist.invalid/d".to_owned(),
            ConnectErrorKind::Dns,
            None,
            "does-not-exist.invalid:5432: ",
        ),
    ] {
        let error = within(failure(&dsn)).await;
        assert_eq!((error.kind(), error.sqlstate()), (kind, sqlstate), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        let transient = matches!(
            kind,
            ConnectErrorKind::TooManyConnections
                | ConnectErrorKind::Refused
                | ConnectErrorKind::Dns
        );
        assert_eq!(error.is_transient(), transient, "{error}");
    }
}

/// A server that answers the start-up message with `bytes` and hangs up.
async fn peer(bytes: Vec<u8>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut startup = [0; 512];
            let _ = stream.read(&mut startup).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, tasks)
}

/// An ErrorResponse of the protocol.
fn error_response(sqlstate: &str, message: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (tag, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', sqlstate), (b'M', message)] {
        fields.push(tag);
        fields.extend(value.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", length.to_be_bytes().as_slice(), &fields].concat()
}

#[tokio::test]
async fn servers_and_poolers_that_refuse_are_understood() {
    for (sqlstate, message, kind, transient) in [
        ("57P03", "the database system is starting up", ConnectErrorKind::StartingUp, true),
        ("57P01", "terminating connection", ConnectErrorKind::StartingUp, true),
        ("08P01", "unsupported startup parameter: options", ConnectErrorKind::PoolerRefused, false),
        ("08006", "server login failed", ConnectErrorKind::Other, true),
        ("42501", "permission denied for database", ConnectErrorKind::Permission, false),
        ("XX000", "Tenant or user not found", ConnectErrorKind::Other, false),
        ("XX000", "two\nlines\u{1b}[31m", ConnectErrorKind::Other, false),
    ] {
        let (port, _peer) = peer(error_response(sqlstate, message)).await;
        let error = failure(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable")).await;
        assert_eq!((error.kind(), error.is_transient()), (kind, transient), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[tokio::test]
async fn a_port_of_another_service_is_no_mystery() {
    let (port, _peer) = peer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    let plain = failure(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable")).await;
    assert!(!plain.to_string().is_empty());
    let tls = failure(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=require")).await;
    assert_eq!(tls.kind(), ConnectErrorKind::Tls(TlsProblem::NotOffered));

    let (port, _peer) = peer(Vec::new()).await;
    for mode in ["disable", "require", "prefer"] {
        let closed = failure(&format!("postgres://u@127.0.0.1:{port}/d?sslmode={mode}")).await;
        assert_eq!(closed.kind(), ConnectErrorKind::Closed, "{mode}: {closed}");
        assert!(closed.is_transient());
    }
    // It says yes to TLS and then speaks something else.
    let (port, _peer) = peer(b"SSH-2.0-OpenSSH_9\r\n".to_vec()).await;
    let noise = failure(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=require")).await;
    assert_eq!(noise.kind(), ConnectErrorKind::Tls(TlsProblem::Handshake), "{noise}");
}
