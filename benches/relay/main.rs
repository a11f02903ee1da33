//! The benchmark: real PostgreSQL with durability on, the real binary, an endpoint that stands for Ably.
//!
//! `cargo bench --bench relay -- [--quick] [--only drain,live,…] [--out DIR]`. What is compared is measured in the same run, in
//! turns; absolute figures belong to the machine. Writes `benchmarks.md`, `.json` and `.svg`, into `docs/` when everything is
//! run in full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a benchmark reports by panicking and printing"
)]
#![allow(missing_docs, reason = "a program")]

mod bed;
mod drain;
mod growth;
mod live;
mod numbers;
mod plot;
mod process;
mod replicas;
mod report;
mod sink;
mod stages;
mod trouble;
mod writers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use numbers::Results;

/// All parts in the order in which they are run.
const PARTS: [&str; 6] = ["live", "drain", "writers", "replicas", "growth", "trouble"];

/// Longest time for everything.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Repetitions that are counted.
    pub(crate) rounds: usize,
}

pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

fn main() {
    let mut quick = false;
    let mut only: Option<Vec<String>> = None;
    let mut out = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--only" => {
                let list = arguments.next().expect("--only takes a list of parts");
                only = Some(list.split(',').map(str::to_owned).collect());
            }
            "--out" => {
                out = Some(PathBuf::from(arguments.next().expect("--out takes a directory")));
            }
            // Cargo's own.
            "--bench" => {}
            other => panic!("{other}: unknown; --quick, --only {}, --out DIR", PARTS.join(",")),
        }
    }
    for name in only.iter().flatten() {
        assert!(PARTS.contains(&name.as_str()), "no part {name}; there are {}", PARTS.join(", "));
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let whole = !quick && only.is_none();
    let out = out.unwrap_or_else(|| root.join(if whole { "docs" } else { "target/benchmarks" }));
    let wanted = move |part: &str| only.as_ref().is_none_or(|only| only.iter().any(|o| o == part));
    let scale = Scale { quick, rounds: if quick { 2 } else { 5 } };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, run(scale, &wanted, &out)).await.expect("everything in time");
    });
}

async fn run(scale: Scale, wanted: &impl Fn(&str) -> bool, out: &std::path::Path) {
    let bed = bed::Bed::start().await;
    let sink = sink::Sink::start();
    let mut results = Results::default();
    let machine = report::machine(bed.version(), scale.quick);
    for part in PARTS.iter().filter(|part| wanted(part)) {
        let started = Instant::now();
        say(&format!("== {part} (load average {})", process::load()));
        let database = bed.database().await;
        match *part {
            "live" => live::part(&database, &sink, scale, &mut results).await,
            "drain" => drain::part(&database, &sink, scale, &mut results).await,
            "writers" => writers::part(&database, &sink, scale, &mut results).await,
            "replicas" => replicas::part(&database, &sink, scale, &mut results).await,
            "growth" => growth::part(&database, &sink, scale, &mut results).await,
            "trouble" => trouble::part(&database, &sink, scale, &mut results).await,
            other => unreachable!("{other}"),
        }
        bed.drop(database).await;
        // What comes later may take too long.
        report::write(out, &results, &machine);
        say(&format!("== {part} took {:.0} s", started.elapsed().as_secs_f64()));
    }
    say(&report::markdown(&results, &machine));
    bed.stop().await;
}
