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
