//! An endpoint that stands for Ably: takes batches over HTTP/1.1, notes when each event came, answers after a
//! set time. By hand, because the emulator keeps what it gets and would be the slowest part of a drain; on a
//! thread of its own, so that its CPU time can be told from the rest.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Events that one run can tell apart.
const EVENTS_MAX: usize = 1_200_000;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers after so many milliseconds.
    After(u64),
    /// Answers at once, a byte every 20 ms.
    Dripping,
    /// Takes the request and says nothing.
    Silent,
}

/// What has arrived.
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    /// The thread that does all of it.
    pub(crate) thread: i32,
    state: Arc<State>,
}

struct State {
    origin: Instant,
    manner: Mutex<Manner>,
    /// Nanoseconds after `origin` at which event n arrived first; 0 is not yet.
    arrived: Vec<AtomicU64>,
    distinct: AtomicUsize,
    repeats: AtomicUsize,
    late: AtomicUsize,
    requests: AtomicUsize,
    /// The highest event of each channel.
    last: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::new(State {
            origin: Instant::now(),
            manner: Mutex::new(Manner::After(0)),
            arrived: (0..EVENTS_MAX).map(|_| AtomicU64::new(0)).collect(),
            distinct: AtomicUsize::new(0),
            repeats: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            last: Mutex::new(HashMap::new()),
        });
        let shared = Arc::clone(&state);
        // Ends with the program.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let thread = nix::unistd::gettid().as_raw();
                tell.send((server.local_addr().unwrap(), thread)).unwrap();
                let mut connections = JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = server.accept() => {
                            connections.spawn(serve(accepted.unwrap().0, Arc::clone(&shared)));
                        }
                        Some(_) = connections.join_next() => {}
                    }
                }
            });
        });
        let (addr, thread) = told.recv().unwrap();
        Self { addr, thread, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Forgets everything.
    pub(crate) fn reset(&self, manner: Manner) {
        let s = &self.state;
        for arrived in &s.arrived {
            arrived.store(0, Ordering::Relaxed);
        }
        for counter in [&s.distinct, &s.repeats, &s.late, &s.requests] {
            counter.store(0, Ordering::Relaxed);
        }
        s.last.lock().unwrap().clear();
        self.behave(manner);
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Different events so far.
    pub(crate) fn distinct(&self) -> usize {
        self.state.distinct.load(Ordering::Relaxed)
    }

    /// Events that came again.
    pub(crate) fn repeats(&self) -> usize {
        self.state.repeats.load(Ordering::Relaxed)
    }

    /// Events that came after a later one of their channel.
    pub(crate) fn late(&self) -> usize {
        self.state.late.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// When event `n` arrived.
    pub(crate) fn arrived(&self, n: usize) -> Option<Instant> {
        let at = self.state.arrived[n].load(Ordering::Acquire);
        (at > 0).then(|| self.state.origin + Duration::from_nanos(at))
    }

    /// Waits for event `n`, without a timer's coarseness.
    pub(crate) async fn wait_for(&self, n: usize, limit: Duration) -> Instant {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.arrived(n) {
                return at;
            }
            assert!(Instant::now() < deadline, "event {n} did not arrive within {limit:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many different events have arrived.
    pub(crate) async fn wait_until(&self, count: usize, limit: Duration) -> Instant {
        let deadline = Instant::now() + limit;
        while self.distinct() < count {
            let have = self.distinct();
            assert!(Instant::now() < deadline, "{have} of {count} arrived within {limit:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    }
}

async fn serve(mut socket: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(64 * 1024);
    loop {
        let Some((head, length)) = read_request(&mut socket, &mut buffer).await? else {
            return Ok(());
        };
        let manner = *state.manner.lock().unwrap();
        let taken = manner != Manner::Silent;
        let answer = note(&state, &buffer[head..head + length], taken);
        buffer.drain(..head + length);
        match manner {
            Manner::After(0) => {}
            Manner::After(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Manner::Dripping => {
                for (at, byte) in answer.chunks(1).enumerate() {
                    if *state.manner.lock().unwrap() != Manner::Dripping {
                        socket.write_all(&answer[at..]).await?;
                        break;
                    }
                    socket.write_all(byte).await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                continue;
            }
            Manner::Silent => {
                // What comes back answers new connections, not the old ones.
                while *state.manner.lock().unwrap() == Manner::Silent {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return Ok(());
            }
        }
        socket.write_all(&answer).await?;
    }
}

/// Length of the head, and of the body behind it.
async fn read_request(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<(usize, usize)>> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let head = &buffer[..end];
            let length = match find_lower(head, b"content-length: ") {
                Some(at) => std::str::from_utf8(&head[at..])
                    .ok()
                    .and_then(|text| text.split("\r\n").next())
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(0),
                None => 0,
            };
            let whole = end + 4 + length;
            buffer.reserve(whole.saturating_sub(buffer.len()));
            while buffer.len() < whole {
                if socket.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            return Ok(Some((end + 4, length)));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Notes the events of a body and writes the answer: a serial a message, as Ably's.
fn note(state: &State, body: &[u8], taken: bool) -> Vec<u8> {
    let now = u64::try_from(state.origin.elapsed().as_nanos()).unwrap().max(1);
    state.requests.fetch_add(1, Ordering::Relaxed);
    let batch = body.starts_with(b"[{\"channels\":");
    let mut answer = Vec::with_capacity(256);
    let mut rest = body;
    let mut first = true;
    while let Some(at) = batch.then(|| find(rest, b"{\"channels\":\"")).flatten() {
        rest = &rest[at + 13..];
        let end = rest.iter().position(|b| *b == b'"').unwrap();
        let channel = &rest[..end];
        let until = find(rest, b"{\"channels\":\"").unwrap_or(rest.len());
        let messages = note_channel(state, channel, &rest[..until], now, taken);
        rest = &rest[until..];
        answer.extend_from_slice(if first { b"[" } else { b"," });
        first = false;
        answer.extend_from_slice(b"{\"successCount\":1,\"failureCount\":0,\"results\":[");
        confirm(&mut answer, channel, messages);
        answer.extend_from_slice(b"]}");
    }
    if batch {
        answer.push(b']');
    } else {
        // Alone the channel stands in the path only; the envelope has the tenant.
        let tenant = find(body, br#"\"tenantId\":\""#).map(|at| &body[at + 15..]);
        let channel =
            tenant.map_or(&b""[..], |t| &t[..t.iter().position(|b| *b == b'\\').unwrap()]);
        let channel = [b"tenant:", channel].concat();
        let messages = note_channel(state, &channel, body, now, taken);
        confirm(&mut answer, &channel, messages);
    }
    let mut out = format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    )
    .into_bytes();
    out.extend_from_slice(&answer);
    out
}

fn confirm(answer: &mut Vec<u8>, channel: &[u8], messages: usize) {
    answer.extend_from_slice(b"{\"channel\":\"");
    answer.extend_from_slice(channel);
    answer.extend_from_slice(b"\",\"messageId\":\"m:0\",\"serials\":[");
    for n in 0..messages {
        if n > 0 {
            answer.push(b',');
        }
        answer.extend_from_slice(b"\"01769123456789-000@bench:000\"");
    }
    answer.extend_from_slice(b"]}");
}

/// Events say `"n": 123` in their payload, which is a string within a string here.
fn note_channel(state: &State, channel: &[u8], mut rest: &[u8], now: u64, taken: bool) -> usize {
    const MARK: &[u8] = br#"\"payload\":{\"n\": "#;
    let (mut messages, mut distinct, mut repeats, mut late) = (0, 0, 0, 0);
    let mut lasts = state.last.lock().unwrap();
    let last = lasts.entry(channel.to_vec()).or_default();
    while let Some(at) = find(rest, MARK) {
        rest = &rest[at + MARK.len()..];
        messages += 1;
        let n = rest.iter().take_while(|b| b.is_ascii_digit());
        let n = n.fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
        let index = usize::try_from(n).unwrap();
        if !taken {
            continue;
        }
        if state.arrived[index]
            .compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
        {
            distinct += 1;
            late += usize::from(n < *last);
            *last = n.max(*last);
        } else {
            repeats += 1;
        }
    }
    state.distinct.fetch_add(distinct, Ordering::Relaxed);
    state.repeats.fetch_add(repeats, Ordering::Relaxed);
    state.late.fetch_add(late, Ordering::Relaxed);
    messages
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

fn find_lower(head: &[u8], needle: &[u8]) -> Option<usize> {
    find(&head.to_ascii_lowercase(), needle).map(|at| at + needle.len())
}
