//! (b): from commit to the request's arrival, on an idle outbox and at 500 events/s, beside the floor: a bare
//! NOTIFY wake, one `for update skip locked` round trip and one HTTP request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::bed::{Connection, Counted, Database};
use crate::numbers::{Results, Table, count, median, percentile, show};
use crate::process::{self, Relay};
use crate::sink::{Manner, Sink};
use crate::stages::Probe;
use crate::{Scale, say};

/// Insert of event `$1` of tenant `$2`; the padding makes it as large as a backlog's.
const INSERT: &str = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select $2::text, 'KitchenTask', 'task-1', 'kitchen.task.started', jsonb_build_object('n', $1::bigint, 'pad', repeat('x', 280))";

/// Longest wait for one event.
const PATIENCE: Duration = Duration::from_secs(20);

/// A waiter on a notification of its own channel that does the least that could be done.
struct Floor {
    woken: mpsc::Receiver<Instant>,
    worker: Connection,
    http: reqwest::Client,
    _driver: JoinSet<()>,
    _listener: tokio_postgres::Client,
}

impl Floor {
    async fn start(database: &Database) -> Self {
        let (client, mut connection) =
            tokio_postgres::connect(database.dsn(), NoTls).await.unwrap();
        let (sender, woken) = mpsc::channel(16);
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message.unwrap() {
                    let _ = sender.send(Instant::now()).await;
                }
            }
        });
        client.batch_execute("listen floor").await.unwrap();
        let worker = database.connect().await;
        worker
            .batch_execute("create table if not exists floor (n bigint primary key, body text)")
            .await
            .unwrap();
        Self { woken, worker, http: http(), _driver: driver, _listener: client }
    }

    /// Commits a row, and sends it as soon as its notification is heard. Commit to arrival. The lock is committed before
    /// the request leaves, as a statement by itself is, or in a transaction that stays `open`, as a relay's: without
    /// waiting for the disk.
    async fn sample(&mut self, writer: &Connection, sink: &Sink, n: usize, open: bool) -> Duration {
        let insert = format!(
            "begin; delete from floor; insert into floor values ({n}, repeat('x', 300)); notify floor; commit"
        );
        let claim =
            self.worker.prepare("select n, body from floor for update skip locked").await.unwrap();
        let work = async {
            self.woken.recv().await.unwrap();
            let row = if open {
                let begin = self.worker.batch_execute("begin");
                tokio::join!(begin, self.worker.query_one(&claim, &[])).1.unwrap()
            } else {
                self.worker.query_one(&claim, &[]).await.unwrap()
            };
            let body = format!(
                r#"[{{"id":"x","data":"{{\"tenantId\":\"floor\",\"payload\":{{\"n\": {}, \"pad\": \"{}\"}}}}"}}]"#,
                row.get::<_, i64>(0),
                row.get::<_, String>(1)
            );
            let url = format!("{}/channels/floor/messages", sink.url());
            assert!(self.http.post(url).body(body).send().await.unwrap().status().is_success());
            if open {
                self.worker.batch_execute("commit").await.unwrap();
            }
        };
        let (committed, ()) = tokio::join!(
            async {
                writer.batch_execute(&insert).await.unwrap();
                Instant::now()
            },
            work
        );
        sink.arrived(n).unwrap().saturating_duration_since(committed)
    }
}

/// A client that needs no process-wide TLS provider.
fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

/// Commits one event at a time while nothing else happens, in turns with the floors: relay, floor, and floor with an open
/// transaction, in ms. On a thread of its own: the floor must not pay for threads that wake each other.
fn idle(database: &Database, sink: &Sink, samples: usize) -> [Vec<f64>; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(in_turns(database, sink, samples))
}

async fn in_turns(database: &Database, sink: &Sink, samples: usize) -> [Vec<f64>; 3] {
    sink.reset(Manner::After(0));
    let probe = Probe::new();
    let relay = Relay::start(&database.url, &sink.url(), &probe.settings());
    let writer = database.connect().await;
    let insert = writer.prepare(INSERT).await.unwrap();
    let mut floor = Floor::start(database).await;
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for sample in 0..samples + 20 {
        let n = 3 * sample + 1;
        let mut took = [Duration::ZERO; 2];
        for (number, open) in [(n, false), (n + 2, true)] {
            // So long that the relay has gone back to sleep; not in step with any timer.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(8..30))).await;
            took[usize::from(open)] = floor.sample(&writer, sink, number, open).await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(8..30))).await;
        let tenant = format!("tenant-{}", sample % 50);
        let number = i64::try_from(n + 1).unwrap();
        writer.execute(&insert, &[&number, &tenant]).await.unwrap();
        let committed = Instant::now();
        let arrived = sink.wait_for(n + 1, PATIENCE).await;
        // The first connect, prepare and warm up.
        if sample >= 20 {
            let took = [arrived.saturating_duration_since(committed), took[0], took[1]];
            all.iter_mut().zip(took).for_each(|(all, took)| all.push(ms(took)));
        }
    }
    say(&format!("live idle, stages: {}", probe.medians(&http()).await));
    relay.stop();
    all
}

