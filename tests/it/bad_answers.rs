//! Answers that are not Ably's, or not the truth: nothing is lost, nothing fails, memory stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::crash::insert_numbers;
use crate::drain::assert_complete_and_in_order;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, count};
use crate::support::relay::RelayCommand;

/// Most memory of a relay, in MiB; see `bad_data`.
const MEMORY_MAX: u64 = 120;

/// What stands in Ably's place for the first requests, and what they are answered; later ones reach Ably.
struct Impostor {
    address: std::net::SocketAddr,
    answered: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Impostor {
    async fn start(ably: &LocalAbly, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, real) = (listener.local_addr().unwrap(), ably.addr());
        let (answers, answered) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&answered);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, counter) = (Arc::clone(&answers), Arc::clone(&counter));
                connections.spawn(async move {
                    // A connection may end as it likes.
                    _ = serve(stream, real, &answers, &counter).await;
                });
            }
        });
        Self { address, answered, _tasks: tasks }
    }
}

enum Answer {
    /// These bytes, then the connection ends.
    Bytes(String),
    /// A body that has no end.
    Endless,
}

fn http(status: u16, kind: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

async fn serve(
    mut stream: TcpStream,
    real: std::net::SocketAddr,
    answers: &[Answer],
    counter: &AtomicUsize,
) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    match answers.get(counter.fetch_add(1, Ordering::SeqCst)) {
        Some(Answer::Bytes(bytes)) => stream.write_all(bytes.as_bytes()).await,
        Some(Answer::Endless) => {
            stream.write_all(b"HTTP/1.1 201 X\r\nContent-Type: application/json\r\n\r\n[").await?;
            loop {
                stream.write_all(&[b' '; 65_536]).await?;
            }
        }
        None => {
            let mut upstream = TcpStream::connect(real).await?;
            upstream.write_all(&request).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
        }
    }
}

/// One request, head and body.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |n| n.trim().parse().unwrap());
        if bytes.len() >= head + 4 + length {
            return Ok(bytes);
        }
    }
}

/// Three events of each of two tenants, through whatever answers first.
async fn survives(hint: &str, answers: Vec<Answer>) {
    let (outbox, ably) = (Outbox::create(hint).await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert_numbers(&client, "a", 0..3).await;
    insert_numbers(&client, "b", 0..3).await;
    let lies = answers.len();
    let impostor = Impostor::start(&ably, answers).await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("ABLY_ENDPOINT", &format!("http://{}", impostor.address))
        .env("OUTBOX_RELAY_ABLY_REQUEST_TIMEOUT", "2s")
        .start();
    let got = ably.wait_for(6).await;
    assert_complete_and_in_order(&got, 2, 3);
    assert!(impostor.answered.load(Ordering::SeqCst) > lies, "every answer was given");
    let published = async {
        while count(&client, "published").await < 6 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::local_ably::LIMIT, published).await.expect("settled");
    let attempts: i64 =
        client.query_one("select sum(attempts) from outbox.event", &[]).await.unwrap().get(0);
    assert_eq!(attempts, 0, "no event is blamed");
    let peak = relay.peak_memory();
    assert!(peak < MEMORY_MAX, "{hint}: {peak} MiB");
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(ably.accepted().await.len(), 6);
}

fn accepted(channel: &str) -> String {
    format!(
        r#"{{"successCount":1,"failureCount":0,"results":[{{"channel":"{channel}","messageId":"m","serials":["s"]}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_html_are_no_answer() {
    let page = "<!doctype html><title>Welcome to the airport's wireless network</title>";
    survives(
        "html",
        vec![
            http(200, "text/html", page),
            http(502, "text/html", page),
            http(201, "application/json", page),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_empty_answers_confirm_nothing() {
    let whole = format!("[{},{}]", accepted("tenant:a"), accepted("tenant:b"));
    let cut = &whole[..whole.len() / 2];
    let short = format!(
        "HTTP/1.1 201 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{cut}",
        whole.len()
    );
    survives(
        "truncated",
        vec![
            Answer::Bytes(short),
            http(201, "application/json", cut),
            http(201, "application/json", ""),
            http(200, "application/json", "null"),
            Answer::Bytes("HTTP/1.1 2".into()),
            Answer::Bytes("\u{16}\u{3}\u{1}no HTTP at all\r\n\r\n".into()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_and_huge_answers_are_not_read_to_the_end() {
    let huge = format!("[\"{}\"]", "x".repeat(50_000_000));
    let headers = format!(
        "HTTP/1.1 201 X\r\nX-Long: {}\r\nContent-Length: 2\r\n\r\n[]",
        "h".repeat(2_000_000)
    );
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    survives(
        "endless",
        vec![
            Answer::Endless,
            http(201, "application/json", &huge),
            http(201, "application/json", &deep),
            Answer::Bytes(headers),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_for_another_channel_confirms_nothing() {
    let json = "application/json";
    let (a, b, c) = (accepted("tenant:a"), accepted("tenant:b"), accepted("tenant:c"));
    survives(
        "channel",
        vec![
            http(201, json, &format!("[{b},{a}]")),
            http(201, json, &format!("[{c},{c}]")),
            http(201, json, &format!("[{a}]")),
            http(201, json, &format!("[{a},{b},{c}]")),
            http(201, json, r#"{"channel":"tenant:c","messageId":"m","serials":["s"]}"#),
            http(201, json, "[{},{}]"),
            http(200, json, r#"[{"results":[]},{"results":[]}]"#),
        ],
    )
    .await;
}
