//! `outbox-relay run`: publish until asked to stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::reload::{self, Live};
use super::sources::Running;
use super::supervisor::Supervisor;
use super::{Context, assemble, signals};
use crate::config::Environment;
use crate::doctor::SNAPSHOT_AGE_MAX;
use crate::relay::health::Grade;
use crate::relay::service::{Relay, Summary};
use crate::store::session::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Publish what is waiting, then exit; exit code 75 when something is left, on hold or locked
    #[arg(long)]
    once: bool,

    /// Publish from several databases: a configuration file each, whose name is the source's; repeat it
    #[arg(long = "source", value_name = "FILE")]
    sources: Vec<PathBuf>,
}

impl Options {
    /// The configuration files of several databases; empty for one.
    pub(super) fn sources(&self) -> &[PathBuf] {
        &self.sources
    }
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let supervisor = Supervisor::of(&Environment::of_process());
    // Ends with this function.
    let mut accompanied = JoinSet::new();
    let live = Live::of(&context.configuration);
    if !options.once {
        let hang_up = signals::hang_up()?;
        let reload = reload::Reload::new(context, &live, supervisor.clone());
        accompanied.spawn(reload.run(hang_up, context.stop.clone()));
    }
    let ended = if context.sources.is_empty() {
        let begun = |relay: &Relay| {
            if let Some(supervisor) = supervisor.clone() {
                let monitor = relay.monitor();
                let alive = move || monitor.liveness().grade != Grade::Failing;
                accompanied.spawn(supervisor.accompany(
                    relay.started(),
                    context.stop.clone(),
                    alive,
                ));
            }
        };
        Box::pin(relay(&live, &context.stop, options.once, begun)).await
    } else {
        let running = Running::start(&context.sources, &context.stop, options.once)?;
        if let Some(supervisor) = supervisor.clone() {
            let (stop, alive) = (context.stop.clone(), running.liveness());
            accompanied.spawn(supervisor.accompany(running.started(), stop, alive));
        }
        running.wait().await
    };
    // A relay with nothing in flight ends before what runs beside it has seen the signal.
    if let Some(supervisor) = supervisor {
        supervisor.stopping();
    }
    ended
}

/// Publishes from the database of one configuration; `begun` sees the relay before it runs.
pub(super) async fn relay(
    live: &Live,
    stop: &CancellationToken,
    once: bool,
    begun: impl FnOnce(&Relay),
) -> Result<(), Failure> {
    let configuration = &live.configuration();
    let settings = &configuration.settings;
    let store = assemble::store(settings, configuration.database_url()?)?;
    let direct = assemble::store(settings, configuration.direct_url()?)?;
    let ably = assemble::ably(configuration)?;
    let validation = assemble::validation(settings)?;
    let telemetry = Arc::new(assemble::telemetry(&ably));
    let relay = Relay::new(store.clone(), direct, ably, assemble::relay_config(settings, once))
        .with_retention(assemble::retention(settings))
        .with_validation(validation)
        .with_publication(assemble::publication(settings)?)
        .with_telemetry(Arc::clone(&telemetry));
    live.runs(relay.adjust());
    begun(&relay);
    let ended = Box::pin(publish(relay, &store, once, live, stop)).await;
    telemetry.end().await;
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

/// Runs the relay, and beside it what answers over HTTP. That may end as it likes: the relay does not mind.
async fn publish(
    relay: Relay,
    store: &Store,
    once: bool,
    live: &Live,
    stop: &CancellationToken,
) -> Result<Summary, Failure> {
    let settings = live.configuration().settings;
    let examined = live.clone();
    // With the key that is in force then.
    let subject = move || assemble::doctor(&examined.configuration(), SNAPSHOT_AGE_MAX);
    let monitor = relay.monitor();
    let http = if once { None } else { assemble::http(&settings, store, monitor, subject).await? };
    let (stop_http, mut beside) = (CancellationToken::new(), None);
    if let Some(http) = http {
        let address = http.address().to_string();
        tracing::info!(address, "answering on http://{address}");
        if let Some(url) = http.dashboard() {
            tracing::info!(url, "the dashboard is at {url}");
        }
        let no_thread = |error| Failure::internal(format!("no thread for HTTP: {error}"));
        beside = Some(http.run_apart(stop_http.clone()).map_err(no_thread)?);
    }
    // Also where a panic of the relay passes by here: a source begins anew and wants the address again.
    let stop_http = stop_http.drop_guard();
    let ended = relay.run(stop.clone()).await;
    drop(stop_http);
    if let Some(end) = beside {
        let ended = end.await.unwrap_or_else(|_| Err(io::Error::other("a panic")));
        if let Err(error) = ended {
            tracing::error!(%error, "the HTTP server ended badly: {error}");
        }
    }
    Ok(ended?)
}
