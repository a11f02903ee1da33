//! `outbox-relay run`: publish until asked to stop.

use super::failure::{Exit, Failure};
use super::{Context, assemble};
use crate::relay::service::Relay;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Publish what is waiting, then exit; exit code 75 when something is left, on hold or locked
    #[arg(long)]
    once: bool,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let configuration = &context.configuration;
    let settings = &configuration.settings;
    let store = assemble::store(settings, configuration.database_url()?)?;
    let direct = assemble::store(settings, configuration.direct_url()?)?;
    let ably = assemble::ably(configuration)?;
    let validation = assemble::validation(settings)?;
    let relay = Relay::new(store, direct, ably, assemble::relay_config(settings, options.once))
        .with_retention(assemble::retention(settings))
        .with_validation(validation);
    let summary = relay.run(context.stop.clone()).await?;
    match summary.left {
        Some(left) if left.pending > 0 => Err(Failure::new(
            Exit::Temporary,
            format!(
                "{} events were published, {} are still pending; {} tenants are on hold",
                summary.published, left.pending, left.held_tenants
            ),
            "run it again later; `outbox-relay holds list` says who waits and why",
        )),
        _ => Ok(()),
    }
}
