//! The commands of the binary: parse, read the settings, log, run, map to an exit code.
//!
//! Reading order: [`main`] here, then `args` (what was typed), `failure` (how a command ends),
//! `logging`, `signals`, `sources` (several databases), `reload` (settings that change), `supervisor`, `output`, `operate` (what operators' commands share), `table`, and one file a
//! command.

mod adopt;
mod args;
mod assemble;
mod capture;
mod channel;
mod configure;
mod consent;
mod dev;
mod doctor;
mod emulator;
mod events;
mod failure;
mod figures;
mod flags;
mod health;
mod holds;
mod logging;
mod migrate;
mod operate;
mod output;
mod pause;
mod progress;
mod prune;
mod reload;
mod run;
mod scrub;
mod shell;
mod signals;
mod sources;
mod stats;
mod supervisor;
mod table;
mod tail;
mod top;
mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::args::{Args, Command};
use self::failure::{Exit, Failure};
use crate::config::{self, Configuration, Environment, Origin, Sources};

/// How long blocking work may linger after the command itself has ended.
const RUNTIME_SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// What every command gets.
#[derive(Debug)]
struct Context {
    /// The settings and their origins.
    configuration: Configuration,
    /// Cancelled by the first SIGTERM or SIGINT: stop, finish what is in flight, return.
    stop: CancellationToken,
    /// The databases of a `run` that has several.
    sources: Vec<sources::Source>,
    /// What the settings were read from.
    given: Sources,
    /// What is logged.
    level: logging::Level,
}

/// What is there before there is a runtime.
struct Common {
    configuration: Configuration,
    given: Sources,
    several: Vec<sources::Source>,
    level: logging::Level,
}

/// Runs the command line; the exit codes are in `--help`.
pub fn main() -> ExitCode {
    failure::report_panics_in_one_line();
    let exit = catch_unwind(AssertUnwindSafe(parse_and_execute)).unwrap_or_else(|_| {
        // The panic hook has written the cause.
        failure::write_remedy("this is a defect of outbox-relay: please report the line above");
        Exit::Internal
    });
    exit.into()
}

fn parse_and_execute() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return args::report(&error),
    };
    match execute(args) {
        Ok(()) => Exit::Ok,
        Err(failure) => failure.report(),
    }
}

fn execute(args: Args) -> Result<(), Failure> {
    if args.api_key.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "there is no --api-key: every user of this machine could read it in the process list",
            "set ABLY_API_KEY, or ABLY_API_KEY_FILE to the path of a file that holds the key",
        ));
    }
    if let Some(printed) = print_only(&args.command) {
        return printed;
    }
    let environment = Environment::of_process();
    let colours = logging::Colours::of(&environment);
    let sources = Sources {
        flags: args.settings.into_flags(),
        config: config_file(&args.command).or(args.config),
        environment,
        dir: PathBuf::new(),
    };
    let mut configuration = config::load(&sources, args.command.needs())?;
    let several: Vec<sources::Source> = sources::load(args.command.sources(), &sources)?;
    // The lines of `dev` are its events; what its relay says between them is for those who ask.
    if matches!(args.command, Command::Dev(_))
        && *configuration.origin("log.level") == Origin::Default
    {
        configuration.settings.log_level = dev::LOG_LEVEL.to_owned();
    }
    if matches!(args.command, Command::Top(_)) {
        configuration.settings.log_level = top::LOG_LEVEL.to_owned();
    }
    let level = logging::start(&configuration.settings, colours, !several.is_empty())?;
    let of_sources = several.iter().flat_map(sources::Source::warnings);
    for warning in configuration.warnings.iter().chain(of_sources) {
        tracing::warn!("{warning}");
    }
    let common = Common { configuration, given: sources, several, level };
    // A relay has less to do than one thread can (0.01 s of CPU per 1,000 events), and an event passes half a dozen
    // tasks on its way: waking another thread for each made the median of its latency twice as long.
    let mut builder = if matches!(args.command, Command::Run(_)) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the runtime does not start: {error}")))?;
    let outcome = runtime.block_on(execute_until_done(args.command, common));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_MAX);
    outcome
}

/// What depends on no settings, and so is not stopped by wrong ones.
fn print_only(command: &Command) -> Option<Result<(), Failure>> {
    if let Command::Completions(options) = command {
        return Some(shell::completions(options));
    }
    if let Command::Man(options) = command {
        return Some(shell::man(options));
    }
    let schema = matches!(command, Command::Config(options) if options.needs_no_settings());
    schema.then(configure::schema)
}

/// The file that a command is about.
fn config_file(command: &Command) -> Option<PathBuf> {
    if let Command::Config(options) = command { options.file().cloned() } else { None }
}

async fn execute_until_done(command: Command, common: Common) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    // Dropped at the end, which ends the watcher: nobody outlives the command.
    let mut watchers = JoinSet::new();
    signals::watch(&mut watchers, stop.clone())?;
    let Common { configuration, given, several, level } = common;
    let context = Context { configuration, stop, sources: several, given, level };
    match command {
        Command::Run(options) => run::execute(&options, &context).await,
        Command::Health(options) => health::execute(&options, &context).await,
        Command::Doctor(options) => doctor::execute(&options, &context).await,
        Command::Dev(options) => dev::execute(&options, &context).await,
        Command::Emulator(options) => emulator::execute(&options, &context).await,
        Command::Migrate(options) => migrate::execute(&options, &context).await,
        Command::Events(options) => events::execute(&options, &context).await,
        Command::Holds(options) => holds::execute(&options, &context).await,
        Command::Pause(options) => pause::pause(&options, &context).await,
        Command::Resume(options) => pause::resume(&options, &context).await,
        Command::Stats(options) => stats::execute(&options, &context).await,
        Command::Top(options) => top::execute(&options, &context).await,
        Command::Tail(options) => tail::execute(&options, &context).await,
        Command::Prune(options) => prune::execute(&options, &context).await,
        Command::Adopt(options) => adopt::execute(&options, &context).await,
        Command::Capture(options) => capture::execute(&options, &context).await,
        Command::Scrub(options) => scrub::execute(&options, &context).await,
        Command::Config(options) => configure::execute(&options, &context),
        Command::Completions(options) => shell::completions(&options),
        Command::Man(options) => shell::man(&options),
        Command::Channel(options) => channel::execute(&options),
        Command::Types(options) => types::execute(&options, &context),
    }
}
