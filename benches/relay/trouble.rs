//! Bad input: an endpoint that drips or is silent, a database that stalls, a sudden backlog. Latency may suffer;
//! memory and the speed afterwards may not.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::Client;

use crate::bed::Database;
use crate::numbers::{Results, Table, count, show};
use crate::process::{Relay, servers};
use crate::sink::{Manner, Sink};
use crate::{Scale, say};

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Dripping,
    Silent,
    Stall,
    Lock,
}

const TROUBLES: [(Trouble, &str); 4] = [
    (Trouble::Dripping, "the endpoint answers a byte every 20 ms"),
    (Trouble::Silent, "the endpoint never answers"),
    (Trouble::Stall, "all server processes are stopped"),
    (Trouble::Lock, "the table is locked"),
];

/// The part.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = database.connect().await;
    let mut rows = Vec::new();
    let seconds = if scale.quick { 3 } else { 10 };
    for (trouble, name) in TROUBLES {
        database.empty(&client).await;
        sink.reset(Manner::After(0));
        let relay = Relay::start(&database.url, &sink.url(), &[]);
        let back = one(database, &client, sink, trouble, Duration::from_secs(seconds)).await;
        let memory = relay.peak_memory();
        let repeats = sink.repeats();
        say(&format!(
            "{name} for {seconds} s: back after {back:.3} s, {memory:.1} MiB, {repeats} repeats"
        ));
        rows.push(vec![
            name.to_owned(),
            show(back),
            show(memory),
            repeats.to_string(),
            sink.late().to_string(),
        ]);
        results.at_most(
            &format!("{name} for {seconds} s: a new event goes out again after"),
            1.0,
            back,
            "s",
        );
        results.at_most(&format!("{name} for {seconds} s: memory"), 64.0, memory, "MiB");
        relay.stop();
    }
    takeover(database, &client, sink, scale, results).await;
    let head = [
        "Trouble",
        "a new event goes out after, s",
        "relay MiB (peak)",
        "repeated (same ids)",
        "late",
    ];
    results.tables.push(Table { title: "Trouble", head: head.map(str::to_owned).to_vec(), rows });
}

/// Trouble while 20,000 events wait; how long after its end an event of another tenant goes out.
async fn one(
    database: &Database,
    client: &Client,
    sink: &Sink,
    trouble: Trouble,
    length: Duration,
) -> f64 {
    let stopped = match trouble {
        Trouble::Dripping => {
            sink.behave(Manner::Dripping);
            Vec::new()
        }
        Trouble::Silent => {
            sink.behave(Manner::Silent);
            Vec::new()
        }
        Trouble::Stall | Trouble::Lock => Vec::new(),
    };
    database.seed(client, 0, 20_000, 200).await;
    let stopped = match trouble {
        Trouble::Stall => {
            let all = servers(database.postmaster);
            for pid in &all {
                kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
            }
            all
        }
        Trouble::Lock => {
            client
                .batch_execute("begin; lock table outbox.event in access exclusive mode")
                .await
                .unwrap();
            stopped
        }
        Trouble::Dripping | Trouble::Silent => stopped,
    };
    tokio::time::sleep(length).await;
    for pid in &stopped {
        kill(Pid::from_raw(*pid), Signal::SIGCONT).unwrap();
    }
    if matches!(trouble, Trouble::Lock) {
        client.batch_execute("rollback").await.unwrap();
    }
    sink.behave(Manner::After(0));
    let over = Instant::now();
    let number = 20_001;
    let sql = format!(
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
         values ('lone', 'A', '1', 'a.b', jsonb_build_object('n', {number}))"
    );
    client.batch_execute(&sql).await.unwrap();
    let arrived = sink.wait_for(number, Duration::from_secs(60)).await;
    let all = sink.wait_until(20_001, Duration::from_secs(60)).await;
    database.settled(client).await;
    say(&format!(
        "all {} out {:.2} s after the trouble",
        show(count(20_001)),
        all.saturating_duration_since(over).as_secs_f64()
    ));
    arrived.saturating_duration_since(over).as_secs_f64()
}

/// One of two relays is killed in the midst of work: how long the next event of each tenant then takes.
async fn takeover(
    database: &Database,
    client: &Client,
    sink: &Sink,
    scale: Scale,
    results: &mut Results,
) {
    let rounds = if scale.quick { 6 } else { 40 };
    database.empty(client).await;
    sink.reset(Manner::After(0));
    let mut ages = Vec::new();
    let mut number = 0;
    let mut other = Relay::start(&database.url, &sink.url(), &[]);
    let insert = async |number: usize| {
        let sql = format!(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             values ('tenant-{}', 'A', '1', 'a.b', jsonb_build_object('n', {number}))",
            number % 4
        );
        client.batch_execute(&sql).await.unwrap();
    };
    for round in 0..rounds {
        let killed = std::mem::replace(&mut other, Relay::start(&database.url, &sink.url(), &[]));
        // Every other time so much that writers are silent, else so little that each rings.
        let (events, gap) = if round % 2 == 0 { (300, 2) } else { (20, 30) };
        for _ in 0..events {
            number += 1;
            insert(number).await;
            tokio::time::sleep(Duration::from_millis(gap)).await;
        }
        killed.crash();
        let begun = Instant::now();
        let mut slowest: f64 = 0.0;
        for _ in 0..4 {
            number += 1;
            insert(number).await;
        }
        for next in number - 3..=number {
            let arrived = sink.wait_for(next, Duration::from_secs(60)).await;
            slowest = slowest.max(arrived.saturating_duration_since(begun).as_secs_f64());
        }
        ages.push(slowest);
    }
    other.stop();
    ages.sort_unstable_by(f64::total_cmp);
    let (median, slowest) = (ages[ages.len() / 2], ages.last().copied().unwrap_or_default());
    say(&format!(
        "takeover after kill -9, {rounds} times: median {median:.3} s, slowest {slowest:.3} s"
    ));
    results.at_most(
        "one of two relays killed: next events of its tenants, slowest",
        1.0,
        slowest,
        "s",
    );
}
