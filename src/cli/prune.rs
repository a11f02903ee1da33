//! `outbox-relay prune`: delete published events that are old.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::consent::{HOW_MANY, consent};
use super::failure::{Exit, Failure};
use super::progress::Progress;
use super::{Context, assemble, output};
use crate::config::{format_duration, parse_duration};
use crate::relay::archive_file::{ArchiveError, ArchiveWriter};
use crate::relay::housekeeping::{
    BATCH_DEFAULT, BATCH_MAX, Bounds, End, Housekeeping, HousekeepingError, Tally, Work,
};
use crate::relay::partitions::{self, Dropped};
use crate::store::retention::{Purpose, Selection, Table};

/// A hundred years: beyond it PostgreSQL's own times end sooner or later.
const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
In a partitioned outbox whole partitions are dropped that hold nothing else, unless --tenant or --max-rows is given.

Deletes from the oldest on, in small transactions with pauses, and only what is published: pending and
failed events stay, whatever their age. Rows that somebody has locked are left for the next time.

An archive is JSON lines, compressed with zstd; `zstd -dc FILE` prints it. Each batch is safe on disk before
its rows are deleted; after a crash in between, a batch may be in the archive twice, never not at all.

Off a terminal --yes is needed. Ctrl-C ends it after the batch under way; what is done stays done.

Examples:
  outbox-relay prune --published-older-than 7d --dry-run
  outbox-relay prune --published-older-than 7d --yes --json
  outbox-relay prune --published-older-than 30d --archive /var/backups/outbox.jsonl.zst --yes")]
pub(super) struct Options {
    /// Delete events that were published longer ago than this, by the database's clock: 12h, 7d
    #[arg(long, value_name = "AGE", value_parser = age)]
    published_older_than: Duration,

    /// Rows of one transaction
    #[arg(long, value_name = "N", default_value_t = BATCH_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    batch: u32,

    /// Stop after so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_rows: Option<u64>,

    /// Only events of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// Append them to this file first (JSON lines, zstd)
    #[arg(long, value_name = "FILE", conflicts_with = "archive_table")]
    archive: Option<PathBuf>,

    /// Move them into the table event_archive instead
    #[arg(long)]
    archive_table: bool,

    #[command(flatten)]
    common: Common,
}

/// What prune and scrub share.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Count, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Do not ask; needed off a terminal
    #[arg(long)]
    pub(super) yes: bool,

    /// The result as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// An age as the command line has it.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let age = parse_duration(text).map_err(|error| format!("it {error}; write 12h or 7d"))?;
    if age > AGE_MAX {
        return Err("it is more than 36500d".to_owned());
    }
    Ok(age)
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let store = assemble::store(&configuration.settings, configuration.database_url()?)?;
    let age = format_duration(options.published_older_than);
    let dry_run = options.common.dry_run;
    if !dry_run {
        let what =
            format!("deletes events published more than {age} ago from {}", store.describe());
        consent(options.common.yes, &what, HOW_MANY, &context.stop).await?;
    }
    let (purpose, work) = match &options.archive {
        _ if dry_run => (Purpose::CountOld, Work::Count(Table::Event)),
        Some(path) => {
            let writer = Arc::new(Mutex::new(ArchiveWriter::new(path.clone())));
            (Purpose::Prune, Work::Write(writer))
        }
        None if options.archive_table => (Purpose::Move, Work::Move),
        None => (Purpose::Prune, Work::Delete),
    };
    let selection = Selection {
        older_than: options.published_older_than,
        tenant: options.tenant.clone(),
        ..Selection::default()
    };
    let mut bounds = Bounds { batch: options.batch, rows: options.max_rows, ..Bounds::default() };
    let mut keeper = store.keeper(purpose).await?;
    let archived = options.archive.is_some() || options.archive_table;
    let mut dropped = Dropped::default();
    if !dry_run && options.tenant.is_none() && options.max_rows.is_none() {
        if keeper.is_partitioned().await? {
            store.make_partitions().await?;
        }
        let age = options.published_older_than;
        dropped = partitions::drop_old(&mut keeper, age, archived, &context.stop).await?;
        bounds.before = dropped.walk_below.unwrap_or(bounds.before);
    }
    let mut walk = Housekeeping::new(keeper, selection, work, bounds);
    let mut progress = Progress::new();
    let end = walk.run(&context.stop, |tally| progress.show(|| looking(&tally, "deleted"))).await;
    drop(progress);
    output::line(&if options.common.json {
        json(&walk.tally(), end.as_ref().ok(), dry_run, archived, &dropped)
    } else {
        text(&walk.tally(), end.as_ref().ok(), dry_run, archived, &dropped)
    })?;
    end.map(drop).map_err(Failure::from)
}

