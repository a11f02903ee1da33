//! One request to one host over reqwest, and its answer reduced to what decides.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, SERVER, USER_AGENT,
};
use reqwest::redirect;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::bytes::Bytes;

use super::answer::{Answer, Body, retry_after};
use super::endpoint::Base;
use super::key::ApiKey;
use super::text::one_line;

/// Most bytes of an answer that are read. A full batch's is some 70 kB: 512 KiB of requests hold
/// about 2,000 messages, each answered by a serial.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Version of Ably's protocol, `X-Ably-Version`. Batches answer in another shape below 3.
const PROTOCOL_VERSION: &str = "6";

/// Sent as `Ably-Agent` and `User-Agent`.
const AGENT: &str = concat!("outbox-relay/", env!("CARGO_PKG_VERSION"));

/// How often an HTTP/2 connection is asked whether it lives, idle or not. A NAT that forgot it would
/// otherwise cost the next request its whole time-out.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long it may take to answer that.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked, of whichever host.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// `GET` of this path, without the key.
    Get(&'static str),
    /// `POST` of these bytes to this path.
    Post(String, Bytes),
}

/// Connections to all hosts, kept open between requests.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    /// Held for a copy; another key may take its place.
    identity: Mutex<Identity>,
}

/// As whom requests are sent.
#[derive(Debug, Clone)]
struct Identity {
    key: Arc<ApiKey>,
    /// For requests that Ably must know us for.
    authorization: HeaderValue,
}

impl Identity {
    fn new(key: ApiKey) -> Result<Self, String> {
        let mut authorization = HeaderValue::from_str(key.authorization().expose_secret())
            .map_err(|_| "the key does not fit into a header".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self { key: Arc::new(key), authorization })
    }
}

impl Transport {
    /// `proxied` respects `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// The cause, in one line, when reqwest refuses the settings.
    pub(super) fn new(
        key: ApiKey,
        tls: rustls::ClientConfig,
        connect_timeout: Duration,
        proxied: bool,
    ) -> Result<Self, String> {
        let identity = Mutex::new(Identity::new(key)?);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(constant_headers())
            .connect_timeout(connect_timeout)
            // A redirect would carry the key to wherever a captive portal likes.
            .redirect(redirect::Policy::none())
            // reqwest's own retries stay on: they repeat only what the server says it did not take (a
            // connection that it was closing), and without them that would look like a dead host.
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        if !proxied {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| root_cause(&error))?;
        Ok(Self { http, identity })
    }

    /// `appId.keyId`.
    pub(super) fn key_name(&self) -> String {
        self.identity().key.name().to_owned()
    }

    /// Sends later requests with another key; those that are out end with the one they have.
    ///
    /// # Errors
    /// When it does not fit into a header; the old one stays.
    pub(super) fn replace_key(&self, key: ApiKey) -> Result<(), String> {
        let identity = Identity::new(key)?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(())
    }

    fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a call to one host.
    ///
    /// # Errors
    /// When nothing that is HTTP came back within `time`; the text is one line, says why, and holds
    /// neither URL nor key.
    pub(super) async fn send(
        &self,
        base: &Base,
        call: &Call,
        time: Duration,
    ) -> Result<Answer, String> {
        let until = Instant::now() + time;
        let Identity { key, authorization } = self.identity();
        let request = match call {
            Call::Get(path) => self.http.get(base.url(path)),
            Call::Post(path, body) => self
                .http
                .post(base.url(path))
                .header(AUTHORIZATION, authorization)
                .header(CONTENT_TYPE, "application/json")
                // Bytes are shared: every host gets the very same ones.
                .body(body.clone()),
        };
        let mut response = match timeout_at(until, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(one_line(&key.redact(what_happened(&error)))),
            Err(_) => return Err(format!("no answer within {} ms", time.as_millis())),
        };
        let mut answer = head(&response, key);
        answer.body = match timeout_at(until, read(&mut response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => Body::Broken(what_happened(&error)),
            Err(_) => Body::Broken(format!("more than {} ms", time.as_millis())),
        };
        Ok(answer)
    }
}

fn head(response: &reqwest::Response, key: Arc<ApiKey>) -> Answer {
    let headers = response.headers();
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = |name: &'static str| text(&HeaderName::from_static(name));
    Answer {
        status: response.status().as_u16(),
        header_code: own("x-ably-errorcode").and_then(|code| code.trim().parse().ok()),
        header_message: own("x-ably-errormessage").map(str::to_owned),
        content_type: text(&CONTENT_TYPE).unwrap_or_default().to_owned(),
        retry_after: text(&RETRY_AFTER).and_then(|value| retry_after(value, text(&DATE))),
        from_cloudfront: text(&SERVER).is_some_and(|v| v.eq_ignore_ascii_case("cloudfront")),
        body: Body::Whole(Bytes::new()),
        key,
    }
}

fn constant_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("x-ably-version", HeaderValue::from_static(PROTOCOL_VERSION));
    headers.insert("ably-agent", HeaderValue::from_static(AGENT));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers
}

/// Reads a body up to [`ANSWER_BYTES_MAX`]. What is left of a larger one costs its connection.
async fn read(response: &mut reqwest::Response) -> reqwest::Result<Body> {
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    if announced.and_then(|v| v.parse::<usize>().ok()).is_some_and(|n| n > ANSWER_BYTES_MAX) {
        return Ok(Body::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(Body::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body::Whole(bytes.into()))
}

/// A failed request in words. reqwest's own text is not used: it holds the URL.
fn what_happened(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "could not connect" } else { "the connection broke" };
    format!("{what}: {}", root_cause(error))
}

fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else { return "no cause is known".to_owned() };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    one_line(&cause.to_string())
}
