//! Starting and stopping: the accept loop and every task under it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::config::EmulatorConfig;
use super::connection::{Connection, Socket};
use super::credentials::Credentials;
use super::error::EmulatorError;
use super::faults::FaultBoard;
use super::hub::{Hub, Limits};
use super::routes::router;
use super::shared::{Clock, Shared, random_name};
use super::stats::Stats;

/// How long a stop waits for requests that are being answered.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How often expired ids and idle channels are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A running emulator. Dropping it ends everything it runs; [`Self::shutdown`] also waits for that.
#[derive(Debug)]
pub struct Emulator {
    addr: SocketAddr,
    tasks: JoinSet<()>,
    sessions: TaskTracker,
    shutdown: DropGuard,
}

impl Emulator {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address cannot be listened on, the key is malformed, or a limit is zero.
    pub async fn start(config: EmulatorConfig) -> Result<Self, EmulatorError> {
        config.check()?;
        let credentials = Credentials::parse(&config.api_key)?;
        let listening = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                EmulatorError::AddressInUse { addr: config.listen }
            } else {
                EmulatorError::Listen { addr: config.listen, source }
            }
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let addr = listener.local_addr().map_err(listening)?;
        let shutdown = CancellationToken::new();
        let sessions = TaskTracker::new();
        let shared = Arc::new(Shared {
            hub: Hub::new(Limits::from(&config), random_name().into()),
            credentials,
            faults: FaultBoard::default(),
            stats: Stats::default(),
            clock: Clock::start(),
            message_bytes_max: config.message_bytes_max,
            body_bytes_max: config.body_bytes_max,
            subscriber_bytes_max: config.subscriber_bytes_max,
            heartbeat: config.heartbeat,
            disconnects: watch::Sender::new(0),
            sessions: sessions.clone(),
            shutdown: shutdown.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(sweep(Arc::clone(&shared)));
        tasks.spawn(accept(listener, router(shared), config.connections_max, shutdown.clone()));
        Ok(Self { addr, tasks, sessions, shutdown: shutdown.drop_guard() })
    }

    /// Where it listens, with the port that was free when 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://<addr>`, for REST clients; Ably's own take host and port apart.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops accepting, ends every subscription, and waits for what is being answered, at most 2 s.
    pub async fn shutdown(mut self) {
        drop(self.shutdown);
        self.sessions.close();
        let ended = async {
            while self.tasks.join_next().await.is_some() {}
            self.sessions.wait().await;
        };
        // Whatever is left then is aborted with the set.
        _ = timeout(STOP_GRACE + Duration::from_secs(1), ended).await;
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            _ = ticks.tick() => shared.hub.lock().sweep(shared.clock.now_ms()),
        }
    }
}

/// Owns the connections: when it ends or is aborted, they do.
async fn accept(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            next = next => match next {
                (Ok(place), Ok((stream, peer))) => {
                    // Small frames must leave at once. A socket that refuses the option is closed already.
                    _ = stream.set_nodelay(true);
                    let reset = CancellationToken::new();
                    let socket = Socket::new(stream, reset.clone(), place);
                    let connection = Connection { peer, reset };
                    connections.spawn(serve(socket, connection, router.clone(), shutdown.clone()));
                }
                // Out of file descriptors, or the client left the queue: neither ends the server.
                (_, Err(_)) => sleep(Duration::from_millis(10)).await,
                (Err(_), _) => break,
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    _ = timeout(STOP_GRACE, ended).await;
}

async fn serve(
    socket: Socket,
    connection: Connection,
    router: Router,
    shutdown: CancellationToken,
) {
    let reset = connection.reset.clone();
    let service = TowerToHyperService::new(router.layer(Extension(connection)));
    let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let mut served = std::pin::pin!(served.with_upgrades());
    tokio::select! {
        // A connection that broke concerns its client only.
        _ = served.as_mut() => return,
        () = reset.cancelled() => return,
        () = shutdown.cancelled() => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = served => {}
        () = reset.cancelled() => {}
    }
}
