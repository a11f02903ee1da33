//! (d): whether the cost of an event grows: with published history, with a backlog, with tenants, under a held
//! snapshot, behind a bulk load.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::bed::Database;
use crate::drain::{Drained, Load, drain, drain_by};
use crate::numbers::{Results, Table, count, median, show};
use crate::process::Relay;
use crate::sink::{Manner, Sink};
use crate::{Scale, say};

const PANEL: &str = "Events/s of a drain as the table grows";

struct Growth<'a> {
    database: &'a Database,
    client: &'a Client,
    sink: &'a Sink,
    scale: Scale,
    rows: Vec<Vec<String>>,
}

impl Growth<'_> {
    /// Drains of the same size; the median.
    async fn drains(&self, events: usize, tenants: usize) -> Drained {
        let mut runs = Vec::new();
        for _ in 0..self.scale.rounds.min(3) {
            let load = Load::of(events, tenants, 0);
            runs.push(drain(self.database, self.client, self.sink, load).await);
        }
        middle(&runs)
    }

    fn note(&mut self, results: &mut Results, name: &str, drained: &Drained, base: &Drained) {
        say(&format!("growth, {name}: {drained:.3?}"));
        let ratio = cpu(drained) / cpu(base);
        self.rows.push(vec![
            name.to_owned(),
            show(drained.events_per_second),
            show(drained.relay_cpu),
            show(drained.postgres_cpu),
            show(ratio),
            show(drained.memory_mib),
        ]);
        results.bar(PANEL, name, "events/s", drained.events_per_second);
    }
}

/// The medians.
fn middle(runs: &[Drained]) -> Drained {
    let of = |f: fn(&Drained) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
    Drained {
        events_per_second: of(|d| d.events_per_second),
        relay_cpu: of(|d| d.relay_cpu),
        postgres_cpu: of(|d| d.postgres_cpu),
        memory_mib: of(|d| d.memory_mib),
        ..runs[0]
    }
}

fn cpu(drained: &Drained) -> f64 {
    drained.relay_cpu + drained.postgres_cpu
}

/// The part.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = &*database.connect().await;
    let mut growth = Growth { database, client, sink, scale, rows: Vec::new() };
    let events = 20_000;
    database.empty(client).await;
    let base = growth.drains(events, 200).await;
    growth.note(results, "empty table", &base, &base);

    snapshot(&mut growth, results, &base).await;

    let sizes: &[usize] = if scale.quick { &[300_000] } else { &[1_000_000, 10_000_000] };
    let mut have = 0;
    for &rows in sizes {
        database.history(client, rows - have).await;
        have = rows;
        let drained = growth.drains(events, 200).await;
        let name = format!("{} published", show(count(rows)));
        growth.note(results, &name, &drained, &base);
        if rows == *sizes.last().unwrap() {
            let what = format!("cost of an event at {name} rows / at none (CPU)");
            results.at_most(&what, 1.1, cpu(&drained) / cpu(&base), "");
        }
    }
    database.empty(client).await;
    let many = if scale.quick { 20_000 } else { 100_000 };
    let drained = growth.drains(many, many).await;
    growth.note(
        results,
        &format!("{} tenants, one event each", show(count(many))),
        &drained,
        &base,
    );
    database.empty(client).await;
    lone_event(&mut growth, results).await;
    let head = [
        "",
        "events/s",
        "relay CPU s / 1,000",
        "PostgreSQL CPU s / 1,000",
        "CPU / empty table",
        "relay MiB (peak)",
    ];
    let rows = growth.rows;
    results.tables.push(Table { title: "Growth", head: head.map(str::to_owned).to_vec(), rows });
}

/// What a relay that has been running drains, without and with a snapshot that is older than all it has published: no
/// dead index entry can be removed then.
async fn snapshot(growth: &mut Growth<'_>, results: &mut Results, base: &Drained) {
    let hold = if growth.scale.quick { 8 } else { 300 };
    let free = behind_churn(growth, None).await;
    growth.note(results, "a relay that has published 210,000 events", &free, base);
    let held = behind_churn(growth, Some(hold)).await;
    growth.note(results, &format!("the same, a snapshot held for {hold} s"), &held, base);
    results.at_least(
        &format!("drain with a snapshot held for {hold} s / without"),
        0.8,
        held.events_per_second / free.events_per_second,
        "",
    );
}

/// One relay publishes so much that its dead entries stand in front of what comes next; then it drains.
async fn behind_churn(growth: &Growth<'_>, hold: Option<u64>) -> Drained {
    let (database, client, sink) = (growth.database, growth.client, growth.sink);
    database.empty(client).await;
    let holder = database.connect().await;
    if hold.is_some() {
        let begin = "begin isolation level repeatable read; select count(*) from outbox.event";
        holder.batch_execute(begin).await.unwrap();
    }
    let started = Instant::now();
    let relay = [Relay::start(&database.url, &sink.url(), &[])];
    let mut runs = Vec::new();
    for _ in 0..7 {
        drain_by(&relay, database, client, sink, Load::of(30_000, 200, 0)).await;
    }
    let left = Duration::from_secs(hold.unwrap_or(0)).saturating_sub(started.elapsed());
    tokio::time::sleep(left).await;
    for _ in 0..growth.scale.rounds.min(3) {
        runs.push(drain_by(&relay, database, client, sink, Load::of(20_000, 200, 0)).await.0);
    }
    let [relay] = relay;
    relay.stop();
    holder.batch_execute("rollback").await.unwrap();
    middle(&runs)
}

/// Tenant B's only event while tenant A has a million.
async fn lone_event(growth: &mut Growth<'_>, results: &mut Results) {
    let (database, client, sink) = (growth.database, growth.client, growth.sink);
    let backlog = if growth.scale.quick { 100_000 } else { 1_000_000 };
    sink.reset(Manner::After(20));
    // COPY and its kin leave the statistics as they were: none of this is known to the planner.
    client.batch_execute("alter table outbox.event disable trigger event_bell").await.unwrap();
    database.seed(client, 0, backlog, 1).await;
    client.batch_execute("alter table outbox.event enable trigger event_bell").await.unwrap();
    let relay = Relay::start(&database.url, &sink.url(), &[]);
    sink.wait_until(1_000, Duration::from_secs(30)).await;
    let mut waits = Vec::new();
    for n in 0..10 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..200))).await;
        let number = backlog + 1 + n;
        let sql = format!(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             values ('lone', 'A', '1', 'a.b', jsonb_build_object('n', {number}))"
        );
        client.batch_execute(&sql).await.unwrap();
        let committed = Instant::now();
        let arrived = sink.wait_for(number, Duration::from_secs(30)).await;
        waits.push(arrived.saturating_duration_since(committed).as_secs_f64() * 1_000.0);
    }
    say(&format!(
        "a lone event beside {backlog}: {waits:.1?} ms, {} of A published meanwhile",
        sink.distinct()
    ));
    let worst = waits.iter().copied().fold(0.0, f64::max);
    let what = format!(
        "a lone event of tenant B while tenant A has {}: the slowest of 10",
        show(count(backlog))
    );
    results.at_most(&what, 100.0, worst, "ms");
    results.at_most("memory with that backlog", 64.0, relay.peak_memory(), "MiB");
    relay.stop();
    database.empty(client).await;
}
