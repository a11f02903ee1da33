//! `outbox-relay scrub`: take payloads out of old events, and keep the rest.

use std::time::Duration;

use super::consent::{HOW_MANY, consent};
use super::failure::{Exit, Failure};
use super::progress::Progress;
use super::prune::{Common, age, ended, looking, remarks};
use super::{Context, assemble, output};
use crate::config::format_duration;
use crate::relay::housekeeping::{Bounds, End, Housekeeping, HousekeepingError, Tally, Work};
use crate::store::retention::{Purpose, Selection, Table};
use crate::store::session::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The payload becomes {\"scrubbed\": true} and the headers null; ids, tenant, type, aggregate, times, status and
error stay. In the table event_archive too. Pending events are never touched: they are still to be
published. What is in archive files, and what subscribers have got, is out of reach.

Off a terminal --yes is needed. Ctrl-C ends it after the batch under way; what is done stays done.
Exit code 75 when some of them were locked by others: run it again.

Examples:
  outbox-relay scrub --published-older-than 30d --yes
  outbox-relay scrub --published-older-than 0s --tenant t-1 --aggregate-id customer-7 --failed --dry-run")]
pub(super) struct Options {
    /// Scrub events that were published longer ago than this, by the database's clock; 0s is all
    #[arg(long, value_name = "AGE", value_parser = age)]
    published_older_than: Duration,

    /// Only events of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// Only events of these types: * is any text, ? one character
    #[arg(long, value_name = "GLOB")]
    event_type: Option<String>,

    /// Only events about this aggregate
    #[arg(long, value_name = "ID")]
    aggregate_id: Option<String>,

    /// Failed events too, by the time they were written; do not requeue them afterwards
    #[arg(long)]
    failed: bool,

    #[command(flatten)]
    common: Common,
}

/// What was done in one table.
struct Walked {
    tally: Tally,
    end: Result<End, HousekeepingError>,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let store = assemble::store(&configuration.settings, configuration.database_url()?)?;
    let dry_run = options.common.dry_run;
    if !dry_run {
        let age = format_duration(options.published_older_than);
        let what = format!("removes payloads of events older than {age} from {}", store.describe());
        consent(options.common.yes, &what, HOW_MANY, &context.stop).await?;
    }
    let events = walk(options, context, &store, Table::Event).await?;
    // After the events: a prune in between moves rows that are scrubbed already, or that are seen here.
    let archive = match &events.end {
        Ok(End::Complete) => Some(walk(options, context, &store, Table::Archive).await?),
        _ => None,
    };
    let archived = archive.as_ref().map(|archive| archive.tally).unwrap_or_default();
    let end = archive.map_or(events.end, |archive| archive.end);
    output::line(&if options.common.json {
        json(&events.tally, &archived, end.as_ref().ok(), dry_run)
    } else {
        text(&events.tally, &archived, end.as_ref().ok(), dry_run)
    })?;
    end?;
    // Whoever must forget somebody must know that it is not done.
    match events.tally.passed_over + archived.passed_over {
        0 => Ok(()),
        left => Err(Failure::new(
            Exit::Temporary,
            format!("{left} events were locked by others and are not scrubbed"),
            "run it again; scrubbed events are passed over",
        )),
    }
}

async fn walk(
    options: &Options,
    context: &Context,
    store: &Store,
    table: Table,
) -> Result<Walked, Failure> {
    let selection = Selection {
        older_than: options.published_older_than,
        tenant: options.tenant.clone(),
        event_type: options.event_type.clone(),
        aggregate_id: options.aggregate_id.clone(),
        failed: options.failed,
        unscrubbed: true,
    };
    let (purpose, work) = if options.common.dry_run {
        (Purpose::CountUnscrubbed, Work::Count(table))
    } else {
        (Purpose::Scrub, Work::Scrub(table))
    };
    let keeper = store.keeper(purpose).await?;
    let mut walk = Housekeeping::new(keeper, selection, work, Bounds::default());
    let mut progress = Progress::new();
    let end = walk.run(&context.stop, |tally| progress.show(|| looking(&tally, "scrubbed"))).await;
    Ok(Walked { tally: walk.tally(), end })
}

fn text(events: &Tally, archived: &Tally, end: Option<&End>, dry_run: bool) -> String {
    let count = |tally: &Tally| if dry_run { tally.matched } else { tally.changed };
    let verb = if dry_run { "would be scrubbed" } else { "scrubbed" };
    let both = Tally { passed_over: events.passed_over + archived.passed_over, ..*events };
    let (events, archived) = (count(events), count(archived));
    format!("{events} events and {archived} in the archive {verb}{}", remarks(&both, end))
}

fn json(events: &Tally, archived: &Tally, end: Option<&End>, dry_run: bool) -> String {
    serde_json::json!({
        "command": "scrub",
        "dry_run": dry_run,
        "matched": events.matched,
        "scrubbed": events.changed,
        "matched_in_archive": archived.matched,
        "scrubbed_in_archive": archived.changed,
        "passed_over": events.passed_over + archived.passed_over,
        "looked_at": events.looked_at + archived.looked_at,
        "batches": events.batches + archived.batches,
        "ended": ended(end),
    })
    .to_string()
}
