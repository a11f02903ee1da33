//! TLS to Ably: rustls with `ring`, trusting what the operating system trusts.
//!
//! The provider is named here and not installed for the process: two libraries that each install
//! their own would fight over it, and whichever came first would decide.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::text::one_line;

/// Why no TLS connection can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No root certificates: nobody could be trusted.
    #[error(
        "no root certificates were found{0}; install the system's (package ca-certificates) or set SSL_CERT_FILE"
    )]
    NoRoots(String),
    /// `ring` does not support what rustls considers safe: a fault of the build.
    #[error("TLS cannot be set up: {0}; this is a fault of the build, report it")]
    Protocol(rustls::Error),
}

/// The configuration that trusts the operating system's roots, or those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`.
pub(super) fn of_system() -> Result<ClientConfig, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's bundle may hold a certificate that rustls does not take; the others do.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found.errors.first().map(|e| format!(" ({})", one_line(&e.to_string())));
        return Err(TlsError::NoRoots(cause.unwrap_or_default()));
    }
    with_roots(roots)
}

/// The configuration that trusts these roots. HTTP/2 is offered, HTTP/1.1 is enough.
pub(super) fn with_roots(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, Stream};

    use super::*;
    use crate::ably::request::tests::spec;
    use crate::ably::{ApiKey, Client, ClientConfig, Endpoint};

    type Certificate = rcgen::CertifiedKey<rcgen::KeyPair>;

    /// A TLS server that accepts one message over one connection. It returns what it was sent.
    fn serve(listener: TcpListener, certificate: &Certificate) -> JoinHandle<Option<String>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            let mut text = String::new();
            while !text.ends_with("\"encoding\":\"json\"}]") {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            let body = r#"{"messageId":"m"}"#;
            let head = format!("HTTP/1.1 201 X\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            Some(text)
        })
    }

    fn client(listener: &TcpListener, roots: RootCertStore) -> Client {
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let config = ClientConfig {
            endpoint: Endpoint::parse(&url).unwrap(),
            ..ClientConfig::new(ApiKey::parse("a.b:topsecret").unwrap())
        };
        let bases = config.endpoint.bases(&config.fallback).unwrap();
        Client::with_tls(config, bases, with_roots(roots).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_server_with_a_trusted_certificate_gets_the_message() {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.cert.der().clone()).unwrap();
        let client = client(&listener, roots);
        let server = serve(listener, &certificate);
        let results = client.publish(&[spec("a", 1)]).await;
        assert!(results[0].is_ok(), "{results:?}");
        let sent = server.join().unwrap().unwrap();
        assert!(sent.starts_with("POST /channels/tenant%3Aa/messages HTTP/1.1\r\n"), "{sent}");
    }

    #[tokio::test]
    async fn a_server_with_another_certificate_gets_nothing() {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(other.cert.der().clone()).unwrap();
        let client = client(&listener, roots);
        let server = serve(listener, &certificate);
        let failure = client.publish(&[spec("a", 1)]).await.remove(0).unwrap_err();
        assert!(failure.message.contains("could not connect: "), "{failure}");
        assert!(failure.message.contains("certificate"), "{failure}");
        assert_eq!(server.join().unwrap(), None);
    }

    #[test]
    fn http_2_is_offered_first() {
        let config = with_roots(RootCertStore::empty()).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