/// A steady load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Commits a second.
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
    /// A multiple of the writers.
    pub(crate) tenants: usize,
    pub(crate) answer_ms: u64,
}

/// What came of it.
pub(crate) struct Steady {
    pub(crate) latencies: Vec<f64>,
    /// What no relay that keeps order could be below: see [`ordered`].
    pub(crate) limit: Vec<f64>,
    pub(crate) relay_cpu: f64,
    pub(crate) postgres_cpu: f64,
    pub(crate) statements: f64,
    pub(crate) memory_mib: f64,
}

/// Connections that commit.
const WRITERS: usize = 8;

/// Commits by [`WRITERS`] connections, open loop; commit to arrival in ms.
pub(crate) async fn steady(database: &Database, sink: &Sink, load: Load) -> Steady {
    let Load { rate, seconds, tenants, answer_ms } = load;
    sink.reset(Manner::After(answer_ms));
    let probe = Probe::new();
    let relay = Relay::start(&database.url, &sink.url(), &probe.settings());
    let admin = database.connect().await;
    let total = rate * seconds;
    let before =
        (Counted::now(&admin).await, relay.cpu(), process::cpu_of_postgres(database.postmaster));
    let mut writers = JoinSet::new();
    let start = Instant::now() + Duration::from_millis(50);
    for lane in 0..WRITERS {
        let writer = database.connect().await;
        writers.spawn(async move {
            let insert = writer.prepare(INSERT).await.unwrap();
            let mut commits = Vec::new();
            for n in (lane..total).step_by(WRITERS) {
                let due =
                    start + Duration::from_micros(u64::try_from(1_000_000 * n / rate).unwrap());
                tokio::time::sleep_until(due.into()).await;
                let number = i64::try_from(n + 1).unwrap();
                // A tenant has one writer, so that its events are committed in the order of their numbers.
                let tenant = lane + WRITERS * fastrand::usize(..tenants / WRITERS);
                writer.execute(&insert, &[&number, &format!("tenant-{tenant}")]).await.unwrap();
                commits.push((n + 1, tenant, Instant::now()));
            }
            commits
        });
    }
    let mut commits = writers.join_all().await.concat();
    commits.sort_by_key(|(.., committed)| *committed);
    let answer = Duration::from_millis(answer_ms);
    let limit =
        ordered(commits.iter().filter(|(n, ..)| *n > rate).map(|(_, t, at)| (*t, *at)), answer);
    let mut latencies = Vec::new();
    for (n, _, committed) in commits {
        let arrived = sink.wait_for(n, PATIENCE).await;
        // The first second connects and warms up.
        if n > rate {
            latencies.push(ms(arrived.saturating_duration_since(committed)));
        }
    }
    let thousands = count(total) / 1_000.0;
    let relay_cpu = (relay.cpu() - before.1) / thousands;
    let postgres_cpu = (process::cpu_of_postgres(database.postmaster) - before.2) / thousands;
    let memory_mib = relay.peak_memory();
    database.settled(&admin).await;
    say(&format!("live at {rate}/s, stages: {}", probe.medians(&http()).await));
    relay.stop();
    let statements = Counted::now(&admin).await.since(before.0).statements / thousands;
    Steady { latencies, limit, relay_cpu, postgres_cpu, statements, memory_mib }
}

/// What order alone makes events wait, in ms: a relay that takes no time sends each at once, unless a request of its tenant is out;
/// then with its answer, together with what else has come. No relay that waits for an answer before it sends the
/// tenant's next message is faster, and with two out at once Ably promises no order.
fn ordered(commits: impl Iterator<Item = (usize, Instant)>, answer: Duration) -> Vec<f64> {
    let mut sent: HashMap<usize, Instant> = HashMap::new();
    let waits = commits.map(|(tenant, committed)| {
        let free = sent.get(&tenant).map_or(committed, |last| (*last + answer).max(committed));
        // What is not out yet takes this one along.
        let out = sent.get(&tenant).copied().filter(|last| *last >= committed).unwrap_or(free);
        sent.insert(tenant, out);
        ms(out - committed)
    });
    waits.collect()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The part.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = database.connect().await;
    let samples = if scale.quick { 100 } else { 300 };
    let (mut ours, mut floors, mut open_floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        database.empty(&client).await;
        let [relay, floor, open] = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| idle(database, sink, samples)).join().unwrap()
            })
        });
        say(&format!(
            "live idle: p50 {:.3} ms, floor {:.3} ms, with an open transaction {:.3} ms",
            median(&relay),
            median(&floor),
            median(&open)
        ));
        ours.push(relay);
        floors.push(floor);
        open_floors.push(open);
    }
    let mut rows = Vec::new();
    let mut row = |name: &str, p50: f64, p99: f64| {
        let mut row = vec![name.to_owned(), show(p50), show(p99)];
        row.resize(7, String::new());
        rows.push(row);
    };
    // Medians of each run's percentile: one bad second of the machine is not everybody's p99.
    let of = |runs: &[Vec<f64>], share| {
        median(&runs.iter().map(|run| percentile(run, share)).collect::<Vec<_>>())
    };
    let (p50, p99) = (of(&ours, 0.5), of(&ours, 0.99));
    let (floor50, floor99) = (of(&floors, 0.5), of(&floors, 0.99));
    row("the floor", floor50, floor99);
    let (open50, open99) = (of(&open_floors, 0.5), of(&open_floors, 0.99));
    row("the floor without waiting for the disk: its lock is not committed", open50, open99);
    row("idle", p50, p99);
    results.at_most("commit to request, idle: p50 / the floor's", 1.5, p50 / floor50, "");
    results.at_most("commit to request, idle: p99 / the floor's", 3.0, p99 / floor99, "");
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        results.bar("Commit to request on an idle outbox, ms", name, "floor", of(&floors, share));
        results.bar("Commit to request on an idle outbox, ms", name, "relay", of(&ours, share));
    }
    rows.extend(loads(database, sink, scale, results).await);
    let head = [
        "",
        "p50 ms",
        "p99 ms",
        "relay CPU s / 1,000",
        "PostgreSQL CPU s / 1,000 (with writers)",
        "statements / 1,000",
        "relay MiB (peak)",
    ];
    results.tables.push(Table {
        title: "Commit to the request's arrival",
        head: head.map(str::to_owned).to_vec(),
        rows,
    });
    idle_cost(database, sink, scale, results).await;
}

