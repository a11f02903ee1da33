//! What can be typed: commands, flags, and their help.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use super::failure::Exit;
use super::flags::SettingFlags;
use super::{
    adopt, capture, channel, configure, dev, doctor, emulator, events, health, holds, migrate,
    pause, prune, run, scrub, shell, stats, tail, top, types,
};
use crate::config::Needs;

const AFTER_HELP: &str = "\
Examples:
  outbox-relay dev                                  everything locally, with sample events
  outbox-relay migrate up                           create or update the outbox's schema
  outbox-relay run                                  publish until SIGTERM
  outbox-relay run --once                           publish what is waiting, then exit
  outbox-relay doctor                               what is wrong, and what to do about it
  outbox-relay events list --since 2h               what has failed, and why
  outbox-relay events requeue --code 40009 --dry-run  what would be published once more
  outbox-relay events validate sample.json          what is wrong with an event, by the registry
  outbox-relay holds list                           which tenants wait, and why
  outbox-relay pause --type orders.order.created --for 15m  publish none of these for now
  outbox-relay tail --failed                        failures as they happen
  outbox-relay prune --published-older-than 7d      delete what was published long ago
  outbox-relay adopt --table app.outbox             publish from a table that you have already

Environment:
  DATABASE_URL, DIRECT_URL, ABLY_API_KEY (each also as NAME_FILE), ABLY_ENDPOINT,
  OUTBOX_RELAY_CONFIG and OUTBOX_RELAY_<SECTION>_<KEY> (without the section for [relay]).
  A flag beats the environment, which beats the file, which beats the default.

Output:
  Data goes to stdout, messages and logs go to stderr.

Exit codes:
    0  done, or stopped as asked
    1  doctor: something is critical
    2  wrong usage
    3  doctor --strict: there are warnings
   65  bad data: no such event, an event that cannot be requeued or is not valid, a schema that differs
   69  a dependency is unavailable (database, Ably)
   70  internal error
   75  temporary failure, try again
   77  permission denied
   78  wrong configuration
  130  forced by a second SIGINT
  143  forced by a second SIGTERM";

/// Publishes your PostgreSQL outbox to Ably: in order per tenant, milliseconds after commit.
#[derive(Parser)]
#[command(name = "outbox-relay", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,

    /// Settings file [default: outbox-relay.toml, if there is one] [env: OUTBOX_RELAY_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub(super) config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) settings: SettingFlags,

    // People try it. It is known here only to be refused without its value being repeated.
    #[arg(long = "api-key", visible_aliases = [] as [&str; 0], global = true, hide = true)]
    #[arg(alias = "ably-api-key", alias = "key", num_args = 0..=1, default_missing_value = "")]
    pub(super) api_key: Option<OsString>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Publish the outbox's events to Ably until SIGTERM
    Run(run::Options),
    /// Ask the relay on this machine how it is, for a container's health check
    Health(health::Options),
    /// Look at everything a relay depends on, and say what to do about what is wrong
    Doctor(doctor::Options),
    /// Everything locally: PostgreSQL, Ably emulator, relay and sample events
    Dev(dev::Options),
    /// A local Ably: REST, SSE and WebSocket, with faults on demand
    Emulator(emulator::Options),
    /// The outbox's schema in your database
    Migrate(migrate::Options),
    /// List, show, requeue and discard events; check events against the registry
    Events(events::Options),
    /// Tenants that have to wait: list, release
    Holds(holds::Options),
    /// Stop publishing: everything, tenants, or event types; writers go on
    Pause(pause::PauseOptions),
    /// End a pause
    Resume(pause::ResumeOptions),
    /// How the outbox is, in numbers: backlog, rates, dead letters, holds, relays, sizes
    Stats(stats::Options),
    /// The same live in a terminal
    Top(top::Options),
    /// Watch events as they are written and settled
    Tail(tail::Options),
    /// Delete published events that are old, with or without an archive
    Prune(prune::Options),
    /// Publish from an outbox table that your application has already
    Adopt(adopt::Options),
    /// Write events for changes of a business table
    Capture(capture::Options),
    /// Take the payload out of old events and keep the rest
    Scrub(scrub::Options),
    /// What the settings are, where they come from, and whether they are right
    Config(configure::Options),
    /// The Ably channel of a tenant, and back
    Channel(channel::Options),
    /// Types of the registry's events in other languages, and what a change of them breaks
    Types(types::Options),
    /// Print a shell's completions
    Completions(shell::CompletionsOptions),
    /// Print the manual page
    Man(shell::ManOptions),
}

