//! The results as Markdown, JSON and a plot.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::numbers::{Results, show};
use crate::{plot, process, say};

/// Load average from which on others are at work: building the benchmark itself leaves one of about 1.
const BUSY: f64 = 2.0;

/// What was measured on.
pub(crate) fn machine(postgres: &str, quick: bool) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    json!({
        "cores": cores,
        "memory_gib": kib / 1_048_576,
        "postgres": postgres,
        "load_before": process::load(),
        "quick": quick,
    })
}

/// Writes all three files.
pub(crate) fn write(out: &Path, results: &Results, machine: &Value) {
    std::fs::create_dir_all(out).unwrap();
    std::fs::write(out.join("benchmarks.md"), markdown(results, machine)).unwrap();
    let json = serde_json::to_string_pretty(&results.json(machine)).unwrap();
    std::fs::write(out.join("benchmarks.json"), json + "\n").unwrap();
    std::fs::write(out.join("benchmarks.svg"), plot::svg(&results.bars)).unwrap();
    say(&format!("written to {}", out.display()));
}

pub(crate) fn markdown(results: &Results, machine: &Value) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Benchmarks\n");
    let _ = writeln!(
        out,
        "Written by `cargo bench --bench relay`{}. {} shared cores, {} GiB, PostgreSQL {}, fsync on, PostgreSQL, relays, writers and \
         endpoint on one machine; load average before it: {}. Medians of interleaved runs. Absolute figures hold for that run; compare ratios.\n",
        if machine["quick"] == true { " `-- --quick`" } else { "" },
        machine["cores"],
        machine["memory_gib"],
        machine["postgres"].as_str().unwrap_or_default(),
        machine["load_before"].as_str().unwrap_or_default(),
    );
    if machine["load_before"].as_str().and_then(|load| load.parse().ok()).unwrap_or(0.0) > BUSY {
        let _ = writeln!(
            out,
            "**Other work was running on the machine.** Figures in ms, events/s and commits/s are worse for it; CPU seconds, counts and ratios of \
             runs in turns hold.\n"
        );
    }
    let _ = writeln!(out, "![plots](benchmarks.svg)\n");
    let _ = writeln!(out, "| What | Wanted | Measured | |\n|---|---|---|---|");
    for goal in &results.goals {
        let sign = if goal.at_least { "≥" } else { "≤" };
        let _ = writeln!(
            out,
            "| {} | {sign} {} {} | {} {} | {} |",
            goal.what,
            limit(goal.limit),
            goal.unit,
            show(goal.value),
            goal.unit,
            if goal.reached() { "reached" } else { "**missed**" }
        );
    }
    for table in &results.tables {
        let _ = writeln!(out, "\n## {}\n", table.title);
        let _ = writeln!(out, "| {} |", table.head.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(table.head.len()));
        for row in &table.rows {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
    }
    out
}

fn limit(value: f64) -> String {
    if value >= 1_000.0 { show(value) } else { format!("{value}") }
}
