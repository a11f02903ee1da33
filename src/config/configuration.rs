//! The settings together with where each came from.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::problem::{Origin, Problem};
use super::settings::Settings;
use super::table::setting;

/// The settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    /// What is not wrong, but worth a line in the log.
    pub warnings: Vec<Problem>,
    pub(super) entries: Vec<Resolved>,
}

/// One setting as it was resolved, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `section.key`.
    pub key: &'static str,
    /// The value as it was written; `***` for secrets, `None` when not set.
    pub shown: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

impl Configuration {
    /// Every setting with its value and origin, in the order of the documentation.
    pub fn entries(&self) -> &[Resolved] {
        &self.entries
    }

    /// Where a setting's value came from.
    pub fn origin(&self, key: &str) -> &Origin {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(&Origin::Default, |entry| &entry.origin)
    }

    /// The files that secrets were read from.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let of = |entry: &Resolved| match &entry.origin {
            Origin::SecretFile { path, .. } => Some(Path::new(path).to_owned()),
            Origin::Flag(_) | Origin::Environment(_) | Origin::File { .. } | Origin::Default => {
                None
            }
        };
        self.entries.iter().filter_map(of).collect()
    }

    /// The keys whose values differ in the other one, wherever they come from.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let differs = |entry: &&Resolved| {
            let theirs = other.entries.iter().find(|theirs| theirs.key == entry.key);
            theirs.is_none_or(|theirs| theirs.shown != entry.shown)
                || entry.shown.is_some()
                    && self.settings.secret(entry.key).map(SecretString::expose_secret)
                        != other.settings.secret(entry.key).map(SecretString::expose_secret)
        };
        self.entries.iter().filter(differs).map(|entry| entry.key).collect()
    }

    /// Takes over the values and origins of some keys from the other one.
    pub fn adopt(&mut self, other: &Self, keys: &[&str]) {
        for key in keys {
            match *key {
                "ably.api_key" => {
                    self.settings.ably_api_key.clone_from(&other.settings.ably_api_key);
                }
                "relay.channel_rate" => self.settings.channel_rate = other.settings.channel_rate,
                "log.level" => self.settings.log_level.clone_from(&other.settings.log_level),
                _ => continue,
            }
            let theirs = other.entries.iter().find(|entry| entry.key == *key);
            let ours = self.entries.iter_mut().find(|entry| entry.key == *key);
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                ours.clone_from(theirs);
            }
        }
    }

    /// `database.url`, if the command's [`super::Needs`] let it be read.
    ///
    /// # Errors
    /// When it is not set.
    pub fn database_url(&self) -> Result<&SecretString, Problem> {
        self.settings.database_url.as_ref().ok_or_else(|| missing("database.url"))
    }

    /// `database.direct_url`, or `database.url` when that one is not set.
    ///
    /// # Errors
    /// When neither is set.
    pub fn direct_url(&self) -> Result<&SecretString, Problem> {
        self.settings.direct_url.as_ref().ok_or_else(|| missing("database.url"))
    }

    /// `ably.api_key`, if the command's [`super::Needs`] let it be read.
    ///
    /// # Errors
    /// When it is not set.
    pub fn ably_api_key(&self) -> Result<&SecretString, Problem> {
        self.settings.ably_api_key.as_ref().ok_or_else(|| missing("ably.api_key"))
    }
}

/// The problem of a value that nobody gave.
pub(super) fn missing(key: &str) -> Problem {
    let Some(setting) = setting(key) else {
        return Problem::missing(format!("{key} is not set"), "set it");
    };
    let env = setting.env[0];
    let what = format!("{key} is not set");
    let remedy = format!(
        "set {env} (or {env}_FILE, or {}_file in the configuration file), for example {env}={}",
        setting.key, setting.example
    );
    Problem::missing(what, remedy)
}
