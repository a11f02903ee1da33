//! A TCP proxy that can stop forwarding without a word, as a network does that has lost a route.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where connections lead.
#[derive(Debug, Clone)]
pub(crate) enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Nothing passes and nothing ends.
    Black,
    /// Connections are dropped.
    Refuse,
}

/// What holds for connections from now on; the token ends what held before.
#[derive(Debug, Clone)]
struct Rule {
    mode: Mode,
    changed: CancellationToken,
}

/// A running proxy; dropped, it drops all connections.
pub(crate) struct Proxy {
    addr: SocketAddr,
    rule: Arc<Mutex<Rule>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let first = Rule { mode: Mode::Forward, changed: CancellationToken::new() };
        let rule = Arc::new(Mutex::new(first));
        let mut accepting = JoinSet::new();
        let rules = Arc::clone(&rule);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, upstream.clone(), Arc::clone(&rules)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, rule, _accepting: accepting }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Swallows everything, on old and new connections, and lets none end.
    pub(crate) fn blackhole(&self) {
        self.switch(Mode::Black);
    }

    /// Drops every connection, old and new.
    pub(crate) fn refuse(&self) {
        self.switch(Mode::Refuse);
    }

    /// New connections work; what was swallowed stays swallowed.
    pub(crate) fn heal(&self) {
        self.switch(Mode::Forward);
    }

    fn switch(&self, mode: Mode) {
        let next = Rule { mode, changed: CancellationToken::new() };
        let before = std::mem::replace(&mut *self.rule.lock().unwrap(), next);
        before.changed.cancel();
    }
}

async fn serve(client: TcpStream, upstream: Upstream, rules: Arc<Mutex<Rule>>) {
    let rule = rules.lock().unwrap().clone();
    match rule.mode {
        Mode::Refuse => return,
        Mode::Black => return hold(client).await,
        Mode::Forward => {}
    }
    match upstream {
        Upstream::Tcp(addr) => {
            if let Ok(server) = TcpStream::connect(addr).await {
                pump(client, server, rule, &rules).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                pump(client, server, rule, &rules).await;
            }
        }
    }
}

async fn pump<S>(mut client: TcpStream, mut server: S, rule: Rule, rules: &Mutex<Rule>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let changed = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => false,
        () = rule.changed.cancelled() => true,
    };
    if changed && rules.lock().unwrap().mode == Mode::Black {
        hold((client, server)).await;
    }
}

/// Keeps sockets open, reading nothing, until the proxy is dropped.
async fn hold<T>(_sockets: T) {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_black_hole_swallows_ends_nothing_and_heals_for_new_connections_only() {
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::Tcp(echo.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut socket, _)) = echo.accept().await {
            served.spawn(async move {
                let (mut read, mut write) = socket.split();
                _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let proxy = Proxy::start(upstream).await;
    let echoed = async |socket: &mut TcpStream| {
        socket.write_all(b"x").await.unwrap();
        tokio::time::timeout(Duration::from_millis(500), socket.read_u8()).await
    };
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(echoed(&mut old).await.unwrap().unwrap(), b'x');
    proxy.blackhole();
    assert!(echoed(&mut old).await.is_err(), "silence, not an end");
    proxy.heal();
    assert!(echoed(&mut old).await.is_err(), "what was swallowed stays so");
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(echoed(&mut new).await.unwrap().unwrap(), b'x');
    proxy.refuse();
    assert!(matches!(echoed(&mut new).await, Ok(Err(_))), "dropped");
}
