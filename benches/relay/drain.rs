//! (c), (e): how fast a backlog goes out, what it costs, and the limit that PostgreSQL sets.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::bed::{Counted, Database};
use crate::numbers::{Results, Table, count, median, show};
use crate::process::{self, Relay};
use crate::sink::{Manner, Sink};
use crate::{Scale, say};

/// One drain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drained {
    pub(crate) events_per_second: f64,
    /// CPU seconds per 1,000 events.
    pub(crate) relay_cpu: f64,
    pub(crate) postgres_cpu: f64,
    pub(crate) sink_cpu: f64,
    pub(crate) memory_mib: f64,
    pub(crate) late: usize,
    pub(crate) repeats: usize,
    /// Per 1,000 events.
    pub(crate) wal_kib: f64,
    pub(crate) dead_rows: f64,
    pub(crate) statements: f64,
    pub(crate) requests: usize,
}

/// What is drained, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) events: usize,
    pub(crate) tenants: usize,
    pub(crate) answer_ms: u64,
    pub(crate) relays: usize,
    pub(crate) settings: &'a [(&'a str, &'a str)],
}

impl Load<'_> {
    pub(crate) fn of(events: usize, tenants: usize, answer_ms: u64) -> Self {
        Self { events, tenants, answer_ms, relays: 1, settings: &[] }
    }
}

/// Puts a backlog before relays that it starts, and measures until all of it is settled.
pub(crate) async fn drain(
    database: &Database,
    client: &Client,
    sink: &Sink,
    load: Load<'_>,
) -> Drained {
    sink.reset(Manner::After(load.answer_ms));
    let relays: Vec<Relay> =
        (0..load.relays).map(|_| Relay::start(&database.url, &sink.url(), load.settings)).collect();
    let (drained, counted) = drain_by(&relays, database, client, sink, load).await;
    // The server tells its counts a second late, or when a session ends.
    for relay in relays {
        relay.stop();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let counted = Counted::now(client).await.since(counted);
    if std::env::var_os("BENCH_TOP").is_some() {
        for line in database.top_statements(client).await {
            say(&line);
        }
    }
    let thousands = count(load.events) / 1_000.0;
    Drained {
        wal_kib: counted.wal_bytes / 1_024.0 / thousands,
        dead_rows: counted.dead_rows / thousands,
        statements: counted.statements / thousands,
        ..drained
    }
}

/// The same by relays that run, all in one commit; with what the server had counted before, instead of since.
pub(crate) async fn drain_by(
    relays: &[Relay],
    database: &Database,
    client: &Client,
    sink: &Sink,
    load: Load<'_>,
) -> (Drained, Counted) {
    sink.reset(Manner::After(load.answer_ms));
    client.batch_execute("begin").await.unwrap();
    database.seed(client, 0, load.events, load.tenants).await;
    let counted = Counted::now(client).await;
    let cpu = || relays.iter().map(Relay::cpu).sum::<f64>();
    let before =
        (cpu(), process::cpu_of_postgres(database.postmaster), process::cpu_of_thread(sink.thread));
    let started = Instant::now();
    client.batch_execute("commit").await.unwrap();
    sink.wait_until(load.events, Duration::from_secs(180)).await;
    database.settled(client).await;
    let seconds = started.elapsed().as_secs_f64();
    let thousands = count(load.events) / 1_000.0;
    let drained = Drained {
        events_per_second: count(load.events) / seconds,
        relay_cpu: (cpu() - before.0) / thousands,
        postgres_cpu: (process::cpu_of_postgres(database.postmaster) - before.1) / thousands,
        sink_cpu: (process::cpu_of_thread(sink.thread) - before.2) / thousands,
        memory_mib: relays.iter().map(Relay::peak_memory).fold(0.0, f64::max),
        late: sink.late(),
        repeats: sink.repeats(),
        requests: sink.requests(),
        ..Drained::default()
    };
    (drained, counted)
}

/// The fastest way in which rows of this table can be claimed and settled in order: no tenants, no record of
/// groups, nothing published; 500 rows a transaction on one connection.
pub(crate) async fn limit(database: &Database, client: &Client, load: Load<'_>) -> f64 {
    database.seed(client, 0, load.events, load.tenants).await;
    let worker = database.connect().await;
    worker.batch_execute("set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set jit = off").await.unwrap();
    let claim = worker
        .prepare(
            "select seq, id, tenant_id, aggregate_type, aggregate_id, event_type, payload::text, headers::text
               from outbox.event where status = 'pending' order by tenant_id, seq limit 500 for update skip locked",
        )
        .await
        .unwrap();
    let settle = worker
        .prepare("update outbox.event set status = 'published', published_at = now() where seq = any ($1)")
        .await
        .unwrap();
    let started = Instant::now();
    let mut done = 0;
    while done < load.events {
        let (begun, rows) = tokio::join!(worker.batch_execute("begin"), worker.query(&claim, &[]));
        begun.unwrap();
        let seqs: Vec<i64> = rows.unwrap().iter().map(|row| row.get(0)).collect();
        done += seqs.len();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&seqs];
        let (settled, committed) =
            tokio::join!(worker.execute(&settle, &parameters), worker.batch_execute("commit"));
        settled.unwrap();
        committed.unwrap();
        assert!(started.elapsed() < Duration::from_secs(120), "the limit takes too long");
    }
    count(load.events) / started.elapsed().as_secs_f64()
}

