//! Every `sslmode` against servers with and without TLS.

use outbox_relay::store::connect_error::{ConnectErrorKind, TlsProblem};

use super::certificates::Files;
use super::cluster::{AUTHORITY, SELF_SIGNED, STANDBY, WITH_TLS, WITHOUT_TLS, WRONG_AUTHORITY};
use super::{failure, open};

/// Encrypted or not, or why not.
async fn outcome(dsn: &str) -> Result<bool, ConnectErrorKind> {
    match open(dsn).await {
        Ok(connected) => Ok(connected.is_encrypted().await),
        Err(error) => Err(error.kind()),
    }
}

const UNKNOWN: Result<bool, ConnectErrorKind> =
    Err(ConnectErrorKind::Tls(TlsProblem::UnknownAuthority));
const NOT_OFFERED: Result<bool, ConnectErrorKind> =
    Err(ConnectErrorKind::Tls(TlsProblem::NotOffered));

#[tokio::test]
async fn every_sslmode_against_a_server_with_tls() {
    let files = Files::new();
    let good = AUTHORITY.bundle(&files);
    let wrong = files.write("wrong.pem", &WRONG_AUTHORITY.pem);
    for (more, expected) in [
        (String::new(), Ok(true)),
        ("sslmode=disable".to_owned(), Ok(false)),
        ("sslmode=allow".to_owned(), Ok(false)),
        ("sslmode=prefer".to_owned(), Ok(true)),
        ("sslmode=require".to_owned(), Ok(true)),
        ("sslmode=require channel_binding=require".to_owned(), Ok(true)),
        ("sslmode=require ssl_min_protocol_version=TLSv1.3 sslsni=0".to_owned(), Ok(true)),
        (format!("sslmode=require sslrootcert={good}"), Ok(true)),
        (format!("sslmode=require sslrootcert={wrong}"), UNKNOWN),
        (format!("sslmode=no-verify sslrootcert={wrong}"), Ok(true)),
        (format!("sslmode=verify-ca sslrootcert={good}"), Ok(true)),
        (format!("sslmode=verify-ca sslrootcert={wrong}"), UNKNOWN),
        (format!("sslmode=verify-full sslrootcert={good}"), Ok(true)),
        (format!("sslmode=verify-full sslrootcert={wrong}"), UNKNOWN),
        (format!("sslrootcert={wrong}"), UNKNOWN),
        (format!("sslmode=verify-full channel_binding=require sslrootcert={good}"), Ok(true)),
        (format!("sslaccept=strict sslcert={good}"), Ok(true)),
        (format!("sslaccept=accept_invalid_certs sslcert={wrong}"), Ok(true)),
    ] {
        assert_eq!(outcome(&WITH_TLS.dsn("writer", &more)).await, expected, "{more}");
    }
}

#[tokio::test]
async fn every_sslmode_against_a_server_without_tls() {
    let files = Files::new();
    let root = files.write("root.pem", &AUTHORITY.pem);
    for (more, expected) in [
        (String::new(), Ok(false)),
        ("sslmode=disable".to_owned(), Ok(false)),
        ("sslmode=allow".to_owned(), Ok(false)),
        ("sslmode=prefer".to_owned(), Ok(false)),
        ("sslmode=require".to_owned(), NOT_OFFERED),
        (format!("sslmode=verify-ca sslrootcert={root}"), NOT_OFFERED),
        (format!("sslmode=verify-full sslrootcert={root}"), NOT_OFFERED),
    ] {
        assert_eq!(outcome(&WITHOUT_TLS.dsn("postgres", &more)).await, expected, "{more}");
    }
    let bound = failure(&WITHOUT_TLS.dsn("postgres", "channel_binding=require")).await;
    assert_eq!(bound.kind(), ConnectErrorKind::Authentication);
}

#[tokio::test]
async fn verify_full_wants_the_hosts_name_and_verify_ca_does_not() {
    let files = Files::new();
    let root = files.write("root.pem", &AUTHORITY.pem);
    // By its address, which the certificate does not have; and by another name for it.
    for host in ["host=127.0.0.1", "host=db.example.com hostaddr=127.0.0.1"] {
        let full =
            WITH_TLS.dsn("writer", &format!("{host} sslmode=verify-full sslrootcert={root}"));
        let error = failure(&full).await;
        assert_eq!(error.kind(), ConnectErrorKind::Tls(TlsProblem::NameMismatch));
        assert!(error.to_string().contains("localhost"), "it says which names there are: {error}");
        assert!(!error.is_transient());
        let ca = WITH_TLS.dsn("writer", &format!("{host} sslmode=verify-ca sslrootcert={root}"));
        assert_eq!(outcome(&ca).await, Ok(true));
    }
}

