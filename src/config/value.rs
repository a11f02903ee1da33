//! A value as it was written, and the kinds that it can be read as.

use std::time::Duration;

use secrecy::SecretString;

use super::problem::quoted;
use super::quantity::{QuantityError, format_duration, format_size, parse_duration, parse_size};
use super::settings::{FallbackHosts, Settings};

/// A value before it has a type. No `Debug`: it may be a secret.
pub(super) enum Raw {
    /// From a flag, the environment, a secret file or a default: text that stands for any type.
    Word(String),
    /// A string of the configuration file.
    Text(String),
    /// An integer of the configuration file.
    Integer(i64),
    /// An array of strings of the configuration file.
    List(Vec<String>),
    /// Another type of the configuration file, by name.
    Other(&'static str),
}

impl Raw {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Word(_) | Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::List(_) => "an array of strings",
            Self::Other(name) => name,
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            Self::Integer(_) | Self::List(_) | Self::Other(_) => None,
        }
    }
}

/// What a setting can be, its limits, and where in [`Settings`] it goes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text that passes a check.
    Text {
        /// What is wrong with the text, if anything.
        check: fn(&str) -> Result<(), String>,
        /// What the text is, after "expected".
        expected: &'static str,
        /// Stores the value.
        set: fn(&mut Settings, String),
    },
    /// Text that is never shown.
    Secret {
        /// What is wrong with the text, if anything; must not repeat it.
        check: fn(&str) -> Result<(), String>,
        /// What the text is, after "expected".
        expected: &'static str,
        /// Whether the configuration file may hold the value itself, next to `<key>_file`.
        plain_in_file: bool,
        /// Stores the value.
        set: fn(&mut Settings, SecretString),
    },
    /// A time span with its unit.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
        /// Stores the value.
        set: fn(&mut Settings, Duration),
    },
    /// A whole number.
    Count {
        /// The least.
        min: usize,
        /// The most.
        max: usize,
        /// Stores the value.
        set: fn(&mut Settings, usize),
    },
    /// A number of bytes.
    Size {
        /// The least, in bytes.
        min: usize,
        /// The most, in bytes.
        max: usize,
        /// Stores the value.
        set: fn(&mut Settings, usize),
    },
    /// One of a few names.
    Choice {
        /// The names.
        names: &'static [&'static str],
        /// Stores the value; `false` when the name is not known.
        set: fn(&mut Settings, &str) -> bool,
    },
    /// `auto`, `off`, or host names.
    Hosts {
        /// Stores the value.
        set: fn(&mut Settings, FallbackHosts),
    },
}

/// The most fallback hosts that are taken. Ably has five a region.
const HOSTS_MAX: usize = 16;

impl Kind {
    /// Whether the value is never shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// What is expected, as a noun.
    pub fn expected(&self) -> String {
        match self {
            Self::Text { expected, .. } | Self::Secret { expected, .. } => (*expected).to_owned(),
            Self::Duration { min, max, .. } => {
                format!("a duration from {} to {}", format_duration(*min), format_duration(*max))
            }
            Self::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Size { min, max, .. } => {
                format!("a size from {} to {}", format_size(*min), format_size(*max))
            }
            Self::Choice { names, .. } => format!("one of {}", names.join(", ")),
            Self::Hosts { .. } => "auto, off, or host names".to_owned(),
        }
    }

    /// A value as the configuration file has it.
    pub fn in_file(&self, value: &str) -> String {
        match self {
            Self::Count { .. } => value.to_owned(),
            Self::Text { .. }
            | Self::Secret { .. }
            | Self::Duration { .. }
            | Self::Size { .. }
            | Self::Choice { .. }
            | Self::Hosts { .. } => format!("\"{value}\""),
        }
    }

