//! From flags, environment and file to [`Settings`], or to everything that is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::configuration::{Configuration, Resolved, missing};
use super::contradiction;
use super::environment::Environment;
use super::file::{ConfigFile, FileChoice};
use super::problem::{Origin, Problem, Problems};
use super::secret;
use super::settings::Settings;
use super::suggestion::{nearest, same};
use super::table::{CONFIG_ENV, ENV_PREFIX, SETTINGS, Setting, setting};
use super::value::{Kind, Raw, shown};

/// The flags that were given, by setting key. The values may be secrets: `Debug` shows the keys.
#[derive(Clone, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

impl Flags {
    /// Remembers the value of a setting's flag.
    pub fn set(&mut self, key: &'static str, value: String) {
        self.0.insert(key, value);
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Everything that settings are read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The command line's settings.
    pub flags: Flags,
    /// `--config`, if given.
    pub config: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// Where `outbox-relay.toml` is looked for; empty is the working directory.
    pub dir: PathBuf,
}

/// Which secrets a command uses. What it does not use is not read from the environment nor from the
/// file: `dev` must neither touch a database that merely happens to be configured nor fail over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// None, unless by flag.
    Nothing,
    /// The tokens of `http`, if set.
    Http,
    /// `database.url`, and `database.direct_url` if set.
    Database,
    /// `database.url`, `ably.api_key`, and `database.direct_url` if set.
    DatabaseAndAbly,
    /// Reads all that is set and misses nothing: for showing and checking a configuration.
    Whatever,
}

impl Needs {
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Nothing | Self::Http | Self::Whatever => &[],
            Self::Database => &["database.url"],
            Self::DatabaseAndAbly => &["database.url", "ably.api_key"],
        }
    }

    fn reads(self, setting: &Setting) -> bool {
        match self {
            _ if !setting.kind.is_secret() => true,
            Self::Nothing => false,
            Self::Http => setting.section() == "http",
            Self::Database => setting.section() == "database",
            Self::DatabaseAndAbly | Self::Whatever => true,
        }
    }
}

/// Reads every source. A flag beats the environment, which beats the file, which beats the default;
/// what is beaten in the environment is not looked at, what is beaten in the file still has to be
/// right, because a file is one document.
///
/// # Errors
/// Everything that is wrong, together.
pub fn load(sources: &Sources, needs: Needs) -> Result<Configuration, Problems> {
    let file = ConfigFile::read(&file_choice(sources)).unwrap_or_default();
    load_with(sources, needs, &file)
}

/// As [`load`], with the file read already.
pub(super) fn load_with(
    sources: &Sources,
    needs: Needs,
    file: &ConfigFile,
) -> Result<Configuration, Problems> {
    let mut loader = Loader {
        sources,
        needs,
        file,
        settings: Settings::blank(),
        entries: Vec::with_capacity(SETTINGS.len()),
        problems: file.problems.clone(),
        warnings: Vec::new(),
    };
    loader.refuse_unknown_variables();
    for setting in SETTINGS {
        loader.resolve(setting);
    }
    loader.finish()
}

fn file_choice(sources: &Sources) -> FileChoice {
    if let Some(path) = &sources.config {
        let named_by = Origin::Flag("--config".to_owned());
        return FileChoice::Named { path: path.clone(), named_by };
    }
    match sources.environment.get(CONFIG_ENV) {
        Some(path) => FileChoice::Named {
            path: path.into(),
            named_by: Origin::Environment(CONFIG_ENV.to_owned()),
        },
        None => FileChoice::Discovered { dir: sources.dir.clone() },
    }
}

/// A value that one source offers.
struct Candidate {
    raw: Raw,
    origin: Origin,
}

