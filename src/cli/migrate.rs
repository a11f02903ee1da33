//! `outbox-relay migrate`: the outbox's schema in a database.

use super::Context;
use super::failure::{Exit, Failure};
use crate::config::Needs;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
enum Action {
    /// Create or update the schema; safe to run from many processes at once
    Up,
    /// What is applied and what is not
    Status,
    /// Write the SQL to stdout, for your own migration tool
    Print,
    /// Compare the applied migrations with those of this version
    Verify,
}

impl Options {
    /// Printing needs no database.
    pub(super) fn needs(&self) -> Needs {
        match self.action {
            Action::Print => Needs::Nothing,
            Action::Up | Action::Status | Action::Verify => Needs::Database,
        }
    }
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    if options.needs() == Needs::Database {
        context.configuration.direct_url()?;
    }
    std::future::ready(Err(Failure::new(
        Exit::Internal,
        "`migrate` is not part of this build yet",
        "use a later version",
    )))
    .await
}
