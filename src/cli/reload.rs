//! Settings that change while a relay runs: read again at SIGHUP, and when a secret file holds something else.
//!
//! What can be taken over is ([`RELOADABLE`]); of the rest one line says that it needs a restart. Wrong settings, and a
//! key that Ably refuses, change nothing. Each source is for itself.
//!
//! Secret files are compared by content every 2 s: it is what Kubernetes' swapped links, `mv` and writing in place have in
//! common, costs a read of some 60 bytes, and holds where inotify does not (NFS, a mount over the directory). A modification time alone
//! was rejected: links and `cp -p` bring old ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::assemble;
use super::failure::{Exit, Failure};
use super::logging::Level;
use super::supervisor::Supervisor;
use crate::ably::ApiKey;
use crate::config::{self, Configuration, Needs, Sources};
use crate::domain::failure::FailureClass;
use crate::relay::adjust::Adjust;

/// The settings that are taken over.
pub(super) const RELOADABLE: &[&str] = &["ably.api_key", "relay.channel_rate", "log.level"];

/// Time between two looks at the secret files. What has changed is taken over when two looks find the same: a file that is
/// being written is not half a key.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Most bytes of a secret file that are compared: as many as are ever read of one, and one.
const COMPARED_BYTES_MAX: u64 = 16 * 1024 + 1;

/// How long reading the settings may take before a line says that it hangs (a pipe without a writer, a dead mount).
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// The settings of one relay that are in force, and the relay while it runs.
#[derive(Debug, Clone)]
pub(super) struct Live(Arc<Mutex<InForce>>);

#[derive(Debug)]
struct InForce {
    configuration: Configuration,
    relay: Option<Adjust>,
}

impl Live {
    pub(super) fn of(configuration: &Configuration) -> Self {
        let configuration = configuration.clone();
        Self(Arc::new(Mutex::new(InForce { configuration, relay: None })))
    }

    /// The settings to start a relay with.
    pub(super) fn configuration(&self) -> Configuration {
        self.in_force().configuration.clone()
    }

    /// A relay was put together with them.
    pub(super) fn runs(&self, relay: Adjust) {
        self.in_force().relay = Some(relay);
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One configuration: of the process, or of a source.
#[derive(Debug)]
struct Part {
    /// The source's name, empty for the process.
    name: String,
    given: Sources,
    needs: Needs,
    live: Live,
    /// What the secret files held when they were last read, and at the last look.
    read: Contents,
    seen: Contents,
}

/// A fingerprint for each file; none for what cannot be read.
type Contents = BTreeMap<PathBuf, Option<u64>>;

/// Reads settings again.
#[derive(Debug)]
pub(super) struct Reload {
    parts: Vec<Part>,
    level: Level,
    supervisor: Option<Supervisor>,
    /// Of this process alone: the fingerprints tell nothing to anybody else.
    hasher: RandomState,
}

impl Reload {
    /// Nothing is read yet but the secret files.
    pub(super) fn new(context: &Context, live: &Live, supervisor: Option<Supervisor>) -> Self {
        let needs =
            if context.sources.is_empty() { Needs::DatabaseAndAbly } else { Needs::Nothing };
        let part = |name: &str, given: &Sources, needs, live: &Live| Part {
            name: name.to_owned(),
            given: given.clone(),
            needs,
            live: live.clone(),
            read: Contents::new(),
            seen: Contents::new(),
        };
        let mut parts = vec![part("", &context.given, needs, live)];
        for source in &context.sources {
            let (name, given, live) = source.parts();
            parts.push(part(name, given, Needs::DatabaseAndAbly, live));
        }
        let hasher = RandomState::new();
        for part in &mut parts {
            let files = part.live.in_force().configuration.secret_files();
            part.read = contents(&files, &hasher);
            part.seen.clone_from(&part.read);
        }
        Self { parts, level: context.level.clone(), supervisor, hasher }
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, mut hang_up: Signal, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                Some(()) = hang_up.recv() => true,
                _ = look.tick() => false,
                () = stop.cancelled() => return,
            };
            let mut due = self.look().await;
            if asked {
                tracing::info!("SIGHUP: reading the settings again");
                due = (0..self.parts.len()).collect();
            }
            if due.is_empty() {
                continue;
            }
            if let Some(supervisor) = &self.supervisor {
                supervisor.reloading();
            }
            for index in due {
                self.reload(index).await;
            }
            if let Some(supervisor) = &self.supervisor {
                supervisor.reloaded();
            }
        }
    }

    /// Looks at the secret files. Returns the parts whose files hold something else since they were read, and held it at
    /// the last look already.
    async fn look(&mut self) -> Vec<usize> {
        let files: Vec<Vec<PathBuf>> =
            self.parts.iter().map(|part| part.seen.keys().cloned().collect()).collect();
        let hasher = self.hasher.clone();
        let read = move || files.iter().map(|files| contents(files, &hasher)).collect::<Vec<_>>();
        let Ok(found) = tokio::task::spawn_blocking(read).await else { return Vec::new() };
        let mut due = Vec::new();
        for (index, (part, found)) in self.parts.iter_mut().zip(found).enumerate() {
            if found == part.seen && found != part.read {
                due.push(index);
            }
            part.seen = found;
        }
        due
    }

