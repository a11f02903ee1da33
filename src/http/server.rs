//! The server: how many may be connected, for how long, and what happens to those who are slow.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dashboard::{Dashboard, DashboardConfig};
use super::routes::{Served, router};
use crate::relay::monitor::Monitor;
use crate::relay::payloads::Payloads;

/// Connections at a time. A probe, a scraper and a person are three.
const CONNECTIONS_MAX: usize = 64;

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a connection lives, one request and its answer. Publishing on request takes up to 13 s.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// How long a stream of a dashboard lives; then its page asks again.
const STREAM_TIME: Duration = Duration::from_secs(600);

/// Bytes that a head may have: hyper's least buffer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long a stop waits for what is being answered.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Settings of the server.
#[derive(Debug)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What opens metrics and details of health. Needed unless `listen` is a loopback address.
    pub token: Option<SecretString>,
    /// What opens `/outbox/publish`; without it nobody may.
    pub publish_token: Option<SecretString>,
    /// What links to payloads open; without it nothing.
    pub payloads: Option<Payloads>,
    /// The page for people; without it there is none.
    pub dashboard: Option<DashboardConfig>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Others could read along.
    #[error("http.listen is {0}, which other machines reach, and http.token is not set")]
    Open(SocketAddr),
    /// Others could look, and perhaps act.
    #[error(
        "the dashboard would be served at {0}, which other machines reach, and http.dashboard_token is not set"
    )]
    DashboardOpen(SocketAddr),
    /// The operating system has no random bytes.
    #[error("the operating system gives no random bytes for the dashboard")]
    NoChance,
    /// The address is taken or is not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl HttpError {
    /// What to do about it, in one line.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Open(_) => "set OUTBOX_RELAY_HTTP_TOKEN, or listen on 127.0.0.1",
            Self::DashboardOpen(_) => {
                "set OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN, or listen on 127.0.0.1"
            }
            Self::NoChance => "start it again; if it stays so, set http.dashboard to off",
            Self::Listen { .. } => "choose another address or port with OUTBOX_RELAY_HTTP_LISTEN",
        }
    }
}

/// A server that has its address.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    dashboard: Option<Arc<Dashboard>>,
}

/// One connection's claim to stay. A connection that waits, reads or dawdles makes room for a new one when
/// there are too many.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Arc<Claim>);

#[derive(Debug, Default)]
struct Claim {
    kept: AtomicBool,
    streams: AtomicBool,
    end: CancellationToken,
}

impl Place {
    /// Work has begun that is worth finishing.
    pub(super) fn keep(&self) {
        self.0.kept.store(true, Ordering::Relaxed);
    }

    /// What is answered has no end of its own. Returns what ends the connection: whoever lets streams in sees to it that
    /// there are few.
    pub(super) fn stream(&self) -> CancellationToken {
        self.0.streams.store(true, Ordering::Relaxed);
        self.keep();
        self.0.end.clone()
    }

    fn is_kept(&self) -> bool {
        self.0.kept.load(Ordering::Relaxed)
    }
}

impl HttpServer {
    /// Takes the address.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn bind(config: HttpConfig, monitor: Monitor) -> Result<Self, HttpError> {
        if !config.listen.ip().is_loopback() && config.token.is_none() {
            return Err(HttpError::Open(config.listen));
        }
        if config.dashboard.as_ref().is_some_and(|d| d.token.is_none())
            && !config.listen.ip().is_loopback()
        {
            return Err(HttpError::DashboardOpen(config.listen));
        }
        let listening = |source| HttpError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let (token, publish_token) = (config.token, config.publish_token);
        let dashboard = match config.dashboard {
            Some(dashboard) => Some(Arc::new(
                Dashboard::new(dashboard, monitor.clone()).ok_or(HttpError::NoChance)?,
            )),
            None => None,
        };
        let payloads = config.payloads;
        let served =
            Served { monitor, token, publish_token, payloads, dashboard: dashboard.clone() };
        Ok(Self { listener, address, router: router(Arc::new(served)), dashboard })
    }

    /// Where its dashboard is, if it has one.
    pub fn dashboard(&self) -> Option<String> {
        self.dashboard.as_ref().map(|_| format!("http://{}/dashboard/", self.address))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, on the runtime that this is called on. Dropping the future ends every connection.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener.into_std()?)?;
        let mut connections = Connections::default();
        let dashboard = self.dashboard.clone();
        let watch = async {
            match &dashboard {
                Some(dashboard) => dashboard.watch().await,
                None => std::future::pending().await,
            }
        };
        let mut watch = std::pin::pin!(watch);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut watch => {}
                // A connection that broke, or a handler that panicked, concerns its client only.
                Some(_) = connections.tasks.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => connections.serve(stream, &self.router),
                    // Out of file descriptors, or the client has gone: neither ends the server.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                },
            }
        }
        drop(listener);
        dashboard.iter().for_each(|dashboard| dashboard.close());
        let ended = async { while connections.tasks.join_next().await.is_some() {} };
        _ = timeout(STOP_GRACE, ended).await;
        Ok(())
    }

    /// Answers until `stop` on a thread of its own; what is returned comes when that has ended. Whoever asks, and however
    /// much, then shares the machine's cores with the relay, and not the one thread on which that goes round.
    ///
    /// # Errors
    /// When the operating system has no thread, or no runtime, for it.
    pub fn run_apart(
        self,
        stop: CancellationToken,
    ) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, end) = oneshot::channel();
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            // Nobody waits any more when the process ends already.
            _ = done.send(runtime.block_on(Box::pin(self.run(stop))));
        })?;
        Ok(end)
    }
}

#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first.
    open: Vec<Place>,
}

impl Connections {
    fn serve(&mut self, stream: TcpStream, router: &Router) {
        self.open.retain(|place| !place.0.end.is_cancelled());
        if self.open.len() >= CONNECTIONS_MAX {
            let idle = self.open.iter().position(|place| !place.is_kept());
            // All of them at work: whoever comes now has to come again.
            let Some(idle) = idle else { return };
            self.open.remove(idle).0.end.cancel();
        }
        let place = Place::default();
        self.open.push(place.clone());
        let router = router.clone().layer(Extension(place.clone()));
        self.tasks.spawn(async move {
            let service = TowerToHyperService::new(router);
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES_MAX)
                // One request a connection: an idle one takes no place.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let mut served = std::pin::pin!(served);
            let bounded = async {
                let over = timeout(CONNECTION_TIME, &mut served).await.is_err();
                if over && place.0.streams.load(Ordering::Relaxed) {
                    _ = timeout(STREAM_TIME, &mut served).await;
                }
            };
            tokio::select! {
                () = bounded => {}
                () = place.0.end.cancelled() => {}
            }
            place.0.end.cancel();
        });
    }
}
