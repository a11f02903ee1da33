//! `outbox-relay migrate`: the outbox's schema in a database.

mod files;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::failure::{Exit, Failure};
use super::{Context, assemble, output};
use crate::config::{Needs, parse_duration};
use crate::store::grants::Roles;
use crate::store::migrate::{StepState, StepStatus, print};
use crate::store::migration_files::Format;
use crate::store::schema_name::SchemaName;
use crate::store::session::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create or update the schema; safe to run from many processes at once
    Up,
    /// Partition the outbox by position, which follows time: old events go with their partition
    Partition(PartitionOptions),
    /// What is applied and what is not
    Status,
    /// Write the SQL to stdout, or as files for your own migration tool
    Print(PrintOptions),
    /// Compare the schema, or your own tool's files, with this version; exit code 65 when they differ
    Verify(VerifyOptions),
    /// What a relay, a producer and a viewer need, and nothing more
    Grants(GrantsOptions),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
In place and without a pause: the table that is there becomes the first partition, with its events. Relays go on, and
make later partitions ahead of time; retention and `prune` drop those of which everything was published long enough ago.
For all that is different then see docs/partitioning.md. There is no way back but `pg_dump` and a new outbox.")]
struct PartitionOptions {
    /// How long one partition should last: 1d, 7d
    #[arg(long, value_name = "TIME", value_parser = every)]
    every: Duration,

    /// Events of each partition until there is a pace to go by
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(i64).range(10_000..=1_000_000_000))]
    rows: i64,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text).map_err(|error| format!("it {error}; write 1d or 7d"))?;
    let fits = (Duration::from_secs(3_600)..=Duration::from_secs(366 * 86_400)).contains(&every);
    if fits { Ok(every) } else { Err("it is not between 1h and 366d".to_owned()) }
}

#[derive(Debug, clap::Args)]
struct PrintOptions {
    /// The migration tool
    #[arg(long, value_name = "TOOL", default_value = "sql")]
    #[arg(value_parser = PossibleValuesParser::new(Format::ALL.map(|(name, _)| name)))]
    format: String,

    /// Where to write files; what is there stays, and what is missing is added
    #[arg(long, value_name = "DIR", required_if_eq_any([
        ("format", "prisma"), ("format", "drizzle"), ("format", "sqlx"), ("format", "flyway"), ("format", "rails"), ("format", "django"),
    ]))]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct VerifyOptions {
    /// Look at the files in this directory instead of the database
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("roles").required(true).multiple(true).args(["relay", "producer", "viewer"]))]
struct GrantsOptions {
    /// The role that `outbox-relay run` connects as: reads and settles
    #[arg(long, value_name = "ROLE")]
    relay: Option<String>,

    /// The role of the application: calls `enqueue`, and nothing else
    #[arg(long, value_name = "ROLE")]
    producer: Option<String>,

    /// A role that looks: everything but payloads and headers
    #[arg(long, value_name = "ROLE")]
    viewer: Option<String>,

    /// The producer may insert rows itself, too
    #[arg(long, requires = "producer")]
    allow_insert: bool,

    /// Write the SQL to stdout and change nothing, which is the default
    #[arg(long, conflicts_with = "apply")]
    print: bool,

    /// Execute it, as the outbox's owner
    #[arg(long)]
    apply: bool,
}

impl Options {
    /// Printing needs no database.
    pub(super) fn needs(&self) -> Needs {
        match self.action {
            Action::Print(_) | Action::Verify(VerifyOptions { dir: Some(_) }) => Needs::Nothing,
            Action::Up
            | Action::Partition(_)
            | Action::Status
            | Action::Verify(_)
            | Action::Grants(_) => Needs::Database,
        }
    }
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let settings = &configuration.settings;
    let schema = || {
        SchemaName::new(&settings.schema)
            .map_err(|error| Failure::new(Exit::Config, error, "choose another with --schema"))
    };
    match &options.action {
        Action::Print(PrintOptions { format, out: Some(dir) }) => {
            let found = Format::ALL.into_iter().find(|(name, _)| name == format);
            let format = found.map_or(Format::Sql, |(_, format)| format);
            return files::write(format, &schema()?, dir);
        }
        Action::Print(_) => return output::line(print(&schema()?).trim_end()),
        Action::Verify(VerifyOptions { dir: Some(dir) }) => return files::verify(&schema()?, dir),
        Action::Up
        | Action::Partition(_)
        | Action::Status
        | Action::Verify(_)
        | Action::Grants(_) => {}
    }
    // The direct connection: a pooler may not let a transaction wait for a lock as long as this does.
    let store = assemble::store(settings, configuration.direct_url()?)?;
    let work = act(&options.action, &store);
    tokio::select! {
        // Dropped in mid-step, the step's transaction is rolled back.
        () = context.stop.cancelled() => Err(Failure::new(
            Exit::Temporary,
            "interrupted; the step under way was rolled back",
            "run `outbox-relay migrate up` again",
        )),
        outcome = work => outcome,
    }
}

async fn act(action: &Action, store: &Store) -> Result<(), Failure> {
    match action {
        Action::Up => {
            let applied = store.migrate_up().await?;
            for step in &applied {
                output::line(&format!("applied {step}"))?;
            }
            if applied.is_empty() {
                output::line("nothing to do: the schema is up to date")?;
            }
            Ok(())
        }
        Action::Partition(options) => {
            store.partition(options.every, options.rows).await?;
            output::line(
                "the outbox is partitioned; `migrate grants --relay ROLE` has what relays need for it",
            )
        }
        Action::Status => {
            for step in store.migrate_status().await? {
                output::line(&format!("{:<10} {}", state(&step), step.name))?;
            }
            Ok(())
        }
        Action::Verify(_) => {
            let problems = store.migrate_verify().await?;
            if problems.is_empty() {
                return output::line("the schema is as this version wants it");
            }
            Err(Failure::new(
                Exit::BadData,
                problems.join("; "),
                "run `outbox-relay migrate up`; enable a trigger with `alter table … enable trigger …`; make what is gone with its statements in `outbox-relay migrate print`",
            ))
        }
        Action::Grants(options) => grants(options, store).await,
        // Done without a database.
        Action::Print(_) => Ok(()),
    }
}

async fn grants(options: &GrantsOptions, store: &Store) -> Result<(), Failure> {
    let roles = Roles {
        relay: options.relay.clone(),
        producer: options.producer.clone(),
        viewer: options.viewer.clone(),
        allow_insert: options.allow_insert,
    };
    let sql = store.grants(&roles).await?;
    output::line(sql.trim_end())?;
    if options.apply {
        store.grant(&roles, &sql).await?;
    }
    Ok(())
}

fn state(step: &StepStatus) -> &'static str {
    match (step.state, step.repeatable) {
        (StepState::Applied, _) => "applied",
        (StepState::Missing, _) => "missing",
        (StepState::Changed, true) => "outdated",
        (StepState::Changed, false) => "edited",
    }
}
