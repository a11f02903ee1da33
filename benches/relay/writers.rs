//! (a): what the bell costs those who write: commits a second of single inserts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::bed::Database;
use crate::numbers::{Results, Table, count, median, show};
use crate::process::Relay;
use crate::sink::{Manner, Sink};
use crate::{Scale, say};

const INSERT: &str = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
    select 'tenant-' || $1::bigint % 200, 'KitchenTask', 'task-1', 'kitchen.task.started', jsonb_build_object('n', $1::bigint, 'pad', repeat('x', 280))";

/// A trigger that does what most do.
const PLAIN: &str =
    "create or replace function public.plain_notify() returns trigger language plpgsql as
    $$ begin perform pg_catalog.pg_notify('plain', ''); return null; end $$;
    create or replace trigger plain_notify after insert on outbox.event
    for each statement execute function public.plain_notify()";

/// Until then nothing is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How writers are made to wake relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bell {
    None,
    Plain,
    Ours,
    OursDraining,
    NoneDraining,
}

const BELLS: [(Bell, &str); 5] = [
    (Bell::None, "no trigger"),
    (Bell::Plain, "plain NOTIFY"),
    (Bell::Ours, "our bell, no relay"),
    (Bell::NoneDraining, "no trigger, relay draining"),
    (Bell::OursDraining, "our bell, relay draining"),
];

/// Commits a second of `clients` connections.
async fn commits(database: &Database, clients: usize, seconds: f64) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let number = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..clients {
        let client = database.connect().await;
        let (stop, done, number) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&number));
        writers.spawn(async move {
            let insert = client.prepare(INSERT).await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                let n = i64::try_from(number.fetch_add(1, Ordering::Relaxed) % 1_000_000).unwrap();
                client.execute(&insert, &[&n]).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // Connecting and preparing are no commits; and a relay that was asleep has raised the flag by then.
    tokio::time::sleep(WARM_UP).await;
    let (from, started) = (done.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let rate = count(done.load(Ordering::Relaxed) - from) / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    rate
}

async fn one(database: &Database, sink: &Sink, bell: Bell, clients: usize, seconds: f64) -> f64 {
    let admin = database.connect().await;
    database.empty(&admin).await;
    let ours = matches!(bell, Bell::Ours | Bell::OursDraining);
    let switch = if ours { "enable" } else { "disable" };
    admin
        .batch_execute(&format!("alter table outbox.event {switch} trigger event_bell"))
        .await
        .unwrap();
    let drop = "drop trigger if exists plain_notify on outbox.event";
    admin.batch_execute(if bell == Bell::Plain { PLAIN } else { drop }).await.unwrap();
    sink.reset(Manner::After(0));
    // A relay that nobody rings has to look by itself.
    let polling = [("OUTBOX_RELAY_SWEEP_INTERVAL", "100ms")];
    let relay = match bell {
        Bell::OursDraining => Some(Relay::start(&database.url, &sink.url(), &[])),
        Bell::NoneDraining => Some(Relay::start(&database.url, &sink.url(), &polling)),
        Bell::None | Bell::Plain | Bell::Ours => None,
    };
    let rate = commits(database, clients, seconds).await;
    if let Some(relay) = relay {
        relay.stop();
    }
    admin.batch_execute(drop).await.unwrap();
    admin.batch_execute("alter table outbox.event enable trigger event_bell").await.unwrap();
    rate
}

/// Ours against none while a relay drains, in turns: the ratio that has a bar, from more rounds than the table has, since
/// the same twice in a row differs by a tenth.
async fn draining(
    database: &Database,
    sink: &Sink,
    clients: usize,
    seconds: f64,
    rounds: usize,
) -> f64 {
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let ours_first = round % 2 == 1;
        let mut turns = [Bell::NoneDraining, Bell::OursDraining];
        if ours_first {
            turns.reverse();
        }
        let first = one(database, sink, turns[0], clients, seconds).await;
        let second = one(database, sink, turns[1], clients, seconds).await;
        let ratio = if ours_first { first / second } else { second / first };
        say(&format!("{clients} writers, relay draining, our bell / no trigger: {ratio:.3}"));
        ratios.push(ratio);
    }
    median(&ratios)
}

/// The part.
pub(crate) async fn part(database: &Database, sink: &Sink, scale: Scale, results: &mut Results) {
    let sizes: &[usize] = if scale.quick { &[1, 32] } else { &[1, 8, 32, 64] };
    let seconds = if scale.quick { 1.2 } else { 3.0 };
    let mut rows: Vec<Vec<String>> = BELLS.map(|(_, name)| vec![name.to_owned()]).to_vec();
    for &clients in sizes {
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); BELLS.len()];
        // The size that has a bar is measured more often: a round's ratio varies by a tenth.
        for _ in 0..if clients == 32 { scale.rounds } else { scale.rounds.min(3) } {
            for (index, (bell, name)) in BELLS.iter().enumerate() {
                let rate = one(database, sink, *bell, clients, seconds).await;
                say(&format!("{clients} writers, {name}: {} commits/s", show(rate)));
                rates[index].push(rate);
            }
        }
        // Ratios within a round: the disk's mood is the same.
        let ratio = |of: usize, to: usize| {
            median(&rates[of].iter().zip(&rates[to]).map(|(a, b)| a / b).collect::<Vec<_>>())
        };
        for (index, (_, name)) in BELLS.iter().enumerate() {
            let rate = median(&rates[index]);
            rows[index].push(format!("{} ({:.2})", show(rate), ratio(index, 0)));
            results.bar(
                "Writers' commits/s by number of clients",
                &clients.to_string(),
                name,
                rate,
            );
        }
        if clients == 32 {
            // Against the same work without the bell: draining shares the two cores with the writers.
            results.at_least(
                "32 writers, relay draining: our bell / no trigger",
                0.9,
                draining(database, sink, clients, seconds, 2 * scale.rounds).await,
                "",
            );
            results.at_least("32 writers, no relay: our bell / plain NOTIFY", 1.0, ratio(2, 1), "");
        }
    }
    let mut head = vec!["commits/s (and / no trigger)".to_owned()];
    head.extend(sizes.iter().map(|n| format!("{n} writers")));
    results.tables.push(Table { title: "What the bell costs writers", head, rows });
}
