//! (d): whether the cost of an event grows: with published history, with a backlog, with tenants, under a held
//! snapshot, behind a bulk load.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::bed::Database;
use crate::drain::{Drained, Load, drain};
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
        let of = |f: fn(&Drained) -> f64| median(&runs.iter().map(f).collect::<Vec<_>>());
        Drained {
            events_per_second: of(|d| d.events_per_second),
            relay_cpu: of(|d| d.relay_cpu),
            postgres_cpu: of(|d| d.postgres_cpu),
            memory_mib: of(|d| d.memory_mib),
            ..runs[0]
        }
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

/// Drains while a snapshot that is older than all of it is held: no dead index entry can be removed.
async fn snapshot(growth: &mut Growth<'_>, results: &mut Results, base: &Drained) {
    let (database, client, sink) = (growth.database, growth.client, growth.sink);
    database.empty(client).await;
    let holder = database.connect().await;
    holder
        .batch_execute("begin isolation level repeatable read; select count(*) from outbox.event")
        .await
        .unwrap();
    let started = Instant::now();
    let (hold, churn) = if growth.scale.quick { (8, 30_000) } else { (300, 200_000) };
    // What is published under the snapshot leaves its dead entries in front of what comes next.
    let mut churned = 0;
    while churned < churn {
        drain(database, client, sink, Load::of(30_000, 200, 0)).await;
        churned += 30_000;
    }
    let left = Duration::from_secs(hold).saturating_sub(started.elapsed());
    tokio::time::sleep(left).await;
    let drained = growth.drains(20_000, 200).await;
    holder.batch_execute("rollback").await.unwrap();
    let name =
        format!("a snapshot held for {hold} s, {} events published under it", show(count(churned)));
    growth.note(results, &name, &drained, base);
    results.at_least(
        &format!("drain with a snapshot held for {hold} s / without"),
        0.8,
        drained.events_per_second / base.events_per_second,
        "",
    );
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
