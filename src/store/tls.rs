//! TLS of a connection: which certificates are believed, and which we show.
//!
//! The provider (ring) is passed explicitly: a process-wide default belongs to the binary, and tests run
//! many of these side by side.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::connect_error::{ConnectError, ConnectErrorKind, TlsProblem};
use super::dsn::{Tls, TlsMode};

/// What the server's certificate must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing: encryption alone, as libpq's `require`.
    None,
    /// An authority that we trust signed it.
    Chain,
    /// The same, and it names the host that we asked for.
    ChainAndName,
}

/// Builds the TLS side for one mode.
///
/// Files are read at every connect, so that a rotated certificate is used without a restart; the system's
/// roots are read once a process. It blocks for the reading: call it where that is allowed.
pub(super) fn client_config(tls: &Tls, mode: TlsMode) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let proof = match mode {
        TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer | TlsMode::Require => Proof::None,
        TlsMode::VerifyCa => Proof::Chain,
        TlsMode::VerifyFull => Proof::ChainAndName,
    };
    let (roots, pinned) = match (proof, &tls.root_file) {
        (Proof::None, _) => (RootCertStore::empty(), Vec::new()),
        (_, Some(path)) => root_file(path)?,
        (_, None) => (system_roots()?, Vec::new()),
    };
    let verifier = Verifier { proof, roots, pinned, provider: Arc::clone(&provider) };
    let versions: &[_] = match tls.tls13_only {
        true => &[&rustls::version::TLS13],
        false => rustls::DEFAULT_VERSIONS,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|e| failure(TlsProblem::Handshake, format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert, "sslcert")?;
            let key = private_key(key)?;
            builder.with_client_auth_cert(chain, key).map_err(|e| {
                failure(TlsProblem::File, format!("sslcert and sslkey do not fit together: {e}"))
            })?
        }
    };
    config.enable_sni = tls.send_name;
    if tls.direct {
        // Required by PostgreSQL for direct TLS. Not offered otherwise: older proxies may refuse it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn failure(problem: TlsProblem, cause: String) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Tls(problem), cause)
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let unreadable = |e: &dyn fmt::Display| {
        failure(TlsProblem::File, format!("cannot read {key} {}: {e}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|e| unreadable(&e))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| unreadable(&e))?;
    if found.is_empty() {
        return Err(unreadable(&"it holds no PEM certificate"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let pem = std::fs::read(path).map_err(|e| {
        failure(TlsProblem::File, format!("cannot read sslkey {}: {e}", path.display()))
    })?;
    // The parser's error could quote the file; a fixed text cannot.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let cause = format!("sslkey {} holds no unencrypted PEM private key", path.display());
        failure(TlsProblem::File, cause)
    })
}

/// The roots of a bundle. Certificates that cannot be anchors are left out, as OpenSSL does (RDS's bundle
/// has more than a hundred, and one odd one must not refuse the rest), but some must remain.
fn root_file(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ConnectError> {
    let found = certificates(path, "sslrootcert")?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.iter().cloned());
    if added == 0 {
        let cause = format!("sslrootcert {} holds no usable root certificate", path.display());
        return Err(failure(TlsProblem::File, cause));
    }
    Ok((roots, found))
}

fn system_roots() -> Result<RootCertStore, ConnectError> {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(": {e}"));
        let cause = format!("the operating system has no trusted root certificates{why}");
        return Err(failure(TlsProblem::NoRoots, cause));
    }
    Ok(ROOTS.get_or_init(|| roots).clone())
}

/// The server's certificate against the mode.
struct Verifier {
    proof: Proof,
    roots: RootCertStore,
    /// The certificates of the root file themselves: a server that shows one of them is trusted by it.
    /// `openssl req -x509` makes self-signed certificates that are their own authority, libpq's users
    /// give those as `sslrootcert`, and webpki alone refuses an authority as a server.
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?}, {} roots)", self.proof, self.roots.len())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.proof == Proof::None {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.contains(end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.proof == Proof::ChainAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Who believes any certificate gains nothing from its signature, and certificates of X.509
        // version 1, which `openssl x509 -req` made for years, cannot be parsed for it.
        if self.proof == Proof::None {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.proof == Proof::None {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What went wrong in a handshake, in our words.
pub(super) fn problem(error: &rustls::Error) -> (TlsProblem, String) {
    if let rustls::Error::InvalidCertificate(error) = error {
        return certificate_problem(error);
    }
    // In TLS 1.3 the server judges our certificate after the handshake seems done.
    if let rustls::Error::AlertReceived(alert) = error {
        let cause = format!("the server broke off the TLS handshake: {alert:?}");
        return (TlsProblem::RefusedByServer, cause);
    }
    (TlsProblem::Handshake, format!("the TLS handshake failed: {error}"))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an open enum; what is not named here needs no remedy of its own"
)]
fn certificate_problem(error: &CertificateError) -> (TlsProblem, String) {
    let unacceptable = |why: &dyn fmt::Display| {
        (TlsProblem::BadCertificate, format!("the server's certificate is not acceptable: {why}"))
    };
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            TlsProblem::UnknownAuthority,
            "the server's certificate is signed by an authority that is not trusted".to_owned(),
        ),
        CertificateError::NotValidForName => {
            (TlsProblem::NameMismatch, "the server's certificate is not for this host".to_owned())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.as_slice() {
                [] => "no names (subjectAltName)".to_owned(),
                names => names.iter().take(4).cloned().collect::<Vec<_>>().join(", "),
            };
            let host = expected.to_str();
            let cause = format!("the server's certificate is not for {host}: it has {names}");
            (TlsProblem::NameMismatch, cause)
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (TlsProblem::Expired, "the server's certificate has expired".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (TlsProblem::Expired, "the server's certificate is not valid yet".to_owned())
        }
        CertificateError::Other(OtherError(error)) => unacceptable(error),
        error => unacceptable(error),
    }
}
