//! The publisher: specs in, one result each out, over as many requests and hosts as it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};

use super::answer::{self, Answer, Batch, Body, SpecResult};
use super::endpoint::{Base, Endpoint, EndpointError, Fallback};
use super::key::ApiKey;
use super::request::{BATCH_PATH, BatchMode, EncodedSpec, batch_body, check};
use super::route::{Route, another_host_may_do_better, attempt_time};
use super::tls::{self, TlsError};
use super::transport::{Call, Transport};
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::domain::message::Spec;

/// Requests that one publish has out at once when each spec is sent alone. Ably's free plan takes
/// 50 a second, at some 100 ms each: eight keep a few publishes at a time below that.
const SINGLES_AT_ONCE: usize = 8;

/// How to reach Ably, and as whom.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The key.
    pub key: ApiKey,
    /// Where Ably is.
    pub endpoint: Endpoint,
    /// Which hosts stand in for it.
    pub fallback: Fallback,
    /// Whether specs share requests.
    pub batch: BatchMode,
    /// Longest wait for a connection with TLS (`httpOpenTimeout`, TO3l3).
    pub connect_timeout: Duration,
    /// Longest wait for one host's whole answer (`httpRequestTimeout`, TO3l4).
    pub request_timeout: Duration,
    /// Longest wait for all hosts together: no publish takes longer (`httpMaxRetryDuration`, TO3l6).
    pub retry_duration_max: Duration,
    /// How long a fallback that answered is asked first (`fallbackRetryTimeout`, TO3l10).
    pub fallback_retry_timeout: Duration,
}

