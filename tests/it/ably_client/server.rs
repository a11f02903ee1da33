//! An HTTP server that does what a test scripts, keeps what it was sent, and can misbehave on the
//! level of bytes: reset, fall silent, drip, break off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Which connection it came over, from 0.
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the server does with a request.
pub(super) enum Reply {
    /// Answers with these bytes, head and all.
    Raw(Vec<u8>),
    /// Answers with these bytes, one every 20 ms.
    Drip(Vec<u8>),
    /// Answers with these bytes and closes.
    Cut(Vec<u8>),
    /// Answers once so many requests are waiting for it.
    Gather(usize, Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Says nothing until the client leaves.
    Silence,
}

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &str) -> Reply {
    Reply::Raw(bytes(status, "Content-Type: application/json\r\n", body))
}

/// An answer in bytes; every header ends with CR LF.
pub(super) fn bytes(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// What Ably would answer if it accepted everything.
pub(super) fn accept(request: &Request) -> Reply {
    if request.path == "/messages" {
        let results: Vec<_> = request.json().as_array().unwrap().iter().map(accept_spec).collect();
        return json(201, &serde_json::Value::from(results).to_string());
    }
    json(201, r#"{"messageId":"m","serials":["s"]}"#)
}

/// The result of a spec that was accepted.
pub(super) fn accept_spec(spec: &serde_json::Value) -> serde_json::Value {
    let result = serde_json::json!({ "channel": spec["channels"], "messageId": "m" });
    serde_json::json!({ "successCount": 1, "failureCount": 0, "results": [result] })
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    waiting: AtomicUsize,
    waiting_max: AtomicUsize,
    gathered: tokio::sync::Notify,
}

/// A running server; it ends when dropped.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            waiting: AtomicUsize::new(0),
            waiting_max: AtomicUsize::new(0),
            gathered: tokio::sync::Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, Arc::clone(&shared)));
        Self { address, shared, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived until now.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Most requests that were there at the same time.
    pub(super) fn at_once(&self) -> usize {
        self.shared.waiting_max.load(Ordering::SeqCst)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream, number, Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    while let Some(request) = read(&mut stream, connection).await {
        shared.requests.lock().unwrap().push(request.clone());
        let waiting = shared.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        shared.waiting_max.fetch_max(waiting, Ordering::SeqCst);
        let reply = (shared.script)(&request);
        let goes_on = act(&mut stream, reply, &shared).await;
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            return;
        }
    }
}

/// Does what the script says; returns whether the connection goes on.
async fn act(stream: &mut TcpStream, reply: Reply, shared: &Shared) -> bool {
    match reply {
        Reply::Raw(bytes) => stream.write_all(&bytes).await.is_ok(),
        Reply::Drip(bytes) => {
            for byte in bytes {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return false;
                }
            }
            true
        }
        Reply::Cut(bytes) => {
            _ = stream.write_all(&bytes).await;
            false
        }
        Reply::Gather(count, bytes) => {
            loop {
                let gathered = shared.gathered.notified();
                if shared.waiting_max.load(Ordering::SeqCst) >= count {
                    shared.gathered.notify_waiters();
                    break;
                }
                gathered.await;
            }
            stream.write_all(&bytes).await.is_ok()
        }
        Reply::Reset => {
            stream.set_zero_linger().unwrap();
            false
        }
        Reply::Silence => {
            // Ends when the client closes.
            _ = stream.read(&mut [0; 1]).await;
            false
        }
    }
}

async fn read(stream: &mut TcpStream, connection: usize) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length");
    let length: usize = length.map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { connection, method, path, headers, body })
}
