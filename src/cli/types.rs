//! `outbox-relay types`: the registry's events in other languages, and what a change of schemas breaks.

use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::{Context, assemble, operate, output};
use crate::registry::compatibility::breaks;
use crate::registry::event_types::Registry;
use crate::registry::types::{Language, generate};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write the types of all event types
    Generate {
        /// The language
        #[arg(long, value_enum)]
        lang: Lang,

        /// Only this module's event types, such as kitchen; may be given several times
        #[arg(long, value_name = "NAME")]
        module: Vec<String>,

        /// Write this file instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Refuse incompatible changes since an older state of the schema files; exit code 65
    Check {
        /// The directory of the schema files as they were, such as a checkout of what is released
        #[arg(long, value_name = "DIR")]
        against: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Lang {
    #[value(name = "typescript")]
    TypeScript,
    Zod,
    Rust,
    JsonSchema,
}

pub(super) fn execute(options: &Options, context: &Context) -> Result<(), Failure> {
    let registry = assemble::registry(&context.configuration.settings)?;
    match &options.action {
        Action::Generate { lang, module, out } => {
            let language = match lang {
                Lang::TypeScript => Language::TypeScript,
                Lang::Zod => Language::Zod,
                Lang::Rust => Language::Rust,
                Lang::JsonSchema => Language::JsonSchema,
            };
            if let Some(unknown) = module.iter().find(|module| !has_module(&registry, module)) {
                let cause = format!("no event type is of module {unknown:?}");
                return Err(Failure::new(Exit::Usage, cause, "name one of --registry's modules"));
            }
            let text = generate(&registry, language, module);
            let Some(file) = out else { return output::line(text.trim_end()) };
            std::fs::write(file, text).map_err(|error| {
                let cause = format!("{}: cannot be written: {error}", file.display());
                Failure::new(
                    Exit::Temporary,
                    cause,
                    "name a file in a directory that you may write to",
                )
            })
        }
        Action::Check { against } => {
            let found = breaks(&Registry::of_directory(against)?, &registry);
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            operate::lines(&lines)?;
            if found.is_empty() {
                return output::line("compatible");
            }
            Err(Failure::new(
                Exit::BadData,
                format!(
                    "{} is not compatible",
                    operate::counted(i64::try_from(found.len()).unwrap_or(i64::MAX), "change")
                ),
                "mend what stdout names, or make new event types beside the old ones",
            ))
        }
    }
}

fn has_module(registry: &Registry, module: &str) -> bool {
    registry.iter().any(|(event_type, ..)| event_type.split('.').next() == Some(module))
}