impl ClientConfig {
    /// Ably's public cloud with the times of its client specification.
    pub fn new(key: ApiKey) -> Self {
        Self {
            key,
            endpoint: Endpoint::default(),
            fallback: Fallback::default(),
            batch: BatchMode::default(),
            connect_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(10),
            retry_duration_max: Duration::from_secs(15),
            fallback_retry_timeout: Duration::from_secs(600),
        }
    }
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AblyError {
    /// A fallback host is none. (An endpoint is checked when it is parsed.)
    #[error("the Ably fallback hosts are wrong: {0}")]
    Fallback(#[from] EndpointError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}; check the proxy variables")]
    Http(String),
}

/// A client of one Ably app. Shared by reference: requests of several publishes go in parallel over
/// the same connections.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    /// All hosts; the primary is the first.
    bases: Vec<Base>,
    route: Mutex<Route>,
    batch: BatchMode,
    request_timeout: Duration,
    retry_duration_max: Duration,
    /// The server turned out to have no batch endpoint.
    no_batch: AtomicBool,
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    ///
    /// The variables `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count unless a host is plain http: a
    /// tunnel to a TLS host shows the proxy no key, but a plain request would.
    ///
    /// # Errors
    /// When a fallback host is wrong or the system has no root certificates.
    pub fn new(config: ClientConfig) -> Result<Self, AblyError> {
        let bases = config.endpoint.bases(&config.fallback)?;
        let tls = if bases.iter().all(Base::is_plain) {
            // Unused, but without one reqwest would look for a provider of the whole process.
            tls::with_roots(rustls::RootCertStore::empty())?
        } else {
            tls::of_system()?
        };
        Self::with_tls(config, bases, tls)
    }

    pub(super) fn with_tls(
        config: ClientConfig,
        bases: Vec<Base>,
        tls: rustls::ClientConfig,
    ) -> Result<Self, AblyError> {
        let proxied = !bases.iter().any(Base::is_plain);
        let transport = Transport::new(config.key, tls, config.connect_timeout, proxied)
            .map_err(AblyError::Http)?;
        Ok(Self {
            transport,
            route: Mutex::new(Route::new(bases.len(), config.fallback_retry_timeout)),
            bases,
            batch: config.batch,
            request_timeout: config.request_timeout,
            retry_duration_max: config.retry_duration_max,
            no_batch: AtomicBool::new(false),
        })
    }

    /// Host of the server that is asked first, and its port if that is not the scheme's.
    pub fn server(&self) -> (&str, Option<u16>) {
        self.bases.first().map_or(("", None), Base::server)
    }

    /// Goes on with another key of the same app; requests that are out end with the old one.
    ///
    /// # Errors
    /// When it does not fit into a header; the old one stays.
    pub fn replace_key(&self, key: ApiKey) -> Result<(), AblyError> {
        self.transport.replace_key(key).map_err(AblyError::Http)
    }

    /// Publishes specs: one result each, in their order, within
    /// [`ClientConfig::retry_duration_max`].
    ///
    /// The caller packs: see [`Client::publish_encoded`], which this one calls.
    pub async fn publish(&self, specs: &[Spec]) -> Vec<SpecResult> {
        let specs: Vec<EncodedSpec> = specs.iter().map(EncodedSpec::new).collect();
        self.publish_encoded(&specs).await
    }

    /// Publishes specs that were packed by their encoded size: at most
    /// [`super::REQUEST_CHANNELS_MAX`], of different channels, together within
    /// [`super::REQUEST_BYTES_MAX`] as [`super::request_bytes`] counts.
    ///
    /// A failure of the whole request is every spec's failure, with one exception: a refusal of
    /// what was sent (content, capability, unknown) says nothing of the other specs, so each is sent
    /// alone and gets its own answer. One bad event must not become everybody's.
    ///
    /// Specs that break the limits are not sent and fail with class `Configuration`.
    pub async fn publish_encoded(&self, specs: &[EncodedSpec]) -> Vec<SpecResult> {
        let started = Instant::now();
        if let Err(failure) = check(specs) {
            return vec![Err(failure); specs.len()];
        }
        match specs {
            [] => Vec::new(),
            [spec] => vec![self.publish_one(spec, started).await],
            _ if self.batch == BatchMode::Off || self.no_batch.load(Ordering::Relaxed) => {
                self.publish_each(specs, started).await
            }
            _ => self.publish_batch(specs, started).await,
        }
    }

    /// Ably's clock in milliseconds since 1970. Needs no key: it shows that the way there is open.
    ///
    /// # Errors
    /// When no host gives the time.
    pub async fn time(&self) -> Result<i64, PublishFailure> {
        answer::time(&self.ask(&Call::Get("/time"), Instant::now()).await?)
    }

    /// Whether the key may publish to every channel of a resource such as `tenant:*`, found out without publishing:
    /// by asking for a token with that capability, which is thrown away.
    ///
    /// # Errors
    /// Ably's refusal: class `Configuration` for a key that is not taken, `Capability` for one that may
    /// not, others when it is not known.
    pub async fn may_publish(&self, resource: &str) -> Result<(), PublishFailure> {
        // Short-lived: nobody is to use it.
        let capability = serde_json::json!({ resource: ["publish"] }).to_string();
        let timestamp = self.time().await?;
        let key = self.transport.key_name();
        let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let request = serde_json::json!({
            "keyName": key, "timestamp": timestamp, "nonce": nonce, "ttl": 1_000, "capability": capability,
        });
        let call = Call::Post(format!("/keys/{key}/requestToken"), request.to_string().into());
        answer::token(&self.ask(&call, Instant::now()).await?, resource)
    }

    async fn publish_batch(&self, specs: &[EncodedSpec], started: Instant) -> Vec<SpecResult> {
        let call = Call::Post(BATCH_PATH.to_owned(), batch_body(specs));
        let answer = match self.ask(&call, started).await {
            Ok(answer) => answer,
            Err(failure) => return vec![Err(failure); specs.len()],
        };
        let channels: Vec<&str> = specs.iter().map(|spec| spec.channel().as_str()).collect();
        match answer::batch(&answer, &channels) {
            Batch::Specs(results) => results,
            Batch::NoEndpoint(_) => {
                let results = self.publish_each(specs, started).await;
                // A 404 of a server that is no Ably at all, or of a proxy, must not be remembered.
                if results.iter().any(Result::is_ok) && !self.no_batch.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!(
                        "this Ably server has no batch endpoint: each channel is a request of its \
                         own from now on"
                    );
                }
                results
            }
            Batch::Whole(failure) if blames_what_was_sent(failure.class) => {
                tracing::debug!(%failure, specs = specs.len(), "batch refused; sending each alone");
                self.publish_each(specs, started).await
            }
            Batch::Whole(failure) => vec![Err(failure); specs.len()],
        }
    }

