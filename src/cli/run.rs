//! `outbox-relay run`: publish until asked to stop.

use tokio::task::JoinSet;

use super::failure::{Exit, Failure};
use super::supervisor::Supervisor;
use super::{Context, assemble};
use crate::config::Environment;
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
    // Ends with this function.
    let mut beside = JoinSet::new();
    let supervisor = Supervisor::of(&Environment::of_process());
    if let Some(supervisor) = supervisor.clone() {
        beside.spawn(supervisor.accompany(relay.started(), context.stop.clone()));
    }
    let ended = relay.run(context.stop.clone()).await;
    // A relay with nothing in flight ends before what runs beside it has seen the signal.
    if let Some(supervisor) = supervisor {
        supervisor.stopping();
    }
    let summary = ended?;
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
