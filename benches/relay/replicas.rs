//! (f): several relays on one database.

use crate::bed::Database;
use crate::drain::{Load, drain};
use crate::numbers::{Results, Table, count, median, show};
use crate::sink::Sink;
use crate::{Scale, say};

/// The part.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let client = database.connect().await;
    let mut rows = Vec::new();
    let mut runs: [Vec<(f64, f64, f64)>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..scale.rounds.min(3) {
        for (index, relays) in [1, 2, 4].into_iter().enumerate() {
            database.empty(&client).await;
            let load = Load { relays, ..Load::of(50_000, 200, 20) };
            let drained = drain(database, &client, sink, load).await;
            say(&format!("{relays} relays: {drained:.3?}"));
            let cpu = drained.relay_cpu + drained.postgres_cpu;
            runs[index].push((
                drained.events_per_second,
                cpu,
                count(drained.late + drained.repeats),
            ));
        }
    }
    for (index, relays) in ["1", "2", "4"].into_iter().enumerate() {
        let of =
            |f: fn(&(f64, f64, f64)) -> f64| median(&runs[index].iter().map(f).collect::<Vec<_>>());
        let rate = of(|run| run.0);
        rows.push(vec![
            relays.to_owned(),
            show(rate),
            show(of(|run| run.1)),
            show(of(|run| run.2)),
        ]);
        results.bar(
            "Drain by several relays, endpoint at 20 ms, events/s",
            relays,
            "events/s",
            rate,
        );
    }
    let head =
        ["relays", "events/s", "CPU s / 1,000, relays and PostgreSQL", "late or repeated (all)"];
    results.tables.push(Table {
        title: "Several relays on one database, endpoint at 20 ms",
        head: head.map(str::to_owned).to_vec(),
        rows,
    });
}