    /// Reads `raw` and stores it in `settings`.
    ///
    /// # Errors
    /// What is wrong with the value, without the key; secrets are not repeated.
    pub(super) fn apply(&self, raw: &Raw, settings: &mut Settings) -> Result<(), String> {
        match self {
            Self::Text { check, set, .. } => {
                let text = text(raw)?;
                check(text).map_err(|what| format!("{} {what}", quoted(text)))?;
                set(settings, text.to_owned());
            }
            Self::Secret { check, set, .. } => {
                let text = text(raw)?;
                check(text).map_err(|what| format!("the value {what}"))?;
                set(settings, SecretString::from(text));
            }
            Self::Duration { min, max, set } => {
                let text = text(raw)?;
                let value = parse_duration(text).map_err(|error| not_read(text, error))?;
                within(&value, min, max).map_err(|what| format!("{text} {what}"))?;
                set(settings, value);
            }
            Self::Count { min, max, set } => {
                let value = count(raw)?;
                within(&value, min, max).map_err(|what| format!("{value} {what}"))?;
                set(settings, value);
            }
            Self::Size { min, max, set } => {
                let value = size(raw)?;
                within(&value, min, max)
                    .map_err(|what| format!("{} {what}", format_size(value)))?;
                set(settings, value);
            }
            Self::Choice { set, .. } => {
                let text = text(raw)?;
                if !set(settings, text) {
                    return Err(format!("{} is not known", quoted(text)));
                }
            }
            Self::Hosts { set } => set(settings, hosts(raw)?),
        }
        Ok(())
    }
}

/// The value as it is shown to people; a secret never.
pub(super) fn shown(kind: &Kind, raw: &Raw) -> String {
    match raw {
        _ if kind.is_secret() => "***".to_owned(),
        Raw::Word(text) | Raw::Text(text) => text.clone(),
        Raw::Integer(number) => number.to_string(),
        Raw::List(items) => items.join(","),
        Raw::Other(name) => (*name).to_owned(),
    }
}

fn text(raw: &Raw) -> Result<&str, String> {
    raw.as_text().ok_or_else(|| format!("found {}", raw.type_name()))
}

fn not_read(text: &str, error: QuantityError) -> String {
    format!("{} {error}", quoted(text))
}

fn within<T: PartialOrd>(value: &T, min: &T, max: &T) -> Result<(), &'static str> {
    match value {
        _ if value < min => Err("is too small"),
        _ if value > max => Err("is too large"),
        _ => Ok(()),
    }
}

fn count(raw: &Raw) -> Result<usize, String> {
    match raw {
        Raw::Word(word) => {
            word.parse().map_err(|_| format!("{} is not a whole number", quoted(word)))
        }
        Raw::Integer(number) => usize::try_from(*number).map_err(|_| format!("found {number}")),
        Raw::Text(_) | Raw::List(_) | Raw::Other(_) => Err(format!("found {}", raw.type_name())),
    }
}

fn size(raw: &Raw) -> Result<usize, String> {
    match raw {
        Raw::Word(word) | Raw::Text(word) => {
            parse_size(word).map_err(|error| not_read(word, error))
        }
        Raw::Integer(number) => usize::try_from(*number).map_err(|_| format!("found {number}")),
        Raw::List(_) | Raw::Other(_) => Err(format!("found {}", raw.type_name())),
    }
}

fn hosts(raw: &Raw) -> Result<FallbackHosts, String> {
    let hosts: Vec<&str> = match raw {
        Raw::Word(text) | Raw::Text(text) => match text.as_str() {
            "auto" => return Ok(FallbackHosts::Auto),
            "off" => return Ok(FallbackHosts::Off),
            list => list.split(',').map(str::trim).collect(),
        },
        Raw::List(list) => list.iter().map(String::as_str).collect(),
        Raw::Integer(_) | Raw::Other(_) => return Err(format!("found {}", raw.type_name())),
    };
    if hosts.is_empty() {
        // Whoever writes `[]` may mean either, and the two are opposites.
        return Err("is an empty list".to_owned());
    }
    if hosts.len() > HOSTS_MAX {
        return Err(format!("names {} hosts; {HOSTS_MAX} are the most", hosts.len()));
    }
    match hosts.iter().find(|host| !is_host(host)) {
        Some(bad) => Err(format!("{} is not a host name", quoted(bad))),
        None => Ok(FallbackHosts::Hosts(hosts.into_iter().map(str::to_owned).collect())),
    }
}

/// A host name or address, with a port or without: 253 characters are DNS's limit for a name.
fn is_host(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (1..=260).contains(&text.len()) && text.chars().all(known)
}
