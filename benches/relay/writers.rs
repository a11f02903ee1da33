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

/// A trigger that does nothing: what any trigger costs.
const EMPTY: &str = "create or replace function public.empty() returns trigger language plpgsql as
    $$ begin return null; end $$;
    create or replace trigger empty after insert on outbox.event
    for each statement execute function public.empty()";

/// Until then nothing is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How writers are made to wake relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bell {
    None,
    Empty,
    Plain,
    Ours,
    OursDraining,
    NoneDraining,
    EmptyDraining,
}

const BELLS: [(Bell, &str); 6] = [
    (Bell::None, "no trigger"),
    (Bell::Empty, "an empty trigger"),
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
    let drop = "drop trigger if exists plain_notify on outbox.event; drop trigger if exists empty on outbox.event";
    let other = match bell {
        Bell::Plain => PLAIN,
        Bell::Empty | Bell::EmptyDraining => EMPTY,
        Bell::None | Bell::Ours | Bell::OursDraining | Bell::NoneDraining => drop,
    };
    admin.batch_execute(other).await.unwrap();
    sink.reset(Manner::After(0));
    // A relay that nobody rings has to look by itself.
    let polling = [("OUTBOX_RELAY_SWEEP_INTERVAL", "100ms")];
    let relay = match bell {
        Bell::OursDraining => Some(Relay::start(&database.url, &sink.url(), &[])),
        Bell::NoneDraining | Bell::EmptyDraining => {
            Some(Relay::start(&database.url, &sink.url(), &polling))
        }
        Bell::None | Bell::Empty | Bell::Plain | Bell::Ours => None,
    };
    let rate = commits(database, clients, seconds).await;
    if let Some(relay) = relay {
        relay.stop();
    }
    admin.batch_execute(drop).await.unwrap();
    admin.batch_execute("alter table outbox.event enable trigger event_bell").await.unwrap();
    rate
}

/// Ours, and an empty trigger, against none while a relay drains, in turns: (ours, empty). From more rounds than the table
/// has, since the same twice in a row differs by a tenth.
async fn draining(
    database: &Database,
    sink: &Sink,
    clients: usize,
    seconds: f64,
    rounds: usize,
) -> (f64, f64) {
    let (mut ours, mut empty) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut turns = [Bell::NoneDraining, Bell::OursDraining, Bell::EmptyDraining];
        turns.rotate_left(round % 3);
        let mut rates = [0.0; 3];
        for bell in turns {
            let rate = one(database, sink, bell, clients, seconds).await;
            let place = match bell {
                Bell::OursDraining => 1,
                Bell::EmptyDraining => 2,
                Bell::None | Bell::Empty | Bell::Plain | Bell::Ours | Bell::NoneDraining => 0,
            };
            rates[place] = rate;
        }
        let [none, with_ours, with_empty] = rates;
        say(&format!(
            "{clients} writers, relay draining, / no trigger: our bell {:.3}, empty {:.3}",
            with_ours / none,
            with_empty / none
        ));
        ours.push(with_ours / none);
        empty.push(with_empty / none);
    }
    (median(&ours), median(&empty))
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
            let (with_ours, with_empty) =
                draining(database, sink, clients, seconds, 2 * scale.rounds).await;
            let what = "32 writers, relay draining: our bell / no trigger";
            results.at_least(what, 0.9, with_ours, "");
            results.tables.push(Table {
                title: "32 writers while a relay drains, commits/s / no trigger",
                head: ["our bell", "an empty trigger"].map(str::to_owned).to_vec(),
                rows: vec![vec![show(with_ours), show(with_empty)]],
            });
            results.at_least("32 writers, no relay: our bell / plain NOTIFY", 1.0, ratio(3, 2), "");
        }
    }
    let mut head = vec!["commits/s (and / no trigger)".to_owned()];
    head.extend(sizes.iter().map(|n| format!("{n} writers")));
    results.tables.push(Table { title: "What the bell costs writers", head, rows });
}