    async fn reload(&mut self, index: usize) {
        let Some(part) = self.parts.get_mut(index) else { return };
        let (given, needs, hasher) = (part.given.clone(), part.needs, self.hasher.clone());
        let before: Vec<PathBuf> = part.seen.keys().cloned().collect();
        let mut reading = tokio::task::spawn_blocking(move || {
            let loaded = config::load(&given, needs);
            let files = loaded.as_ref().map_or(before, Configuration::secret_files);
            (loaded, contents(&files, &hasher))
        });
        let in_time = tokio::time::timeout(READ_PATIENCE, &mut reading).await;
        let ended = match in_time {
            Ok(ended) => ended,
            Err(_) => {
                tracing::error!(
                    "reading the settings hangs; the old ones stay in force until then"
                );
                reading.await
            }
        };
        let Ok((loaded, files)) = ended else { return };
        part.read.clone_from(&files);
        part.seen = files;
        let source = part.name.as_str();
        let taken = match loaded {
            Ok(new) => part.take_over(&new, &self.level).await,
            Err(problems) => Err(problems.into()),
        };
        if let Err(failure) = taken {
            let (cause, remedy) = failure.parts();
            tracing::error!(source, remedy, "settings not reloaded, the old ones stay: {cause}");
        }
    }
}

impl Part {
    /// Takes over what can be, all or nothing, and names the rest.
    async fn take_over(&self, new: &Configuration, level: &Level) -> Result<(), Failure> {
        let old = self.live.configuration();
        let mut changed = old.changes(new);
        if !self.name.is_empty() {
            // What is logged is the process's, by its own settings.
            changed.retain(|key| !key.starts_with("log."));
        } else if self.needs == Needs::Nothing {
            // All else is the sources'.
            changed.retain(|key| key.starts_with("log."));
        }
        let (mut taken, mut left): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| RELOADABLE.contains(key));
        let mut key = None;
        if taken.contains(&"ably.api_key") {
            let (ours, theirs) = (parsed(&old)?, parsed(new)?);
            if ours.app() == theirs.app() {
                self.try_key(new).await?;
                key = Some(theirs);
            } else {
                // Ably knows ids per app: what may have been sent with the old key would be new there.
                taken.retain(|key| *key != "ably.api_key");
                left.push("ably.api_key (a key of another app)");
            }
        }
        if taken.contains(&"log.level") {
            level.set(&new.settings.log_level)?;
        }
        let mut in_force = self.live.in_force();
        if let (Some(key), Some(relay)) = (key, &in_force.relay) {
            relay.key(key).map_err(|error| {
                Failure::of_line(Exit::Config, error, "copy the whole key from the Ably dashboard")
            })?;
        }
        if taken.contains(&"relay.channel_rate")
            && let Some(relay) = &in_force.relay
        {
            relay.channel_rate(assemble::channel_rate(&new.settings));
        }
        in_force.configuration.adopt(new, &taken);
        drop(in_force);
        self.say(&taken, &left);
        Ok(())
    }

    /// Refuses a key that Ably refuses. When Ably cannot be asked, it is the file that counts.
    async fn try_key(&self, new: &Configuration) -> Result<(), Failure> {
        let client = assemble::ably(new)?;
        for resource in assemble::routing(&new.settings)?.resources() {
            if let Err(failure) = client.may_publish(&resource).await {
                let (class, remedy) = (failure.class, failure.class.remedy());
                if matches!(class, FailureClass::Configuration | FailureClass::Capability) {
                    let cause = format!("Ably refuses the new key: {failure}");
                    return Err(Failure::new(Exit::Config, cause, remedy));
                }
            }
        }
        Ok(())
    }

    fn say(&self, taken: &[&str], left: &[&str]) {
        let source = self.name.as_str();
        if !taken.is_empty() {
            tracing::info!(source, "settings reloaded: {}", taken.join(", "));
        } else if left.is_empty() {
            tracing::info!(source, "settings reloaded: nothing has changed");
        }
        if !left.is_empty() {
            tracing::warn!(source, "changed, and needs a restart: {}", left.join(", "));
        }
    }
}

fn parsed(configuration: &Configuration) -> Result<ApiKey, Failure> {
    ApiKey::parse(configuration.ably_api_key()?.expose_secret()).map_err(|error| {
        Failure::of_line(Exit::Config, error, "copy the whole key from the Ably dashboard")
    })
}

fn contents(files: &[PathBuf], hasher: &RandomState) -> Contents {
    files.iter().map(|path| (path.clone(), fingerprint(path, hasher))).collect()
}

/// What a file holds. A pipe's content is gone once it has been read, so pipes always look the same.
fn fingerprint(path: &Path, hasher: &RandomState) -> Option<u64> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(COMPARED_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(hasher.hash_one(bytes))
}