struct Loader<'a> {
    sources: &'a Sources,
    needs: Needs,
    file: &'a ConfigFile,
    settings: Settings,
    entries: Vec<Resolved>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Loader<'_> {
    /// A misspelled variable would otherwise silently leave the default in place.
    fn refuse_unknown_variables(&mut self) {
        let known = || SETTINGS.iter().flat_map(|setting| setting.env).copied().chain([CONFIG_ENV]);
        for name in self.sources.environment.names_with(ENV_PREFIX) {
            if known().any(|known| known == name) {
                continue;
            }
            // OUTBOX_RELAY_DATABASE_URL and the like: the classic name is the only one.
            let tail = without_prefix(&name);
            let classic = SETTINGS.iter().find(|s| same(&s.key.replace('.', "_"), tail));
            // Without the prefix, which all share and which would make any two alike.
            let near = nearest(tail, known().map(without_prefix));
            let suggestion = classic
                .map(|setting| setting.env[0])
                .or_else(|| known().find(|known| Some(without_prefix(known)) == near));
            let remedy = match suggestion {
                Some(known) => format!("did you mean {known}?"),
                None => "unset it; the README lists the variables".into(),
            };
            let what = format!("unknown variable {name}");
            self.problems.push(Problem::at(what, Origin::Environment(name), remedy));
        }
    }

    fn resolve(&mut self, setting: &'static Setting) {
        let read = self.needs.reads(setting);
        let from_file = if read { self.offered_by_file(setting) } else { None };
        let stronger = match self.offered_by_flag(setting) {
            None if read => self.offered_by_environment(setting),
            by_flag => by_flag,
        };
        if let (Some(_), Some(beaten)) = (&stronger, &from_file) {
            self.problems.extend(apply(setting, beaten, &mut Settings::blank()));
        }
        let winner = stronger.or(from_file);
        let winner = winner.or_else(|| {
            let word = setting.default?.to_owned();
            Some(Candidate { raw: Raw::Word(word), origin: Origin::Default })
        });
        if let Some(winner) = &winner {
            self.problems.extend(apply(setting, winner, &mut self.settings));
            self.warn_of_exposed_password(setting, winner);
        }
        self.entries.push(Resolved {
            key: setting.key,
            shown: winner.as_ref().map(|winner| shown(&setting.kind, &winner.raw)),
            origin: winner.map_or(Origin::Default, |winner| winner.origin),
        });
    }

    fn offered_by_flag(&self, setting: &Setting) -> Option<Candidate> {
        let value = self.sources.flags.0.get(setting.key)?;
        let origin = Origin::Flag(format!("--{}", setting.flag.unwrap_or(setting.key)));
        Some(Candidate { raw: Raw::Word(value.clone()), origin })
    }

    fn offered_by_environment(&mut self, setting: &Setting) -> Option<Candidate> {
        let environment = &self.sources.environment;
        let plain = setting.env.iter().find_map(|name| Some((*name, environment.get(name)?)));
        if setting.kind.is_secret() {
            let name = format!("{}_FILE", setting.env[0]);
            if let Some(path) = environment.get(&name) {
                if plain.is_some() {
                    self.refuse_both(setting.env[0], &name, Origin::Environment(name.clone()));
                    return None;
                }
                return self.read_secret_file(setting, Path::new(path), Origin::Environment(name));
            }
        }
        let (name, value) = plain?;
        self.text_of(setting, name, value)
    }

    fn text_of(&mut self, setting: &Setting, name: &str, value: &OsStr) -> Option<Candidate> {
        let origin = Origin::Environment(name.to_owned());
        match value.to_str() {
            Some(text) => Some(Candidate { raw: Raw::Word(text.to_owned()), origin }),
            None => {
                let what = format!("{}: the value is not UTF-8", setting.key);
                let remedy = format!("expected {}", setting.kind.expected());
                self.problems.push(Problem::at(what, origin, remedy));
                None
            }
        }
    }

    fn offered_by_file(&mut self, setting: &Setting) -> Option<Candidate> {
        let file = self.file;
        let plain = file.entries.get(setting.key);
        let file_key = format!("{}_file", setting.key);
        if let Some(entry) = file.entries.get(&file_key) {
            let origin = file.origin(entry.line);
            if plain.is_some() {
                self.refuse_both(setting.key, &file_key, origin);
                return None;
            }
            let Raw::Text(path) = &entry.raw else {
                let example =
                    format!("{}_file = \"/run/secrets/{}\"", setting.leaf(), setting.leaf());
                let remedy = format!("expected a path, for example {example}");
                let what = format!("{file_key}: not a string");
                self.problems.push(Problem::at(what, origin, remedy));
                return None;
            };
            // Relative to the file that says so: the working directory of a service is an accident.
            let path = file.path.parent().unwrap_or(Path::new("")).join(path);
            return self.read_secret_file(setting, &path, origin);
        }
        let entry = plain?;
        let raw = match &entry.raw {
            Raw::Word(text) | Raw::Text(text) => Raw::Text(text.clone()),
            Raw::Integer(number) => Raw::Integer(*number),
            Raw::List(items) => Raw::List(items.clone()),
            Raw::Other(name) => Raw::Other(name),
        };
        Some(Candidate { raw, origin: file.origin(entry.line) })
    }

    fn read_secret_file(
        &mut self,
        setting: &Setting,
        path: &Path,
        named_by: Origin,
    ) -> Option<Candidate> {
        match secret::read(setting.key, path, &named_by) {
            Ok(secret) => {
                self.warnings.extend(secret.warning);
                let origin = Origin::SecretFile { path: path.into(), named_by: Box::new(named_by) };
                Some(Candidate { raw: Raw::Word(secret.content), origin })
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn refuse_both(&mut self, plain: &str, file: &str, origin: Origin) {
        let what = format!("both {plain} and {file} are set");
        self.problems.push(Problem::at(what, origin, "keep one of them"));
    }

    /// Process lists show flags to everybody, and configuration files end up in repositories.
    fn warn_of_exposed_password(&mut self, setting: &Setting, winner: &Candidate) {
        let exposed = match &winner.origin {
            Origin::Flag(_) => "every user of this machine can read it in the process list",
            Origin::File { .. } => "configuration files get copied and committed",
            Origin::Environment(_) | Origin::SecretFile { .. } | Origin::Default => return,
        };
        let (Kind::Secret { .. }, Raw::Word(url) | Raw::Text(url)) = (setting.kind, &winner.raw)
        else {
            return;
        };
        if has_password(url) {
            let what = format!("{} holds a password: {exposed}", setting.key);
            let remedy = format!("use {0} or {0}_FILE", setting.env[0]);
            self.warnings.push(Problem::at(what, winner.origin.clone(), remedy));
        }
    }

    fn finish(mut self) -> Result<Configuration, Problems> {
        for key in self.needs.required() {
            let found = self.entries.iter().any(|entry| entry.key == *key && entry.shown.is_some());
            let setting = setting(key);
            // Whatever failed to be read was reported already, and is not "missing" too.
            let tried = setting.is_some_and(|setting| self.was_tried(setting));
            if !found && !tried && !self.file.unreadable {
                self.problems.push(missing(key));
            }
        }
        let of_key = |key: &str| {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            entry.map_or(Origin::Default, |entry| entry.origin.clone())
        };
        if self.problems.is_empty() {
            let reads = |key| setting(key).is_some_and(|setting| self.needs.reads(setting));
            self.problems.extend(contradiction::problems(&self.settings, reads, of_key));
        }
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        self.warnings.extend(contradiction::warnings(&self.settings, of_key));
        if self.settings.direct_url.is_none() {
            self.settings.direct_url = self
                .settings
                .database_url
                .as_ref()
                .map(|url| SecretString::from(url.expose_secret()));
        }
        Ok(Configuration {
            settings: self.settings,
            warnings: self.warnings,
            entries: self.entries,
        })
    }

    fn was_tried(&self, setting: &Setting) -> bool {
        let environment = &self.sources.environment;
        let tried = |name: &&str| {
            environment.get(name).is_some() || environment.get(&format!("{name}_FILE")).is_some()
        };
        setting.env.iter().any(tried)
            || self.file.entries.keys().any(|key| key.trim_end_matches("_file") == setting.key)
    }
}

fn without_prefix(name: &str) -> &str {
    name.strip_prefix(ENV_PREFIX).unwrap_or(name)
}

/// Reads and stores a value, or says what is wrong with it.
fn apply(setting: &Setting, candidate: &Candidate, settings: &mut Settings) -> Option<Problem> {
    let what = setting.kind.apply(&candidate.raw, settings).err()?;
    let example = match &candidate.origin {
        Origin::File { .. } => {
            format!("{} = {}", setting.leaf(), setting.kind.in_file(setting.example))
        }
        Origin::Flag(_) | Origin::Environment(_) | Origin::SecretFile { .. } | Origin::Default => {
            setting.example.to_owned()
        }
    };
    let what = format!("{}: {what}", setting.key);
    let remedy = format!("expected {}, for example {example}", setting.kind.expected());
    Some(Problem::at(what, candidate.origin.clone(), remedy))
}

/// Whether a connection string holds a password, as a URL or as `key=value` pairs.
fn has_password(url: &str) -> bool {
    let in_authority = url.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?']).next().unwrap_or("");
        // A password may hold `@` itself; the host never does.
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    in_authority || url.contains("password=")
}
