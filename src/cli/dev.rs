//! `outbox-relay dev`: everything locally, with sample events.

use super::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --database-url a private PostgreSQL is started, and removed at the end. Only the flag names
a database of your own: DATABASE_URL and the settings file do not, so that sample events never land
in a database that merely happens to be configured.

Examples:
  outbox-relay dev                                  until Ctrl-C
  outbox-relay dev --exit-after 200 --json          200 events, then a summary as JSON")]
pub(super) struct Options {
    /// End after N delivered events, with a summary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    exit_after: Option<u64>,

    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,

    /// Sample events a second
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// Use a PostgreSQL that is on this machine, or fail: never download one
    #[arg(long)]
    no_download: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    // `Needs::Nothing`: only the flag can have set it.
    let own_database = context.configuration.settings.database_url.is_some();
    tracing::debug!(?options, own_database, "dev");
    std::future::ready(Err(Failure::new(
        Exit::Internal,
        "`dev` is not part of this build yet",
        "use a later version",
    )))
    .await
}
