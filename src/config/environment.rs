//! The environment as a value: passed in, so that tests need no process of their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Environment variables. The values may be secrets: `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The environment of this process, as it is now.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable. An empty one counts as not set: `ABLY_API_KEY=` is what a compose
    /// file passes on for a variable that nobody gave it.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The names that start with `prefix`, also of empty variables: a misspelled name is wrong
    /// whatever it holds.
    pub(super) fn names_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0
            .keys()
            .map(|name| name.to_string_lossy().into_owned())
            .filter(move |name| name.starts_with(prefix))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let environment = Environment::from_iter([("A", ""), ("B", "b")]);
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.get("B"), Some(OsStr::new("b")));
        assert_eq!(environment.get("C"), None);
    }

    #[test]
    fn debug_output_shows_names_without_values() {
        let debug = format!("{:?}", Environment::from_iter([("ABLY_API_KEY", "hunter2")]));
        assert_eq!(debug, "{\"ABLY_API_KEY\"}");
    }
}
