//! Several databases from one process, `run --source FILE --source FILE`: each has a configuration file of its own, a
//! thread, a runtime, connections, limits, metrics and pauses of its own, so that the trouble of one is nobody else's.
//!
//! The thread has the source's name, and each line of the log names it. One runtime for all was rejected: a tenant-rich
//! claim of one database would be time that the others wait, and a panic would end them all.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::reload::Live;
use super::run;
use crate::config::{self, Configuration, Needs, Origin, Problem, Sources};
use crate::relay::health::Grade;
use crate::relay::monitor::Monitor;

/// The first pause before a source that could not be worked with is tried again; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest: a migration or a grant that somebody has made is found within it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Stack of a source's thread, in bytes: what the main thread has, where one database is published from.
const STACK_BYTES: usize = 8 << 20;

/// One database of several.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What its file is called, without the ending.
    name: String,
    configuration: Configuration,
    /// What they were read from.
    given: Sources,
    /// Those in force.
    live: Live,
}

impl Source {
    /// What it is called, what its settings are read from, and those in force.
    pub(super) fn parts(&self) -> (&str, &Sources, &Live) {
        (&self.name, &self.given, &self.live)
    }

    /// What is not wrong with its file, but worth a line.
    pub(super) fn warnings(&self) -> &[Problem] {
        &self.configuration.warnings
    }
}

/// Reads the sources' files. What flags and environment say holds for all of them.
///
/// # Errors
/// When one is wrong, or two would get into each other's way; nothing has been started then.
pub(super) fn load(files: &[PathBuf], common: &Sources) -> Result<Vec<Source>, Failure> {
    let mut all: Vec<Source> = Vec::with_capacity(files.len());
    for file in files {
        let sources = Sources {
            flags: common.flags.clone(),
            config: Some(file.clone()),
            environment: common.environment.clone(),
            dir: PathBuf::new(),
        };
        let configuration = config::load(&sources, Needs::DatabaseAndAbly)?;
        let name = name_of(file);
        for key in ["database.url", "database.direct_url"] {
            let origin = configuration.origin(key);
            if *origin != Origin::Default && !is_of_file(origin) {
                let cause =
                    format!("{key} comes from {origin}, and would be the same for every source");
                let remedy = "unset it; give each file its own, as `database.url_file` where it has a password";
                return Err(Failure::new(Exit::Config, cause, remedy));
            }
        }
        let listen = &configuration.settings.http_listen;
        let shared = |other: &&Source| {
            other.configuration.settings.http_listen == *listen
                && listen != "off"
                && !listen.ends_with(":0")
        };
        if let Some(other) = all.iter().find(shared) {
            let cause =
                format!("sources {} and {name} both have http.listen = {listen}", other.name);
            return Err(Failure::new(Exit::Config, cause, "give each file a port of its own"));
        }
        if all.iter().any(|other| other.name == name) {
            let cause = format!("two sources are called {name}");
            return Err(Failure::new(Exit::Config, cause, "give their files different names"));
        }
        let live = Live::of(&configuration);
        all.push(Source { name, configuration, given: sources, live });
    }
    Ok(all)
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn is_of_file(origin: &Origin) -> bool {
    match origin {
        Origin::File { .. } => true,
        Origin::SecretFile { named_by, .. } => is_of_file(named_by),
        Origin::Flag(_) | Origin::Environment(_) | Origin::Default => false,
    }
}

/// What is known of the sources from outside.
#[derive(Debug, Default)]
struct Shared {
    /// The relay that runs for each source, if one does.
    monitors: Mutex<BTreeMap<String, Monitor>>,
    /// Cancelled when all sources have been begun with, whether or not they can be worked with.
    begun: CancellationToken,
}

impl Shared {
    fn monitors(&self) -> MutexGuard<'_, BTreeMap<String, Monitor>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sources, each in its thread.
#[derive(Debug)]
pub(super) struct Running {
    shared: Arc<Shared>,
    ends: Vec<(String, oneshot::Receiver<Result<(), Failure>>)>,
}

impl Running {
    /// Starts a thread for each.
    ///
    /// # Errors
    /// When the operating system has no thread for us; those that were started are told to stop.
    pub(super) fn start(
        sources: &[Source],
        stop: &CancellationToken,
        once: bool,
    ) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let mut ends = Vec::with_capacity(sources.len());
        for source in sources {
            let (done, end) = oneshot::channel();
            let thread = Thread {
                source: source.clone(),
                all: sources.len(),
                stop: stop.clone(),
                once,
                shared: Arc::clone(&shared),
            };
            let named = std::thread::Builder::new().name(source.name.clone());
            let spawned = named.stack_size(STACK_BYTES).spawn(move || {
                // Nobody waits any more when the process ends already.
                let _ = done.send(thread.run());
            });
            if let Err(error) = spawned {
                stop.cancel();
                return Err(Failure::internal(format!("no thread for {}: {error}", source.name)));
            }
            ends.push((source.name.clone(), end));
        }
        Ok(Self { shared, ends })
    }

    /// Cancelled when all sources have been begun with.
    pub(super) fn started(&self) -> CancellationToken {
        self.shared.begun.clone()
    }

    /// Whether every relay that runs goes round. A source that waits for its database is no reason to restart the others.
    pub(super) fn liveness(&self) -> impl Fn() -> bool + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.monitors().values().all(|m| m.liveness().grade != Grade::Failing)
    }

    /// Waits until all have ended, which they do when told to, or after what waited when that was all.
    ///
    /// # Errors
    /// What each ended with, a line each; the exit code is that of the first.
    pub(super) async fn wait(self) -> Result<(), Failure> {
        let (mut causes, mut first) = (Vec::new(), None);
        for (name, end) in self.ends {
            let ended = end.await;
            let ended = ended.unwrap_or_else(|_| Err(Failure::internal("its thread has ended")));
            if let Err(failure) = ended {
                let (cause, remedy) = failure.parts();
                causes.push(format!("{name}: {cause}"));
                first.get_or_insert((failure.exit, remedy));
            }
        }
        match first {
            None => Ok(()),
            Some((exit, remedy)) => Err(Failure::several(exit, causes, remedy)),
        }
    }
}

