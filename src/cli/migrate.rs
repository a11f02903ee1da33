//! `outbox-relay migrate`: the outbox's schema in a database.

use super::failure::{Exit, Failure};
use super::{Context, assemble, output};
use crate::config::Needs;
use crate::store::migrate::{StepState, StepStatus, print};
use crate::store::schema_name::SchemaName;
use crate::store::session::Store;

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
    /// Compare the schema with that of this version; exit code 65 when it differs
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
    let configuration = &context.configuration;
    let settings = &configuration.settings;
    if options.action == Action::Print {
        let schema = SchemaName::new(&settings.schema)
            .map_err(|error| Failure::new(Exit::Config, error, "choose another with --schema"))?;
        return output::line(print(&schema).trim_end());
    }
    // The direct connection: a pooler may not let a transaction wait for a lock as long as this does.
    let store = assemble::store(settings, configuration.direct_url()?)?;
    let work = act(options.action, &store);
    tokio::select! {
        // Dropped in mid-step, the step's transaction is rolled back.
        () = context.stop.cancelled() => Err(Failure::new(
            Exit::Temporary,
            "interrupted; the step under way was rolled back",
            "run `outbox-relay migrate up` again",
        )),
        outcome = work => outcome,
    }
}

async fn act(action: Action, store: &Store) -> Result<(), Failure> {
    match action {
        Action::Up => {
            let applied = store.migrate_up().await?;
            for step in &applied {
                output::line(&format!("applied {step}"))?;
            }
            if applied.is_empty() {
                output::line("nothing to do: the schema is up to date")?;
            }
            Ok(())
        }
        Action::Status => {
            for step in store.migrate_status().await? {
                output::line(&format!("{:<10} {}", state(&step), step.name))?;
            }
            Ok(())
        }
        Action::Verify => {
            let problems = store.migrate_verify().await?;
            if problems.is_empty() {
                return output::line("the schema is as this version wants it");
            }
            Err(Failure::new(
                Exit::BadData,
                problems.join("; "),
                "run `outbox-relay migrate up`; enable a trigger with `alter table … enable trigger …`",
            ))
        }
        // Done without a database.
        Action::Print => Ok(()),
    }
}

fn state(step: &StepStatus) -> &'static str {
    match (step.state, step.repeatable) {
        (StepState::Applied, _) => "applied",
        (StepState::Missing, _) => "missing",
        (StepState::Changed, true) => "outdated",
        (StepState::Changed, false) => "edited",
    }
}
