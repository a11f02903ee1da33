//! `outbox-relay dev`: everything locally, with sample events.
//!
//! Here: whose database it is. `session` runs everything else on it, `screen` shows it, `verdict` judges.

mod screen;
mod session;
mod verdict;

use std::fmt::Display;

use secrecy::{ExposeSecret as _, SecretString};

use self::session::{Place, Session};
use super::failure::{Exit, Failure};
use super::{Context, assemble};
use crate::dev::banner::Database;
use crate::dev::kitchen::RATE_MAX;
use crate::dev::postgres::{PostgresOptions, PrivatePostgres};
use crate::store::application::Survey;
use crate::store::session::Store;

/// `log.level` unless it is set. An installation through npm takes a while and says so.
pub(super) const LOG_LEVEL: &str = "warn,outbox_relay::dev=info";

/// The private cluster's database; every cluster has it.
const PRIVATE_DATABASE: &str = "postgres";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --database-url a private PostgreSQL is started, and removed at the end. Only the flag names
a database of your own: DATABASE_URL and the settings file do not, so that sample events never land
in a database that merely happens to be configured.

With --database-url the schema is created or updated there and nothing is ever dropped. As long as
`dev` runs, whatever is written to that outbox goes to the emulator and is then published for good;
so a database with pending events, or with another relay at work, is refused.

Events are checked against the schemas of their types (registry.directory; the kitchen module is built in): a warning
on stderr says what does not fit, once a minute and type, and the event is published all the same.
OUTBOX_RELAY_REGISTRY_VALIDATE=reject fails it instead, off checks nothing.

Output: where everything is, one line per event as a subscriber received it, and a summary. As JSON
the first line has \"type\":\"started\", each event \"type\":\"event\", and the last line is the summary:
published (what the outbox says), delivered, duplicates, out_of_order, latency_ms (p50, p95, p99).

Examples:
  outbox-relay dev                                  until Ctrl-C
  outbox-relay dev --exit-after 200 --json          200 events, then a summary as JSON")]
pub(super) struct Options {
    /// End after N delivered events, with a summary; fail if one is missing, doubled or late
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    exit_after: Option<u64>,

    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,

    /// Sample events a second; more of them come from more tenants
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: u32,

    /// Use a PostgreSQL that is on this machine, or fail: never download one
    #[arg(long)]
    no_download: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let settings = &context.configuration.settings;
    // `Needs::Nothing`: only the flags can have set these.
    match (&settings.database_url, &settings.direct_url) {
        (Some(url), direct) => {
            Box::pin(with_own_database(options, context, url, direct.as_ref())).await
        }
        (None, Some(_)) => Err(Failure::new(
            Exit::Usage,
            "--direct-url was given without --database-url",
            "give both, or neither for a private PostgreSQL",
        )),
        (None, None) => Box::pin(with_private_database(options, context)).await,
    }
}

async fn with_private_database(options: &Options, context: &Context) -> Result<(), Failure> {
    let wanted =
        PostgresOptions { allow_download: !options.no_download, ..PostgresOptions::default() };
    let mut postgres = tokio::select! {
        // A start that is dropped cleans up behind itself.
        () = context.stop.cancelled() => return Ok(()),
        started = PrivatePostgres::start(wanted) => started.map_err(postgres_failure)?,
    };
    let outcome = Box::pin(on_private_database(options, context, &mut postgres)).await;
    // Whatever happened, wait until its processes and its directory are gone.
    let stopped = postgres.stop().await.map_err(postgres_failure);
    outcome.and(stopped)
}

async fn on_private_database(
    options: &Options,
    context: &Context,
    postgres: &mut PrivatePostgres,
) -> Result<(), Failure> {
    let url = postgres.url(PRIVATE_DATABASE);
    let store =
        assemble::store(&context.configuration.settings, &SecretString::from(url.as_str()))?;
    let (version, socket_dir) = (postgres.version().to_owned(), postgres.socket_dir().to_owned());
    let database = Database::Private {
        version: &version,
        socket_dir: &socket_dir,
        name: PRIVATE_DATABASE,
        url: &url,
    };
    let place = Place { store: store.clone(), direct: store, postgres: Some(postgres) };
    Session { options, context, place, database }.run().await
}

async fn with_own_database(
    options: &Options,
    context: &Context,
    url: &SecretString,
    direct: Option<&SecretString>,
) -> Result<(), Failure> {
    let settings = &context.configuration.settings;
    let store = assemble::store(settings, url)?;
    // Not read twice: what is to be said of it would be said twice.
    let direct = match direct {
        Some(direct) if direct.expose_secret() != url.expose_secret() => {
            assemble::store(settings, direct)?
        }
        _ => store.clone(),
    };
    let survey = tokio::select! {
        () = context.stop.cancelled() => return Ok(()),
        survey = direct.survey() => survey?,
    };
    refuse_what_would_be_lost(&survey, &store)?;
    let description = store.describe();
    let database = Database::Own { description: &description, created: !survey.outbox_exists };
    let place = Place { store, direct, postgres: None };
    Session { options, context, place, database }.run().await
}

/// An event that is published to the emulator is published, and never reaches Ably.
fn refuse_what_would_be_lost(survey: &Survey, store: &Store) -> Result<(), Failure> {
    let (database, schema) = (store.describe(), store.schema());
    if survey.relay_exists {
        return Err(Failure::new(
            Exit::Config,
            format!("another outbox-relay works on {database}: sample events would reach its Ably"),
            "stop that relay, or use another database; without --database-url `dev` has its own",
        ));
    }
    if survey.pending {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "the outbox {schema} of {database} has pending events: `dev` would publish them to the \
                 emulator, and they would be lost for Ably"
            ),
            "let `outbox-relay run` publish them first, or use another database or --schema",
        ));
    }
    Ok(())
}

fn postgres_failure(error: impl Display) -> Failure {
    Failure::of_line(Exit::Unavailable, error, "use a database of your own with --database-url")
}
