//! `outbox-relay emulator`: a local Ably.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::{Context, output};
use crate::emulator::{API_KEY_DEFAULT, Emulator, EmulatorConfig, EmulatorError};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line on stdout is the base URL. Use it with
  ABLY_ENDPOINT=URL ABLY_API_KEY=dev.local:emulator outbox-relay run")]
pub(super) struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File with the API key that clients must use [default key: dev.local:emulator]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let config = EmulatorConfig {
        listen: options.listen,
        api_key: api_key(options)?,
        ..EmulatorConfig::default()
    };
    let emulator = Emulator::start(config).await.map_err(failure)?;
    output::line(&emulator.url())?;
    tracing::info!(url = emulator.url(), "the emulator is listening; Ctrl-C ends it");
    context.stop.cancelled().await;
    emulator.shutdown().await;
    Ok(())
}

fn api_key(options: &Options) -> Result<String, Failure> {
    let Some(path) = &options.api_key_file else {
        return Ok(API_KEY_DEFAULT.to_owned());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::Config,
            format!("{} cannot be read: {error}", path.display()),
            "pass --api-key-file a readable file that holds app.key:secret",
        )
    })?;
    Ok(text.trim_end().to_owned())
}

fn failure(error: EmulatorError) -> Failure {
    let exit = match &error {
        EmulatorError::AddressInUse { .. } | EmulatorError::Listen { .. } => Exit::Unavailable,
        EmulatorError::MalformedKey | EmulatorError::ZeroLimit { .. } => Exit::Config,
    };
    Failure::of_line(exit, error, "see the cause")
}
