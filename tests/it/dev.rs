//! `dev` as a person or a script meets it: events arrive, it adds up, and nothing is left behind.

mod process;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use self::process::{
    Dev, LIMIT, assert_nothing_is_left, assert_nothing_is_left_soon, assert_two_lines, cluster,
    summary,
};
use crate::support::outbox::{Outbox, count, insert, wait_until};
use crate::support::postgres::{TestDatabase, connect};

#[test]
fn two_hundred_events_are_delivered_once_in_order_and_nothing_is_left() {
    let dev = Dev::start(&["--exit-after", "200", "--rate", "100", "--json"]);
    let directory = cluster(&dev.started());
    let end = dev.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    assert_nothing_is_left(&directory);

    let summary = summary(&end.stdout);
    assert_eq!(summary["published"], 200);
    assert_eq!(summary["delivered"], 200);
    assert_eq!(summary["duplicates"], 0);
    assert_eq!(summary["out_of_order"], 0);
    let percentile = |name: &str| summary["latency_ms"][name].as_f64().unwrap();
    assert!(0.0 < percentile("p50") && percentile("p50") <= percentile("p99"));

    let events: Vec<Value> = end.stdout[..end.stdout.len() - 1]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 200);
    let ids: std::collections::HashSet<_> =
        events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 200);
    for event in &events {
        assert_eq!(event["type"], "event");
        assert!(event["latency_ms"].as_f64().unwrap() >= 0.0);
        let channel = format!("tenant:{}", event["tenant"].as_str().unwrap());
        assert_eq!(event["channel"], channel);
    }
}

#[test]
fn replies_that_get_lost_cost_no_event_and_double_none() {
    let dev = Dev::start(&["--exit-after", "60", "--rate", "50", "--json"]);
    let started = dev.started();
    let address = started["emulator"]["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    for fault in [
        r#"{"kind":"reset_after","times":5,"probability":0.5}"#,
        r#"{"kind":"status_after","status":503,"times":3,"probability":0.5}"#,
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /_emulator/faults HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{fault}",
            fault.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let end = dev.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("publishing is interrupted"), "no fault struck: {}", end.stderr);
    let summary = summary(&end.stdout);
    let counts = ["published", "delivered", "duplicates", "out_of_order"];
    assert_eq!(counts.map(|name| summary[name].as_u64().unwrap()), [60, 60, 0, 0], "{summary}");
}

#[test]
fn sigterm_ends_it_with_a_summary_and_nothing_is_left() {
    let dev = Dev::start(&["--json", "--rate", "50"]);
    let directory = cluster(&dev.started());
    for _ in 0..10 {
        dev.line_with("\"event\"");
    }
    dev.signal(Signal::SIGTERM);
    let end = dev.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    assert_nothing_is_left(&directory);
    let summary = summary(&end.stdout);
    assert!(summary["published"].as_u64().unwrap() >= 10, "{summary}");
    assert_eq!(summary["published"], summary["delivered"]);
    assert_eq!(summary["duplicates"], 0);
}

#[test]
fn sigkill_leaves_nothing_either() {
    let dev = Dev::start(&["--json"]);
    let directory = cluster(&dev.started());
    dev.line_with("\"event\"");
    dev.signal(Signal::SIGKILL);
    assert_eq!(dev.end().code, None);
    assert_nothing_is_left_soon(&directory);
}

#[test]
fn a_reader_that_goes_away_ends_it_and_nothing_is_left() {
    let mut dev = Dev::start(&["--json", "--rate", "50"]);
    let directory = cluster(&dev.started());
    // Whoever reads the pipe notices at the next line, and closes it.
    dev.lines = channel().1;
    assert_eq!(dev.child.wait().unwrap().code(), Some(0));
    assert_nothing_is_left(&directory);
}

#[test]
fn a_server_that_is_killed_ends_it_with_that_cause() {
    let dev = Dev::start(&["--json", "--rate", "100"]);
    let directory = cluster(&dev.started());
    dev.line_with("\"event\"");
    let pid = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    kill(Pid::from_raw(pid.lines().next().unwrap().parse().unwrap()), Signal::SIGKILL).unwrap();
    let end = dev.end();
    assert_eq!(end.code, Some(69), "{}", end.stderr);
    assert!(end.stderr.contains("error: the private PostgreSQL has ended"), "{}", end.stderr);
    assert_nothing_is_left_soon(&directory);
}