    /// Sends each spec alone, a few at once. A failure that is everybody's (account, key) ends it:
    /// the specs that were not sent yet share it.
    async fn publish_each(&self, specs: &[EncodedSpec], started: Instant) -> Vec<SpecResult> {
        let end = OnceLock::new();
        // Boxed: futures of a closure over borrowed specs would not be `Send` for every lifetime.
        let mut requests = Vec::with_capacity(specs.len());
        for spec in specs {
            requests.push(self.publish_unless_ended(spec, started, &end).boxed());
        }
        stream::iter(requests).buffered(SINGLES_AT_ONCE).collect().await
    }

    async fn publish_unless_ended(
        &self,
        spec: &EncodedSpec,
        started: Instant,
        end: &OnceLock<PublishFailure>,
    ) -> SpecResult {
        if let Some(failure) = end.get() {
            return Err(failure.clone());
        }
        let result = self.publish_one(spec, started).await;
        if let Err(failure) = &result
            && is_everybodys(failure.class)
        {
            _ = end.set(failure.clone());
        }
        result
    }

    async fn publish_one(&self, spec: &EncodedSpec, started: Instant) -> SpecResult {
        let (path, body) = spec.single();
        let answer = self.ask(&Call::Post(path, body), started).await?;
        answer::single(&answer, spec.channel().as_str())
    }

    /// Asks host after host, with the same bytes, until one gives an answer that stands. An answer
    /// that does not stand is still better than none.
    async fn ask(&self, call: &Call, started: Instant) -> Result<Answer, PublishFailure> {
        let plan = self.route().plan(Instant::now(), fastrand::shuffle);
        let mut refusal = None;
        let mut silent = Vec::new();
        for host in plan {
            let elapsed = started.elapsed();
            let Some(time) = attempt_time(elapsed, self.request_timeout, self.retry_duration_max)
            else {
                break;
            };
            let base = &self.bases[host];
            match self.transport.send(base, call, time).await {
                Ok(answer) if stands(&answer) => {
                    if self.route().answered(host, Instant::now()) {
                        tracing::warn!(host = %base, "Ably's fallback host answers; it goes first now");
                    }
                    return Ok(answer);
                }
                Ok(answer) => {
                    tracing::debug!(host = %base, status = answer.status, "asking another host");
                    refusal = Some(answer);
                }
                Err(cause) => {
                    tracing::debug!(host = %base, cause, "asking another host");
                    silent.push(format!("{base} did not answer: {cause}"));
                }
            }
            self.route().failed(host);
        }
        refusal.ok_or_else(|| no_answer(&silent))
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        // A route is whole after every step; there is nothing that a panic could leave half done.
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer is final. A success whose body broke off may have been one: the same ids again,
/// elsewhere.
fn stands(answer: &Answer) -> bool {
    match answer.body {
        Body::Broken(_) if answer.is_success() => false,
        Body::Whole(_) | Body::Broken(_) | Body::TooLarge => {
            !another_host_may_do_better(answer.status, answer.from_cloudfront)
        }
    }
}

/// Whether a refusal of many specs may be about one of them.
fn blames_what_was_sent(class: FailureClass) -> bool {
    match class {
        FailureClass::Content | FailureClass::Capability | FailureClass::Unknown => true,
        FailureClass::ThrottledChannel
        | FailureClass::ThrottledAccount
        | FailureClass::Outage
        | FailureClass::Configuration => false,
    }
}

/// Whether one spec's failure will be the next one's too.
fn is_everybodys(class: FailureClass) -> bool {
    matches!(class, FailureClass::ThrottledAccount | FailureClass::Configuration)
}

/// The failure when every host was silent: the first one's cause, since that host is the usual one.
fn no_answer(silent: &[String]) -> PublishFailure {
    let message = match silent {
        [] => "the time for this publish was over before it was sent".to_owned(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} (nor did {} other hosts)", others.len()),
    };
    PublishFailure {
        class: FailureClass::Outage,
        status: None,
        code: None,
        message,
        retry_after: None,
    }
}
