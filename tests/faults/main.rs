//! The fault matrix: real relays, a real PostgreSQL, an independent subscriber, and everything that
//! users of such programs have seen fail. `docs/fault-matrix.md` is written by it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

mod figures;
mod inject;
mod older;
mod place;
mod proxy;
mod report;
mod row;
mod rows;
mod run;
mod signs;
mod skew;
mod subscriber;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod support;
mod truth;
mod verdict;
mod writers;

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use report::Result as RowResult;
use row::{Fault, Row};
use run::Outcome;

/// Runs at a time: most of a run is waiting.
const LANES: usize = 4;

/// Runs of each row, unless a row is run once.
const SEEDS: u64 = 2;

/// When the time for everything is over, what has not started counts as red.
const TOTAL_LIMIT: Duration = Duration::from_secs(1_500);

/// A run that waits.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// Its row's number.
    row: usize,
    seed: u64,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number")))
}

/// The rows that are wanted.
fn rows() -> Vec<Row> {
    let wanted = variable("FAULTS_ROW").unwrap_or_default();
    let mut rows: Vec<Row> = rows::LONG.iter().chain(rows::ROWS).copied().collect();
    if number("FAULTS_FULL") == Some(1) {
        for row in &mut rows {
            if let [Fault::Backlog(_)] = row.faults {
                row.faults = &[Fault::Backlog(1_000_000)];
            }
        }
    }
    rows.retain(|row| row.name.contains(&wanted));
    assert!(!rows.is_empty(), "no row's name contains {wanted:?}");
    rows
}

#[test]
fn every_row_of_the_matrix_holds() {
    let rows = rows();
    let base = number("FAULTS_SEED").unwrap_or_else(|| u64::from(fastrand::u16(..)) << 8);
    let seeds = number("FAULTS_SEEDS").unwrap_or(SEEDS).max(1);
    say(&format!("{} rows, seeds from {base} on", rows.len()));
    let jobs: VecDeque<Job> = rows
        .iter()
        .enumerate()
        .flat_map(|(row, what)| {
            let runs = if what.once { 1 } else { seeds };
            (base..base + runs).map(move |seed| Job { row, seed })
        })
        .collect();
    let mut results: Vec<RowResult> =
        rows.iter().map(|row| RowResult { row: *row, runs: Vec::new() }).collect();
    for (job, outcome) in run_all(&rows, jobs) {
        results[job.row].runs.push((job.seed, outcome));
    }
    if let Some(path) = variable("FAULTS_WRITE") {
        std::fs::write(&path, report::markdown(&results, base)).expect("the table is written");
    }
    let faults: Vec<String> = results.iter().flat_map(RowResult::faults).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_published_matrix_has_every_row_and_none_is_broken() {
    let published = include_str!("../../docs/fault-matrix.md");
    for row in rows::LONG.iter().chain(rows::ROWS) {
        assert!(published.contains(&format!("| {} |", row.name)), "{}: write it anew", row.name);
    }
    assert!(!published.contains("BROKEN"));
}

/// Runs all jobs, several at a time, in their order.
fn run_all(rows: &[Row], jobs: VecDeque<Job>) -> Vec<(Job, Result<Outcome, String>)> {
    let started = Instant::now();
    let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let next = jobs.lock().unwrap().pop_front();
                    let Some(job) = next else { return };
                    let began = Instant::now();
                    let outcome = if started.elapsed() < TOTAL_LIMIT {
                        one(rows[job.row], job.seed)
                    } else {
                        Err("not run: the time for all rows is over".into())
                    };
                    say(&line(&rows[job.row], job.seed, began.elapsed(), &outcome));
                    done.lock().unwrap().push((job, outcome));
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// One run in a runtime of its own; a panic in it is its result.
fn one(row: Row, seed: u64) -> Result<Outcome, String> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .expect("runtime");
        let outcome = runtime
            .block_on(async { tokio::time::timeout(run::limit(&row), run::run(row, seed)).await });
        runtime.shutdown_timeout(Duration::from_secs(5));
        outcome
    };
    match std::thread::spawn(work).join() {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(format!("did not end within {} s", run::limit(&row).as_secs())),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "panicked".into())),
    }
}

fn line(row: &Row, seed: u64, took: Duration, outcome: &Result<Outcome, String>) -> String {
    let what = match outcome {
        Ok(o) => format!(
            "{} events, {} faults, {} repeats dropped, {} lost, {} doubled, {} out of order, {} counted{} [{}]{}",
            o.verdict.events,
            o.injected,
            o.repeats,
            o.verdict.lost,
            o.verdict.doubled,
            o.verdict.out_of_order,
            o.told.counted,
            if o.told.exact { " of all" } else { "" },
            o.told.shown.join(", "),
            if o.verdict.is_green(row.doubles) && o.told.lies.is_empty() { "" } else { " RED" },
        ),
        Err(why) => format!("RED: {why:.2000}"),
    };
    format!("{:5.1} s  {} [{seed}]: {what}", took.as_secs_f64(), row.name)
}

/// Past the test harness, which would keep it to the end: progress of minutes must be seen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