#[tokio::test]
async fn the_banners_lines_do_what_they_say_when_they_are_pasted() {
    let dev = Dev::start(&["--rate", "20"]);
    let psql = dev.line_with(" enqueue ");
    let curl = dev.line_with(" curl ");
    let ably = dev.line_with(" ably ");
    assert!(
        ably.contains("endpoint: '127.0.0.1', port: ") && ably.contains("tls: false"),
        "{ably}"
    );

    let (address, data) = first_event_of(curl.trim_start().strip_prefix("curl").unwrap().trim());
    assert!(data.contains("tenant:bistro-nord") && data.contains("kitchen.task."), "{data}");
    assert!(ably.contains(&format!("port: {},", address.rsplit_once(':').unwrap().1)), "{ably}");

    let directory = psql.split(' ').skip_while(|word| *word != "-h").nth(1).unwrap();
    let (_, sql) = psql.split_once("-c \"").unwrap();
    let client = connect(&format!("host={directory} user=postgres dbname=postgres")).await;
    client.batch_execute(sql.strip_suffix('"').unwrap()).await.unwrap();
    let line = dev.line_with(" mine ");
    assert!(line.contains("bistro-nord") && line.contains(" ~"), "{line}");

    dev.signal(Signal::SIGINT);
    let end = dev.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    let last = end.stdout.last().unwrap();
    assert!(last.contains(" delivered, 0 duplicates, 0 out of order; "), "{last}");
    assert!(end.stdout.iter().all(|line| !line.contains('\u{1b}')));
}

/// Runs the line as it stands, by curl if there is one, and returns the server's address and the first
/// event's data.
fn first_event_of(line: &str) -> (String, String) {
    let url = line.strip_prefix("curl -N '").unwrap().strip_suffix('\'').unwrap();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let data = |stream: &mut dyn std::io::Read| {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.find(|line| line.starts_with("data: ")).expect("an event")
    };
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        let mut curl = Command::new("sh")
            .args(["-c", &format!("exec {line} --silent --max-time 60")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let data = data(curl.stdout.as_mut().unwrap());
        curl.kill().unwrap();
        curl.wait().unwrap();
        return (address.to_owned(), data);
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    (address.to_owned(), data(&mut stream))
}

#[tokio::test]
async fn a_database_of_ones_own_gets_the_outbox_and_keeps_it() {
    let database = TestDatabase::create("dev_own").await;
    let client = database.connect().await;
    client.batch_execute("create table mine as select 1").await.unwrap();
    for (session, created) in [(1, true), (2, false)] {
        let dsn = database.dsn();
        let dev =
            Dev::start(&["--exit-after", "20", "--rate", "200", "--json", "--database-url", &dsn]);
        let started = dev.started();
        assert_eq!(started["database"]["private"], false);
        assert_eq!(started["database"]["created"], created);
        let end = dev.end();
        assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
        // Its own events, not those of the session before.
        assert_eq!(summary(&end.stdout)["published"], 20);
        assert_eq!(count(&client, "published").await, 20 * session);
    }
    client.batch_execute("select from mine").await.unwrap();
}

#[tokio::test]
async fn an_event_that_does_not_fit_its_schema_is_published_and_said_so() {
    let database = TestDatabase::create("dev_schema").await;
    let dev = Dev::start(&["--json", "--database-url", &database.dsn()]);
    dev.started();
    let client = database.connect().await;
    insert(&client, "a", r#"{"employeeId": "e-1"}"#).await;
    wait_until(
        &client,
        "select bool_or(tenant_id = 'a' and status = 'published') from outbox.event",
    )
    .await;
    dev.signal(Signal::SIGINT);
    let end = dev.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let lines: Vec<&str> = end.stderr.lines().collect();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("does not match the schema of its type"), "{line}");
    assert!(line.contains("/payload/taskId") && line.contains("events validate"), "{line}");
}

#[tokio::test]
async fn an_outbox_with_pending_events_is_refused_and_left_alone() {
    let outbox = Outbox::create("dev_pending").await;
    let client = outbox.connect().await;
    insert(&client, "a", "{}").await;
    let end = Dev::start(&["--json", "--database-url", &outbox.database.dsn()]).end();
    assert_eq!(end.code, Some(78), "{}", end.stderr);
    assert_eq!(end.stdout, Vec::<String>::new());
    assert_two_lines(&end.stderr, "pending events");
    assert_eq!(count(&client, "pending").await, 1);
}

#[tokio::test]
async fn a_database_where_another_relay_works_is_refused() {
    let database = TestDatabase::create("dev_relay").await;
    let dsn = database.dsn();
    let _relay = connect(&format!("{dsn} application_name='outbox-relay 0.0.0'")).await;
    let end = Dev::start(&["--database-url", &dsn]).end();
    assert_eq!(end.code, Some(78), "{}", end.stderr);
    assert_two_lines(&end.stderr, "another outbox-relay works on");
    let client = database.connect().await;
    let row = client.query_one("select to_regnamespace('outbox') is null", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0), "the schema was created");
}

#[test]
fn a_database_that_is_not_there_is_two_lines_without_the_password() {
    let end = Dev::start(&["--database-url", "postgres://u:hunter2@127.0.0.1:1/d"]).end();
    assert_eq!(end.code, Some(69), "{}", end.stderr);
    assert_two_lines(&end.stderr, "127.0.0.1:1");
    assert!(!end.stderr.contains("hunter2"), "{}", end.stderr);
    let end = Dev::start(&["--direct-url", "postgres://u@127.0.0.1:1/d"]).end();
    assert_eq!(end.code, Some(2), "{}", end.stderr);
}
