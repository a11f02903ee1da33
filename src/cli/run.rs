//! `outbox-relay run`: publish until asked to stop.

use super::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Publish what is waiting, then exit
    #[arg(long)]
    once: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    context.configuration.database_url()?;
    context.configuration.ably_api_key()?;
    let what = if options.once { "run --once" } else { "run" };
    tokio::select! {
        () = context.stop.cancelled() => Ok(()),
        () = std::future::ready(()) => Err(Failure::new(
            Exit::Internal,
            format!("`{what}` is not part of this build yet"),
            "use a later version",
        )),
    }
}
