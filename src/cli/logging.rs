//! Log lines on stderr: readable on a terminal, flat JSON otherwise. Never payloads or secrets.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{Registry, prelude::*, reload};

use super::failure::Failure;
use crate::config::{Environment, LogFormat, Settings};

/// Libraries that say a lot at `info` and `debug` which no operator of ours can use. They are shown
/// from `warn` up, unless `log.level` names them.
const NOISY: &[&str] =
    &["h2", "hyper", "hyper_util", "reqwest", "rustls", "tokio_postgres", "tungstenite", "tower"];

/// Whether colours are wanted, whatever stderr is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// `NO_COLOR` or a dumb terminal.
    Never,
    /// On a terminal.
    Auto,
    /// `CLICOLOR_FORCE`.
    Always,
}

impl Colours {
    /// Reads `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`, of which `NO_COLOR` is the strongest.
    pub(super) fn of(environment: &Environment) -> Self {
        let force = environment.get("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        if environment.get("NO_COLOR").is_some() {
            Self::Never
        } else if force {
            Self::Always
        } else if environment.get("TERM") == Some(OsStr::new("dumb")) {
            Self::Never
        } else {
            Self::Auto
        }
    }

    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => terminal,
            Self::Always => true,
        }
    }
}

/// What is logged, changeable while the process runs.
#[derive(Debug, Clone)]
pub(super) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Logs by another `log.level` from now on.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn set(&self, level: &str) -> Result<(), Failure> {
        self.0
            .reload(filter(level)?)
            .map_err(|error| Failure::internal(format!("log.level: {error}")))
    }
}

/// Sends every event and every `log` record of this process to stderr; with `sources` each line names its
/// thread, which is called as its source is.
///
/// # Errors
/// When logging was started before.
pub(super) fn start(
    settings: &Settings,
    colours: Colours,
    sources: bool,
) -> Result<Level, Failure> {
    let terminal = io::stderr().is_terminal();
    let (subscriber, level) = subscriber(settings, colours, terminal, sources, io::stderr)?;
    subscriber
        .try_init()
        .map_err(|error| Failure::internal(format!("logging does not start: {error}")))?;
    Ok(level)
}

fn subscriber<W>(
    settings: &Settings,
    colours: Colours,
    terminal: bool,
    threads: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Level), Failure>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (level, handle) = reload::Layer::new(filter(&settings.log_level)?);
    let filter = level.and(filter_fn(is_fit_to_print));
    let pretty = match settings.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_thread_names(threads);
    let layer = if pretty {
        layer.compact().with_ansi(colours.on(terminal)).boxed()
    } else {
        // `timestamp`, `level`, `target`, `message` and the fields, all on the top level.
        layer.json().flatten_event(true).with_span_list(false).with_ansi(false).boxed()
    };
    let subscriber = Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)));
    Ok((subscriber, Level(handle)))
}

fn filter(level: &str) -> Result<Targets, Failure> {
    // The settings have been checked; this is for a caller who has not.
    let wanted: Targets =
        level.parse().map_err(|_| Failure::internal(format!("log.level {level:?}")))?;
    let default = wanted.default_level().unwrap_or(LevelFilter::OFF);
    let quiet = default.min(LevelFilter::WARN);
    let noisy = Targets::new().with_targets(NOISY.iter().map(|target| (*target, quiet)));
    // The later directive wins: whoever names a library gets what he asked for.
    Ok(noisy.with_targets(wanted.iter()).with_default(default))
}

/// Below `info` these libraries print what they carry: tokio-postgres logs the parameters of every
/// statement, and HTTP and WebSocket frames hold payloads and keys. No setting brings that back.
fn is_fit_to_print(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or("");
    *metadata.level() <= tracing::Level::INFO || !NOISY.contains(&crate_name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::{Needs, Sources, load};

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    /// What `events` log under an environment.
    fn logged(pairs: &[(&str, &str)], terminal: bool, events: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources {
            flags: crate::config::Flags::default(),
            config: None,
            environment: environment(pairs),
            dir: dir.path().into(),
        };
        let settings = load(&sources, Needs::Nothing).unwrap().settings;
        let lines = Lines::default();
        let writer = lines.clone();
        let colours = Colours::of(&sources.environment);
        let (subscriber, _) =
            subscriber(&settings, colours, terminal, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_flat() {
        let text = logged(&[], false, || {
            tracing::info!(tenant = "t1", events = 3, "published");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["events", "level", "message", "target", "tenant", "timestamp"]);
        assert_eq!((&line["message"], &line["events"]), (&"published".into(), &3.into()));
    }

    #[test]
    fn a_terminal_gets_readable_lines_and_colours_when_it_can() {
        let event = || tracing::info!(tenant = "t1", "published");
        assert!(logged(&[], true, event).contains('\u{1b}'));
        let plain = logged(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, event);
        assert!(!plain.contains('\u{1b}') && plain.contains("published tenant=\"t1\""), "{plain}");
        assert!(!logged(&[("TERM", "dumb")], true, event).contains('\u{1b}'));
        let forced = [("CLICOLOR_FORCE", "1"), ("OUTBOX_RELAY_LOG_FORMAT", "pretty")];
        assert!(logged(&forced, false, event).contains('\u{1b}'));
        assert!(logged(&[("OUTBOX_RELAY_LOG_FORMAT", "json")], true, event).starts_with('{'));
    }

    fn chatter() {
        tracing::debug!("ours");
        tracing::info!(target: "hyper::client", "theirs at info");
        tracing::warn!(target: "hyper::client", "theirs at warn");
        tracing::debug!(target: "tokio_postgres::query", "statement with hunter2");
    }

    #[test]
    fn the_level_is_ours_and_libraries_are_quiet() {
        let text = logged(&[("RUST_LOG", "debug")], false, chatter);
        assert!(text.contains("ours") && text.contains("theirs at warn"), "{text}");
        assert!(!text.contains("theirs at info") && !text.contains("hunter2"), "{text}");
        assert!(!logged(&[], false, chatter).contains("ours"));
        assert!(logged(&[("RUST_LOG", "error")], false, chatter).is_empty());
    }

    #[test]
    fn a_named_library_speaks_but_never_of_what_it_carries() {
        let wanted = [("RUST_LOG", "info,hyper=trace,tokio_postgres=trace")];
        let text = logged(&wanted, false, chatter);
        assert!(text.contains("theirs at info") && !text.contains("hunter2"), "{text}");
    }
}