/// One line while it goes on.
pub(super) fn looking(tally: &Tally, done: &str) -> String {
    format!("{} {done}, {} of {} looked at", tally.changed, tally.matched, tally.looked_at)
}

/// How it ended, for machines.
pub(super) fn ended(end: Option<&End>) -> &'static str {
    end.map_or("failed", |end| end.as_str())
}

/// What is worth a word beside the count.
pub(super) fn remarks(tally: &Tally, end: Option<&End>) -> String {
    let mut remarks = String::new();
    if tally.passed_over > 0 {
        remarks += &format!("; {} that others had locked were left", tally.passed_over);
    }
    match end {
        Some(End::Complete | End::NotOurTurn) => {}
        Some(End::Limit) => remarks += "; ended at --max-rows",
        Some(End::Stopped) => remarks += "; stopped as asked, there may be more",
        None => remarks += "; then it failed",
    }
    remarks
}

fn text(
    tally: &Tally,
    end: Option<&End>,
    dry_run: bool,
    archived: bool,
    dropped: &Dropped,
) -> String {
    let count = if dry_run { tally.matched } else { tally.changed };
    let verb = match (dry_run, archived) {
        (true, _) => "would be deleted",
        (false, true) => "archived and deleted",
        (false, false) => "deleted",
    };
    let partitions = if dropped.names.is_empty() {
        String::new()
    } else {
        format!("; dropped with all their events: {}", dropped.names.join(", "))
    };
    format!(
        "{count} events {verb}, {} looked at{}{partitions}",
        tally.looked_at,
        remarks(tally, end)
    )
}

fn json(
    tally: &Tally,
    end: Option<&End>,
    dry_run: bool,
    archived: bool,
    dropped: &Dropped,
) -> String {
    serde_json::json!({
        "command": "prune",
        "dry_run": dry_run,
        "matched": tally.matched,
        "deleted": tally.changed,
        "archived": if archived { tally.changed } else { 0 },
        "passed_over": tally.passed_over,
        "looked_at": tally.looked_at,
        "batches": tally.batches,
        "dropped_partitions": dropped.names,
        "ended": ended(end),
    })
    .to_string()
}

impl From<HousekeepingError> for Failure {
    fn from(error: HousekeepingError) -> Self {
        match error {
            HousekeepingError::Store(error) => error.into(),
            HousekeepingError::Archive(error) => error.into(),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let exit = match &error {
            ArchiveError::Open { source, .. } | ArchiveError::Write { source, .. } => {
                exit_of(source.kind())
            }
            ArchiveError::NotAFile { .. } => Exit::Config,
            ArchiveError::Busy { .. } => Exit::Temporary,
            ArchiveError::Foreign { .. } => Exit::BadData,
            ArchiveError::Internal(_) => Exit::Internal,
        };
        Self::new(exit, &error, error.remedy())
    }
}

fn exit_of(kind: ErrorKind) -> Exit {
    if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        Exit::Permission
    } else if matches!(kind, ErrorKind::NotFound | ErrorKind::IsADirectory) {
        Exit::Config
    } else {
        Exit::Temporary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_needs_a_unit_and_a_bound() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        assert!(age("7").is_err() && age("").is_err() && age("-1d").is_err());
        assert!(age("36500d").is_ok() && age("36501d").is_err());
    }

    #[test]
    fn the_result_says_what_was_left_and_why() {
        let tally = Tally { looked_at: 9, matched: 5, changed: 3, passed_over: 2, batches: 1 };
        assert_eq!(
            text(&tally, Some(&End::Limit), false, true, &Dropped::default()),
            "3 events archived and deleted, 9 looked at; 2 that others had locked were left; ended at --max-rows"
        );
        assert_eq!(
            text(
                &Tally { passed_over: 0, ..tally },
                Some(&End::Complete),
                true,
                false,
                &Dropped::default()
            ),
            "5 events would be deleted, 9 looked at"
        );
        assert!(
            json(&tally, None, false, false, &Dropped::default()).contains(r#""ended":"failed""#)
        );
    }
}
