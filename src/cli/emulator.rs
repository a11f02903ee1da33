//! `outbox-relay emulator`: a local Ably.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File with the API key that clients must use [default: any well-formed key]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

pub(super) async fn execute(options: &Options, _context: &Context) -> Result<(), Failure> {
    tracing::debug!(?options, "emulator");
    std::future::ready(Err(Failure::new(
        Exit::Internal,
        "`emulator` is not part of this build yet",
        "use a later version",
    )))
    .await
}