#[tokio::test]
async fn the_systems_roots_do_not_know_a_private_authority() {
    for more in ["sslrootcert=system", "sslmode=verify-full", "sslmode=verify-ca"] {
        let error = failure(&WITH_TLS.dsn("writer", more)).await;
        assert!(
            matches!(
                error.kind(),
                ConnectErrorKind::Tls(TlsProblem::UnknownAuthority | TlsProblem::NoRoots)
            ),
            "{more}: {error}"
        );
    }
}

#[tokio::test]
async fn unusable_certificate_files_are_named() {
    let files = Files::new();
    let root = files.write("root.pem", &AUTHORITY.pem);
    let empty = files.write("empty.pem", "nothing\n");
    for (more, named) in [
        ("sslmode=verify-ca sslrootcert=/nowhere/root.pem".to_owned(), "/nowhere/root.pem"),
        (format!("sslmode=verify-ca sslrootcert={empty}"), "holds no PEM certificate"),
        (format!("sslmode=require sslcert={root} sslkey=/nowhere/key.pem"), "/nowhere/key.pem"),
        (format!("sslmode=require sslcert={root} sslkey={root}"), "no unencrypted PEM private key"),
    ] {
        let error = failure(&WITH_TLS.dsn("writer", &more)).await;
        assert_eq!(error.kind(), ConnectErrorKind::Tls(TlsProblem::File), "{more}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_judged() {
    let files = Files::new();
    let ours = AUTHORITY.client("certified");
    let cert = files.write("client.pem", &ours.chain);
    let key = files.write("client.key", &ours.key);
    let dsn = WITH_TLS.dsn("certified", &format!("sslmode=require sslcert={cert} sslkey={key}"));
    assert_eq!(outcome(&dsn).await, Ok(true));

    let none = failure(&WITH_TLS.dsn("certified", "sslmode=require")).await;
    assert_eq!(none.kind(), ConnectErrorKind::Authentication);
    let theirs = WRONG_AUTHORITY.client("certified");
    let cert = files.write("theirs.pem", &theirs.chain);
    let key = files.write("theirs.key", &theirs.key);
    let refused = failure(
        &WITH_TLS.dsn("certified", &format!("sslmode=require sslcert={cert} sslkey={key}")),
    )
    .await;
    assert_eq!(refused.kind(), ConnectErrorKind::Tls(TlsProblem::RefusedByServer), "{refused}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_it_is_given_as_root() {
    let files = Files::new();
    let itself = files.write("server.pem", &SELF_SIGNED.chain);
    let other = files.write("other.pem", &AUTHORITY.pem);
    let dsn = |more: &str| STANDBY.dsn("postgres", &format!("target_session_attrs=any {more}"));
    let trusted = dsn(&format!("sslmode=verify-full sslrootcert={itself}"));
    assert_eq!(outcome(&trusted).await, Ok(true));
    let by_address = dsn(&format!("host=127.0.0.1 sslmode=verify-full sslrootcert={itself}"));
    assert_eq!(outcome(&by_address).await, Err(ConnectErrorKind::Tls(TlsProblem::NameMismatch)));
    let mistrusted = outcome(&dsn(&format!("sslmode=verify-ca sslrootcert={other}"))).await;
    assert!(matches!(mistrusted, Err(ConnectErrorKind::Tls(_))), "{mistrusted:?}");
}

#[tokio::test]
async fn an_ed25519_certificate_has_no_channel_binding() {
    let dsn = |more: &str| STANDBY.dsn("postgres", &format!("target_session_attrs=any {more}"));
    assert_eq!(outcome(&dsn("sslmode=require")).await, Ok(true));
    let error = failure(&dsn("sslmode=require channel_binding=require")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert!(error.to_string().contains("channel binding"), "{error}");
}

#[tokio::test]
async fn the_wavering_modes_try_the_other_way_when_the_server_refuses_one() {
    for (user, more, expected) in [
        ("tlsonly", "sslmode=allow", Ok(true)),
        ("tlsonly", "sslmode=disable", Err(ConnectErrorKind::Authentication)),
        ("plainonly", "sslmode=prefer", Ok(false)),
        ("plainonly", "sslmode=require", Err(ConnectErrorKind::Authentication)),
    ] {
        assert_eq!(outcome(&WITH_TLS.dsn(user, more)).await, expected, "{user} {more}");
    }
}