/// One source's thread.
struct Thread {
    source: Source,
    /// How many sources there are.
    all: usize,
    stop: CancellationToken,
    once: bool,
    shared: Arc<Shared>,
}

impl Thread {
    /// Publishes until told to stop; whatever ends it before is said, and tried again.
    fn run(self) -> Result<(), Failure> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().thread_name(self.source.name.clone()).build();
        let runtime = runtime
            .map_err(|error| Failure::internal(format!("the runtime does not start: {error}")))?;
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            let relay = run::relay(&self.source.live, &self.stop, self.once, |relay| {
                self.note(relay.monitor());
            });
            let work = AssertUnwindSafe(|| runtime.block_on(Box::pin(relay)));
            // The panic hook has written what happened.
            let ended = catch_unwind(work).unwrap_or_else(|_| Err(Failure::internal("a panic")));
            let Err(failure) = ended else { return Ok(()) };
            if self.once || self.stop.is_cancelled() {
                return Err(failure);
            }
            if begun.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            let (cause, remedy) = failure.parts();
            let again_s = pause.as_secs();
            tracing::error!(remedy, again_s, "nothing is published from this source: {cause}");
            let stopped = runtime.block_on(async {
                tokio::time::timeout(pause, self.stop.cancelled()).await.is_ok()
            });
            if stopped {
                return Ok(());
            }
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    fn note(&self, monitor: Monitor) {
        let mut monitors = self.shared.monitors();
        monitors.insert(self.source.name.clone(), monitor);
        if monitors.len() == self.all {
            self.shared.begun.cancel();
        }
    }
}