/// The part: drains at 0 and 20 ms and the limit, interleaved.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = database.connect().await;
    let (events, tenants) = (50_000, 200);
    // Slots, caches and the disk's own mood: the first run of each is not counted.
    let mut limits = Vec::new();
    let mut runs: [Vec<Drained>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=scale.rounds {
        database.empty(&client).await;
        let value = limit(database, &client, Load::of(events, tenants, 0)).await;
        say(&format!("drain limit: {} events/s", show(value)));
        limits.push(value);
        for (index, answer_ms) in [0, 20].into_iter().enumerate() {
            database.empty(&client).await;
            let drained =
                drain(database, &client, sink, Load::of(events, tenants, answer_ms)).await;
            say(&format!("drain at {answer_ms} ms, round {round}: {drained:.3?}"));
            runs[index].push(drained);
        }
    }
    limits.remove(0);
    let limit = median(&limits);
    let mut rows = vec![vec!["limit: claim and settle, nothing published".into(), show(limit)]];
    rows[0].resize(12, String::new());
    for (index, answer_ms) in [0, 20].into_iter().enumerate() {
        let runs = &runs[index][1..];
        let of = |f: fn(&Drained) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
        let rate = of(|d| d.events_per_second);
        rows.push(vec![
            format!("endpoint answers in {answer_ms} ms"),
            show(rate),
            show(rate / limit),
            show(of(|d| d.relay_cpu)),
            show(of(|d| d.postgres_cpu)),
            show(of(|d| d.sink_cpu)),
            show(of(|d| d.memory_mib)),
            show(of(|d| d.wal_kib)),
            show(of(|d| d.dead_rows)),
            show(of(|d| d.statements)),
            show(of(|d| count(d.requests))),
            show(of(|d| count(d.late + d.repeats))),
        ]);
        results.bar("Drain of 50,000 events, events/s", &format!("{answer_ms} ms"), "relay", rate);
        results.bar("Drain of 50,000 events, events/s", &format!("{answer_ms} ms"), "limit", limit);
        if answer_ms == 20 {
            results.at_least(
                "backlog of 50,000 rows, 200 tenants, endpoint at 20 ms",
                20_000.0,
                rate,
                "events/s",
            );
            results.at_most("CPU of the relay per 1,000 events", 0.02, of(|d| d.relay_cpu), "s");
            results.at_most(
                "CPU of PostgreSQL per 1,000 events",
                0.04,
                of(|d| d.postgres_cpu),
                "s",
            );
            results.at_most(
                "events out of order or repeated",
                0.0,
                of(|d| count(d.late + d.repeats)),
                "",
            );
        } else {
            results.at_least(
                "drain / limit of claim and settle, endpoint at 0 ms",
                0.6,
                rate / limit,
                "",
            );
        }
        results.at_most(
            &format!("peak memory of that drain, endpoint at {answer_ms} ms"),
            64.0,
            of(|d| d.memory_mib),
            "MiB",
        );
    }
    results.tables.push(Table {
        title: "Drain of 50,000 events of 200 tenants, and its cost per 1,000 events",
        head: [
            "",
            "events/s",
            "/ limit",
            "relay CPU s",
            "PostgreSQL CPU s",
            "endpoint CPU s",
            "relay MiB (peak)",
            "WAL KiB",
            "dead row versions",
            "statements",
            "requests (all)",
            "late or repeated (all)",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
    });
}
