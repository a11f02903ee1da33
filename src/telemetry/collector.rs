//! How spans get to the collector: over reqwest, in the relay's own runtime, which the exporter's thread borrows.
//!
//! The SDK's own clients were rejected: the blocking one starts a runtime and a thread of its own, and the others panic on the thread
//! that the SDK exports from. Its failures are silent, too; here the first of a row is logged, and the end of the row.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Handle;

/// What an answer may be long: a collector says how many spans it has refused, and why.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest wait unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: the standard's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one collector.
pub(super) struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    failing: Arc<AtomicBool>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

type Answered<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl Collector {
    /// In the current runtime.
    ///
    /// # Errors
    /// In one line, when a setting cannot be followed.
    pub(super) fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .timeout(timeout())
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("outbox-relay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("the client for spans cannot be made: {error}"))?;
        let runtime = Handle::try_current().map_err(|error| error.to_string())?;
        Ok(Self { http, runtime, failing: Arc::default() })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = self.exchange(request).await;
        let problem = match &result {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered {}", answer.status())),
            // Without the URL: it may hold a password.
            Err(error) => Some(error.to_string()),
        };
        match problem {
            None if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("spans are exported again");
            }
            Some(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    error,
                    "spans cannot be exported, events are published all the same: {error}"
                );
            }
            _ => {}
        }
        result
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let mut answer =
            self.http.execute(request).await.map_err(|error| one_line(&error.without_url()))?;
        let mut out = Response::builder().status(answer.status());
        if let Some(headers) = out.headers_mut() {
            *headers = answer.headers().clone();
        }
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + bytes.len() > ANSWER_BYTES_MAX {
                break;
            }
            body.extend_from_slice(&bytes);
        }
        Ok(out.body(Bytes::from(body))?)
    }
}

impl HttpClient for Collector {
    // What the trait's `async fn` stands for.
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> Answered<'f>
    where
        's: 'f,
        Self: 'f,
    {
        let work: Answered<'f> = Box::pin(self.send(request));
        Box::pin(Entered { runtime: self.runtime.clone(), work })
    }
}

/// Work on a thread that is none of the runtime's: sockets and timers are the runtime's all the same.
struct Entered<'a> {
    runtime: Handle,
    work: Answered<'a>,
}

impl Future for Entered<'_> {
    type Output = Result<Response<Bytes>, HttpError>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.runtime.enter();
        this.work.as_mut().poll(context)
    }
}

/// The last cause says what happened; the ones before it say that something did.
fn one_line(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().replace(['\r', '\n'], " ")
}

fn variable(name: &str) -> Option<String> {
    let set = |name: String| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    set(format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
        .or_else(|| set(format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn timeout() -> Duration {
    let ms = variable("TIMEOUT").and_then(|text| text.trim().parse().ok());
    ms.map_or(TIMEOUT, Duration::from_millis)
}

/// Trusts what the system trusts, or only the certificates of `OTEL_EXPORTER_OTLP_CERTIFICATE`.
fn tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = variable("CERTIFICATE") {
        let unreadable =
            |error: &dyn fmt::Display| format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {path}: {error}");
        let found = CertificateDer::pem_file_iter(&path).map_err(|error| unreadable(&error))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    } else {
        // None is no fault here: most collectors are plain http on the same host.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
