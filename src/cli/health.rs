//! `outbox-relay health`: asks the relay on this machine, for a container's HEALTHCHECK.

use std::time::Duration;

use super::failure::{Exit, Failure};
use super::{Context, assemble, output};
use crate::http::probe;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Ask whether the process does anything at all, instead of whether it is doing its work
    #[arg(long)]
    live: bool,

    /// Say how each part is
    #[arg(long)]
    verbose: bool,

    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=60_000))]
    timeout: u64,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let settings = &context.configuration.settings;
    let Some(listen) = assemble::http_listen(settings)? else {
        return Err(Failure::new(
            Exit::Config,
            "http.listen is off, so a relay on this machine cannot be asked",
            "set OUTBOX_RELAY_HTTP_LISTEN=127.0.0.1:9464 for the relay and for this command",
        ));
    };
    let path = match (options.live, options.verbose) {
        (true, false) => "/livez",
        (true, true) => "/livez?verbose",
        (false, false) => "/readyz",
        (false, true) => "/readyz?verbose",
    };
    let patience = Duration::from_millis(options.timeout);
    let answer = probe(listen, path, settings.http_token.as_ref(), patience).await;
    let unavailable = |cause: String| {
        Failure::new(Exit::Unavailable, cause, "see the relay's log; `health --verbose` says why")
    };
    let answer = answer.map_err(|error| unavailable(error.to_string()))?;
    for line in answer.text.lines() {
        output::line(line)?;
    }
    match answer.status {
        200 => Ok(()),
        401 => Err(Failure::new(
            Exit::Permission,
            "the relay does not tell this command more",
            "give it the relay's OUTBOX_RELAY_HTTP_TOKEN, or ask without --verbose",
        )),
        status => Err(unavailable(format!("the relay is not healthy (HTTP {status})"))),
    }
}
