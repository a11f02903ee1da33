//! `outbox-relay stats`: how the outbox is, in numbers, once.

use super::failure::Failure;
use super::figures::{age, bytes, count};
use super::{Context, holds, operate, pause, table};
use crate::store::stats::{Counted, Stats, StatsLimits};

/// Rows that are read at most to count something.
const COUNTED_MAX: i64 = 100_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each number is read within bounds: at most 100,000 rows and 2 s a question. What PostgreSQL did not say in time is left
out (null in --json), and `+` says that there are more. What was published lately is looked for among the newest
100,000 positions, so events that were written long before are not among it.")]
pub(super) struct Options {
    /// Tenants, types, codes and holds that are listed at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000))]
    top: i64,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    operate::unless_stopped(&context.stop, async {
        let mut operator = operate::operator(context).await?;
        let limits = StatsLimits { counted: COUNTED_MAX, listed: options.top };
        let stats = operator.stats(limits).await?;
        if options.json {
            return operate::json(&stats);
        }
        operate::lines(&lines(&stats))
    })
    .await
}

fn lines(stats: &Stats) -> Vec<String> {
    let mut lines = overview(stats);
    let mut section = |title: &str, head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            lines.push(String::new());
            lines.push(title.to_owned());
            lines.extend(table::lines(head, &rows).iter().map(|line| format!("  {line}")));
        }
    };
    if let Some(pending) = &stats.pending {
        section("Pending by tenant", &["TENANT", "EVENTS", "OLDEST"], counted(&pending.tenants));
        section("Pending by type", &["TYPE", "EVENTS", "OLDEST"], counted(&pending.types));
    }
    if let Some(dead) = &stats.dead_letters {
        section("Dead letters by code", &["CODE", "EVENTS", "OLDEST"], counted(&dead.codes));
    }
    let waiting = stats.pauses.iter().flatten().map(holds::paused);
    let waiting = waiting.chain(stats.holds.iter().flatten().map(holds::row));
    section("Paused and on hold", &holds::HEAD, waiting.collect());
    let relays =
        stats.relays.iter().flatten().map(|r| vec![r.name.clone(), count(r.sessions, false)]);
    section("Connected", &["NAME", "SESSIONS"], relays.collect());
    let indexes = stats.table.iter().flat_map(|t| &t.indexes);
    let indexes = indexes.map(|i| vec![i.name.clone(), bytes(i.bytes)]);
    section("Indexes", &["INDEX", "SIZE"], indexes.collect());
    lines
}

fn overview(stats: &Stats) -> Vec<String> {
    let unknown = || "not known in time".to_owned();
    let pending = stats.pending.as_ref().map_or_else(unknown, |p| {
        format!("{}, the oldest {}", count(p.events, p.more), age(p.oldest_age_seconds))
    });
    let published = stats.published.as_ref().map_or_else(unknown, |p| {
        format!(
            "{} in the last minute, {} in five; p50 {}, p99 {}",
            count(p.last_minute, p.more),
            count(p.last_5_minutes, p.more),
            age(p.latency_p50_seconds),
            age(p.latency_p99_seconds)
        )
    });
    let dead = stats.dead_letters.as_ref().map_or_else(unknown, |d| count(d.events, d.more));
    let table = stats.table.as_ref().map_or_else(unknown, |t| {
        let vacuumed = t.vacuumed_at.as_deref().map_or("never vacuumed".to_owned(), |at| {
            format!("vacuumed {}", at.get(..19).unwrap_or(at))
        });
        format!(
            "{} rows, {} dead; {} and {} of indexes; {vacuumed}",
            count(t.live_rows, false),
            count(t.dead_rows, false),
            bytes(t.table_bytes),
            bytes(t.index_bytes)
        )
    });
    let mut lines = vec![
        format!("pending       {pending}"),
        format!("published     {published}"),
        format!("dead letters  {dead}"),
        format!("table         {table}"),
    ];
    for paused in stats.pauses.iter().flatten().filter(|pause| pause.scope == "all") {
        lines.insert(0, format!("PAUSED        {} by {}", pause::in_words(paused), paused.actor));
    }
    lines
}

fn counted(rows: &[Counted]) -> Vec<Vec<String>> {
    let row = |c: &Counted| vec![c.name.clone(), count(c.events, false), age(c.oldest_age_seconds)];
    rows.iter().map(row).collect()
}
