//! `outbox-relay events`: look at events, and decide about failed ones.

mod change;
mod list;
mod select;
mod show;
mod tally;
mod validate;

use super::failure::Failure;
use super::{Context, operate};
use crate::config::Needs;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List events, failed ones unless told otherwise; never their payloads unless asked for
    List(list::Options),
    /// One event: its error with the remedy, its tenant's hold, and what was decided about it
    Show(show::Options),
    /// Publish failed events once more, in order within a tenant, under new message ids
    Requeue(change::RequeueOptions),
    /// Decide that failed events stay unpublished, and say why
    Discard(change::DiscardOptions),
    /// Check events, as subscribers receive them, against the registry; exit code 65 when one is not valid
    Validate(validate::Options),
}

impl Options {
    /// Checking events needs no database.
    pub(super) fn needs(&self) -> Needs {
        match self.action {
            Action::Validate(_) => Needs::Nothing,
            Action::List(_) | Action::Show(_) | Action::Requeue(_) | Action::Discard(_) => {
                Needs::Database
            }
        }
    }
}

pub(super) async fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    match &options.action {
        Action::List(options) => {
            operate::unless_stopped(&context.stop, list::execute(options, context)).await
        }
        Action::Show(options) => {
            operate::unless_stopped(&context.stop, show::execute(options, context)).await
        }
        Action::Requeue(options) => change::requeue(options, context).await,
        Action::Discard(options) => change::discard(options, context).await,
        Action::Validate(options) => {
            operate::unless_stopped(&context.stop, validate::execute(options, context)).await
        }
    }
}
