//! `outbox-relay config`: what the settings are, whether they are right, and what a file may hold.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::{Context, operate, output, table};
use crate::config::file_schema::json_schema;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every setting with its value; secrets are not shown
    Show(ShowOptions),
    /// Say everything that is wrong with the settings, and connect to nothing
    Check(CheckOptions),
    /// The JSON Schema of the configuration file, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct ShowOptions {
    /// And where it came from: a flag, a variable, a line of the file, or the default
    #[arg(long)]
    origin: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is read together with the environment and the flags, as `run` would. Exit code 0 says that all is right, 78 that something
is wrong: one line each, with a remedy. That a value is not set is for the command that needs it to say.")]
struct CheckOptions {
    /// The settings file to check [default: the one that `run` would read]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Options {
    /// The file that is to be read instead of the usual one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match &self.action {
            Action::Check(options) => options.file.as_ref(),
            Action::Show(_) | Action::Schema => None,
        }
    }

    /// Whether it is about no settings in particular: then wrong ones are no reason to refuse.
    pub(super) fn needs_no_settings(&self) -> bool {
        matches!(self.action, Action::Schema)
    }
}

/// `config schema`.
pub(super) fn schema() -> Result<(), Failure> {
    output::line(json_schema().trim_end())
}

/// Whatever is wrong has been said when the settings were read.
pub(super) fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    match &options.action {
        Action::Show(options) => show(options, context),
        Action::Check(_) => output::line("the settings are right"),
        Action::Schema => schema(),
    }
}

fn show(options: &ShowOptions, context: &Context) -> Result<(), Failure> {
    let entries = context.configuration.entries();
    if options.json {
        return entries.iter().try_for_each(|entry| {
            let (key, value) = (entry.key, &entry.shown);
            operate::json(&json!({"key": key, "value": value, "origin": entry.origin.to_string()}))
        });
    }
    let row = |entry: &crate::config::Resolved| {
        let mut row =
            vec![entry.key.to_owned(), entry.shown.clone().unwrap_or_else(|| "-".to_owned())];
        if options.origin {
            row.push(match entry.shown {
                Some(_) => entry.origin.to_string(),
                None => "not set".to_owned(),
            });
        }
        row
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    let head = ["SETTING", "VALUE", "ORIGIN"];
    operate::lines(&table::lines(&head[..if options.origin { 3 } else { 2 }], &rows))
}