impl Command {
    /// The configuration files of a `run` with several databases.
    pub(super) fn sources(&self) -> &[PathBuf] {
        if let Self::Run(options) = self { options.sources() } else { &[] }
    }

    /// The settings that the command cannot do without.
    pub(super) fn needs(&self) -> Needs {
        match self {
            // Each source's own file has them.
            Self::Run(options) if !options.sources().is_empty() => Needs::Nothing,
            Self::Run(_) => Needs::DatabaseAndAbly,
            Self::Health(_) => Needs::Http,
            // What is missing is a finding.
            Self::Doctor(_) | Self::Config(_) => Needs::Whatever,
            Self::Dev(_)
            | Self::Emulator(_)
            | Self::Channel(_)
            | Self::Types(_)
            | Self::Completions(_)
            | Self::Man(_) => Needs::Nothing,
            Self::Migrate(options) => options.needs(),
            Self::Events(options) => options.needs(),
            Self::Holds(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Stats(_)
            | Self::Top(_)
            | Self::Tail(_)
            | Self::Prune(_)
            | Self::Scrub(_)
            | Self::Adopt(_)
            | Self::Capture(_) => Needs::Database,
        }
    }
}

/// Writes what clap has to say: help and version are data, the rest are messages.
pub(super) fn report(error: &clap::Error) -> Exit {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked {
        // A closed pipe (`--help | head`) is a clean end.
        let _ = error.print();
        return Exit::Ok;
    }
    // What was typed may hold a secret (`--databse-url=postgres://u:password@h/d`), and terminals
    // are logged.
    let text = without_secrets(&error.render().to_string(), std::env::args_os().skip(1));
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Usage
}

/// Takes every argument that could be a secret out of a text.
fn without_secrets(text: &str, args: impl Iterator<Item = OsString>) -> String {
    let mut text = text.to_owned();
    for arg in args {
        let arg = arg.to_string_lossy();
        let value = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => value,
            _ => arg.as_ref(),
        };
        if value.contains(':') || value.contains('@') {
            text = text.replace(value, "***");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_usage_message_repeats_no_secret() {
        let url = "postgres://u:hunter2@h/d";
        let args = [format!("--databse-url={url}"), "app.key:hunter2".to_owned()];
        let text = format!("unexpected '--databse-url={url}' and 'app.key:hunter2'");
        let cleaned = without_secrets(&text, args.into_iter().map(OsString::from));
        assert_eq!(cleaned, "unexpected '--databse-url=***' and '***'");
    }

    /// Command lines of a text: in backquotes, and lines of blocks that begin with the program.
    fn command_lines(text: &str) -> Vec<String> {
        let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let lines = text.lines().map(str::trim_start).map(|line| line.trim_start_matches("$ "));
        let all = quoted.chain(lines.map(str::to_owned));
        // Not a text of the dashboard's, made from a value.
        let ours = all.filter(|line| {
            line.starts_with("outbox-relay ") && !line.contains('\n') && !line.contains("${")
        });
        ours.map(|line| {
            // What comes behind it in a shell, or explains it in two columns.
            let ends = [" #", " |", ";", " &&", " >", " <", "\")]", "  "]
                .iter()
                .filter_map(|end| line.find(end));
            line[..ends.min().unwrap_or(line.len())].to_owned()
        })
        .collect()
    }

    /// Words as a shell makes them, without variables; `…` stands for more of the same.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                (c, _) => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty() && word != "…" && !word.starts_with('['));
        words
    }

    fn texts(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, found);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path.display().to_string(), text));
            }
        }
    }

    /// In the README, every page, every alert and every remedy in the sources.
    #[test]
    fn every_command_line_that_is_written_anywhere_can_be_typed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = vec![("README.md".to_owned(), include_str!("../../README.md").to_owned())];
        for folder in ["docs", "contrib", "src", "packaging"] {
            texts(&root.join(folder), &mut found);
        }
        let (mut lines, mut wrong) = (0, Vec::new());
        for (place, line) in found
            .iter()
            .flat_map(|(place, text)| command_lines(text).into_iter().map(move |l| (place, l)))
        {
            lines += 1;
            let Err(error) = Args::command().try_get_matches_from(words(&line)) else { continue };
            let only_named = matches!(
                error.kind(),
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
            );
            // A command is named, without what belongs to it.
            let bare = error.kind() == ErrorKind::MissingRequiredArgument && !line.contains(" -");
            let names_it = only_named || bare;
            if !names_it {
                wrong.push(format!("{place}: {line}: {error}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(lines > 150, "{lines}");
    }
}
