//! The name of the outbox's schema, and SQL text with that name filled in.

use std::fmt;

/// Longest identifier PostgreSQL keeps, in bytes (NAMEDATALEN - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// A name that cannot be the outbox's schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the outbox's schema: {reason}")]
pub struct SchemaNameError {
    name: String,
    reason: &'static str,
}

/// Schema that holds the outbox; `outbox` unless configured otherwise. Also the name of the
/// notification channel, so that two outboxes in one database do not ring each other's bell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// Checks a name.
    ///
    /// # Errors
    /// When PostgreSQL would truncate, reserve or refuse it.
    pub fn new(name: &str) -> Result<Self, SchemaNameError> {
        let reason = if name.trim().is_empty() {
            "it is blank"
        } else if name.len() > IDENTIFIER_BYTES_MAX {
            "it is longer than 63 bytes"
        } else if name.starts_with("pg_") || name == "information_schema" {
            "PostgreSQL reserves it"
        } else if name.chars().any(char::is_control) {
            "it contains a control character"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(SchemaNameError { name: name.to_owned(), reason })
    }

    /// A name of ours that is known to pass.
    pub(super) fn of_checked(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The bare name; also the notification channel.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Fills the name into SQL: `:"schema"` becomes a quoted identifier, `:'schema'` a literal.
    pub fn fill(&self, template: &str) -> String {
        let identifier = format!("\"{}\"", self.0.replace('"', "\"\""));
        let literal = format!("'{}'", self.0.replace('\'', "''"));
        // A backslash is an ordinary character in a literal: standard_conforming_strings is on.
        // Literals are filled in between the identifiers: the name itself may look like a place to fill.
        let between = template.split(":\"schema\"").map(|text| text.replace(":'schema'", &literal));
        between.collect::<Vec<_>>().join(&identifier)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_filled_in_quoted() {
        let schema = SchemaName::new("o'\"x").unwrap();
        assert_eq!(
            schema.fill(r#"select :'schema' from :"schema".t"#),
            r#"select 'o''"x' from "o'""x".t"#
        );
    }

    #[test]
    fn a_name_that_looks_like_a_place_to_fill_stays_what_it_is() {
        let schema = SchemaName::new("a:'schema'b").unwrap();
        assert_eq!(schema.fill(":\"schema\".t"), "\"a:'schema'b\".t");
        let schema = SchemaName::new("a:\"schema\"b").unwrap();
        assert_eq!(schema.fill("select :'schema'"), "select 'a:\"schema\"b'");
    }

    #[test]
    fn names_that_postgresql_would_not_keep_are_refused() {
        for bad in ["", " ", "pg_x", "information_schema", "a\nb", &"x".repeat(64)] {
            assert!(SchemaName::new(bad).is_err(), "{bad}");
        }
        assert!(SchemaName::new(&"x".repeat(63)).is_ok());
    }
}
