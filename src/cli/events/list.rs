//! `outbox-relay events list`.

use super::select::FilterOptions;
use crate::cli::failure::Failure;
use crate::cli::{Context, operate, table};
use crate::store::operator::PUBLISHED_WINDOW;
use crate::store::stored_event::{EventStatus, StoredEvent};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Failed and published events come newest first, pending ones by tenant and position. Published events
are looked for among the newest 100,000 positions only.

Examples:
  outbox-relay events list --since 2h --code PAYLOAD_TOO_LARGE
  outbox-relay events list --status pending --tenant tenant-abc --json | jq .id")]
pub(super) struct Options {
    /// Which events
    #[arg(long, value_enum, default_value_t = Status::Failed)]
    status: Status,

    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000))]
    limit: i64,

    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,

    /// Show payloads and headers, which may be personal data; only with --json
    #[arg(long, requires = "json")]
    payload: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Status {
    Failed,
    Pending,
    Published,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let mut operator = operate::operator(context).await?;
    let filter = options.filter.filter(&operator);
    let status = match options.status {
        Status::Failed => EventStatus::Failed,
        Status::Pending => EventStatus::Pending,
        Status::Published => EventStatus::Published,
    };
    let events = operator.list(status, &filter, options.limit, options.payload).await?;
    if i64::try_from(events.len()).is_ok_and(|found| found >= options.limit) {
        tracing::info!("there may be more: --limit is {}", options.limit);
    } else if status == EventStatus::Published {
        tracing::info!("looked at the newest {PUBLISHED_WINDOW} positions");
    }
    if options.json {
        return events.iter().try_for_each(operate::json);
    }
    operate::lines(&table_of(&events))
}

/// Events as aligned lines.
pub(super) fn table_of(events: &[StoredEvent]) -> Vec<String> {
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    table::lines(&["SEQ", "ID", "TENANT", "TYPE", "CREATED", "STATUS", "CODE", "MESSAGE"], &rows)
}

fn row(event: &StoredEvent) -> Vec<String> {
    let status = if event.discarded().is_some() { "discarded" } else { &event.status };
    vec![
        event.seq.to_string(),
        event.id.clone(),
        event.tenant_id.clone(),
        event.event_type.clone(),
        event.created_at.get(..19).map_or_else(|| event.created_at.clone(), |at| format!("{at}Z")),
        status.to_owned(),
        code(event),
        event.error_text("message").unwrap_or_default().to_owned(),
    ]
}

/// `ABLY_ERROR 40009`, or as much of it as there is.
pub(super) fn code(event: &StoredEvent) -> String {
    let code = event.error_text("code").unwrap_or_default();
    event.ably_code().map_or_else(|| code.to_owned(), |ably| format!("{code} {ably}"))
}
