//! `outbox-relay tail`: events as they are written and settled, from SQL alone.

mod follow;

use std::time::Duration;

use self::follow::Follow;
use super::failure::Failure;
use super::{Context, operate, output, table};
use crate::store::operator::Operator;
use crate::store::stored_event::{EventStatus, StoredEvent};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Events that one statement reads.
const PAGE: i64 = 1_000;

/// Pages that one look reads; what is further ahead is skipped, and said.
const PAGES_MAX: usize = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
An event is shown when it is first seen and whenever its status changes. Ctrl-C ends it.

Examples:
  outbox-relay tail --tenant tenant-abc
  outbox-relay tail --failed --json | jq .error")]
pub(super) struct Options {
    /// Only events of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,

    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,

    /// Only events that have failed
    #[arg(long)]
    failed: bool,

    /// Begin with what of the last N events is asked for
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000))]
    lines: i64,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    tokio::select! {
        // Being stopped is how it ends.
        () = context.stop.cancelled() => Ok(()),
        outcome = show(options, context) => outcome,
    }
}

async fn show(options: &Options, context: &Context) -> Result<(), Failure> {
    let mut operator = operate::operator(context).await?;
    let last = operator.last_position().await?;
    let mut follow = Follow::from((last - options.lines).max(0));
    loop {
        look(&mut operator, &mut follow, options).await?;
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn look(
    operator: &mut Operator,
    follow: &mut Follow,
    options: &Options,
) -> Result<(), Failure> {
    for _ in 0..PAGES_MAX {
        let found = operator.next_positions(follow.cursor(), PAGE).await?;
        let full = i64::try_from(found.len()).is_ok_and(|n| n >= PAGE);
        follow.found(&found, std::time::Instant::now());
        if !full {
            break;
        }
    }
    let behind = operator.last_position().await? - follow.cursor();
    if behind > PAGE {
        tracing::warn!("{behind} events were skipped: more are written than can be shown");
        follow.skip_to(operator.last_position().await?);
    }
    for seqs in follow.open().chunks(usize::try_from(PAGE).unwrap_or(1)) {
        for event in operator.events(seqs, false).await? {
            if follow.changed(event.seq, &event.status) && wanted(options, &event) {
                print(options, &event)?;
            }
        }
    }
    follow.forget(std::time::Instant::now());
    Ok(())
}

fn wanted(options: &Options, event: &StoredEvent) -> bool {
    options.tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant_id)
        && options.event_type.as_ref().is_none_or(|name| *name == event.event_type)
        && (!options.failed || event.status == EventStatus::Failed.as_str())
}

fn print(options: &Options, event: &StoredEvent) -> Result<(), Failure> {
    if options.json {
        return operate::json(event);
    }
    let at = event.published_at.as_deref().unwrap_or(&event.created_at);
    let message = event.error_text("message").unwrap_or_default();
    let line = format!(
        "{}  {:>9}  {:<9}  {}  {}  {}  {message}",
        at.get(..23).unwrap_or(at),
        event.seq,
        event.status,
        event.tenant_id,
        event.event_type,
        event.id
    );
    output::line(table::clean(&line).trim_end())
}
