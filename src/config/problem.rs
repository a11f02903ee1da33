//! What is wrong with a configuration, where it comes from, and how it is mended.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, with its dashes.
    Flag(String),
    /// An environment variable, by name.
    Environment(String),
    /// A line of the configuration file, counted from 1.
    File {
        /// The file, as it was named or found.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// The content of a secret file.
    SecretFile {
        /// The file that holds the secret.
        path: PathBuf,
        /// What named that file.
        named_by: Box<Self>,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::SecretFile { path, named_by } => {
                write!(f, "file {}, named by {named_by}", path.display())
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong. Holds no secret, and no line break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {remedy}", self.cause())]
pub struct Problem {
    what: String,
    origin: Option<Origin>,
    remedy: String,
}

impl Problem {
    /// A problem of a value that came from somewhere.
    pub fn at(what: impl Into<String>, origin: Origin, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), origin: Some(origin), remedy: remedy.into() }
    }

    /// A problem that has no place, such as a value that nobody gave.
    pub fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), origin: None, remedy: remedy.into() }
    }

    /// What is wrong and where it comes from, in one line.
    pub fn cause(&self) -> String {
        match &self.origin {
            Some(origin) => one_line(&format!("{} ({origin})", self.what)),
            None => one_line(&self.what),
        }
    }

    /// The line of the configuration file, where there is one.
    pub(super) fn line(&self) -> Option<usize> {
        match &self.origin {
            Some(Origin::File { line, .. }) => Some(*line),
            _ => None,
        }
    }

    /// How it is mended, in one line.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Everything that is wrong, at least one problem; one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The longest piece of a user's own text that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// A part after a colon of at least this many characters is no port; Ably's secrets have 43.
const SECRET_CHARS_MIN: usize = 16;

/// Somebody's text, quoted, on one line and cut to a readable length. Text that looks like a key or
/// a URL with a password is not repeated: people put values under the wrong name.
pub(super) fn quoted(text: &str) -> String {
    let tail = text.split_once(':').map_or("", |(_, tail)| tail);
    let like_key = !tail.starts_with("//") && tail.chars().count() >= SECRET_CHARS_MIN;
    if like_key || text.contains('@') {
        return "the value (not shown: it looks like a secret)".to_owned();
    }
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// Paths and key names come from outside: a line break in one must not forge a second message.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_what_where_and_how() {
        let origin = Origin::File { path: "a\nb.toml".into(), line: 7 };
        let problem = Problem::at("relay.x: \"y\" is wrong", origin, "write z");
        assert_eq!(problem.to_string(), "relay.x: \"y\" is wrong (a b.toml:7); write z");
    }

    #[test]
    fn quoted_text_is_cut_between_characters() {
        let text = quoted(&"ä\n".repeat(100));
        assert!(text.ends_with("\"…") && !text.contains('\n'), "{text}");
        assert_eq!(quoted("short"), "\"short\"");
    }

    #[test]
    fn text_that_looks_like_a_secret_is_not_repeated() {
        assert!(!quoted("app.key:abcdefghijklmnopqrstuvwxyz").contains("abc"));
        assert!(!quoted("postgres://u:hunter2@h/d").contains("hunter2"));
        assert_eq!(quoted("http://127.0.0.1:8081"), "\"http://127.0.0.1:8081\"");
    }
}
