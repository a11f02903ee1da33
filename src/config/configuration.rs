//! The settings together with where each came from.

use secrecy::SecretString;

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