/// Loads at 500 events a second: tenants and the endpoint's time. The peers' has 200 tenants; with ten times as many hardly
/// any event meets a request of its own tenant.
const LOADS: [(usize, u64); 3] = [(200, 0), (200, 20), (2_000, 20)];

/// Rows of the table.
async fn loads(
    database: &Database,
    sink: &Sink,
    scale: Scale,
    results: &mut Results,
) -> Vec<Vec<String>> {
    let client = database.connect().await;
    let seconds = if scale.quick { 5 } else { 12 };
    let mut runs: Vec<Vec<Steady>> = LOADS.map(|_| Vec::new()).into();
    // In turns: the disk's mood is the same.
    for _ in 0..scale.rounds {
        for (index, (tenants, answer_ms)) in LOADS.into_iter().enumerate() {
            database.empty(&client).await;
            let load = Load { rate: 500, seconds, tenants, answer_ms };
            let run = steady(database, sink, load).await;
            say(&format!(
                "live at 500/s, {tenants} tenants, {answer_ms} ms: p50 {:.2} p99 {:.2}; limit {:.2}; late {} repeats {}",
                percentile(&run.latencies, 0.5),
                percentile(&run.latencies, 0.99),
                percentile(&run.limit, 0.99),
                sink.late(),
                sink.repeats()
            ));
            runs[index].push(run);
        }
    }
    let mut rows = Vec::new();
    for ((tenants, answer_ms), runs) in LOADS.into_iter().zip(&runs) {
        let of = |f: &dyn Fn(&Steady) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
        let p50 = of(&|run| percentile(&run.latencies, 0.5));
        let p99 = of(&|run| percentile(&run.latencies, 0.99));
        let name =
            format!("500 events/s, {} tenants, endpoint at {answer_ms} ms", show(count(tenants)));
        rows.push(vec![
            name.clone(),
            show(p50),
            show(p99),
            show(of(&|run| run.relay_cpu)),
            show(of(&|run| run.postgres_cpu)),
            show(of(&|run| run.statements)),
            show(of(&|run| run.memory_mib)),
        ]);
        if answer_ms > 0 {
            let limit = |share| show(of(&|run| percentile(&run.limit, share)));
            let mut row = vec!["limit that order sets for it".to_owned(), limit(0.5), limit(0.99)];
            row.resize(7, String::new());
            rows.push(row);
        }
        if (tenants, answer_ms) == (200, 20) {
            let what = "commit to request at 500 events/s, endpoint at 20 ms";
            results.at_most(&format!("{what}: p50"), 2.5, p50, "ms");
            results.at_most(&format!("{what}: p99"), 10.0, p99, "ms");
        }
        let panel = "Commit to request at 500 events/s, ms";
        let group = format!("{tenants} tenants, {answer_ms} ms");
        results.bar(panel, &group, "p50", p50);
        results.bar(panel, &group, "p99", p99);
    }
    rows
}

/// What a relay costs while nothing happens.
async fn idle_cost(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = database.connect().await;
    database.empty(&client).await;
    sink.reset(Manner::After(0));
    let relay = Relay::start(&database.url, &sink.url(), &[]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seconds = if scale.quick { 15 } else { 60 };
    let before = (Counted::now(&client).await, relay.cpu());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let counted = Counted::now(&client).await.since(before.0);
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    let seconds = seconds as f64;
    let cpu = (relay.cpu() - before.1) / seconds * 100.0;
    let queries = counted.statements / seconds;
    say(&format!("idle: {cpu:.3} % of a core, {queries:.2} statements/s"));
    results.at_most("idle relay: CPU", 0.5, cpu, "% of a core");
    results.at_most(
        "idle relay: statements a second, all of BEGIN, SET and ROLLBACK too",
        1.0,
        queries,
        "",
    );
    relay.stop();
}
