//! What is wrong with an event, each thing with its place.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::Serialize;

/// Problems that are told of one event. Whoever mends twenty looks again anyway.
pub const PROBLEMS_MAX: usize = 20;

/// The longest message and path in characters: both may repeat text of schemas and names of fields.
const TEXT_CHARS_MAX: usize = 300;

/// One thing that is wrong. Never repeats a value of the event: values may be personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, as a JSON Pointer: `/payload/taskId`; empty is the whole event.
    pub path: String,
    /// What, and where it helps how to mend it.
    pub message: String,
}

impl Problem {
    /// A problem at a place. Both texts are cut to 300 characters.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: cut(path.into()), message: cut(message.into()) }
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Everything that is wrong with an event, at most [`PROBLEMS_MAX`] things; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Several, unless there are none.
    pub(super) fn of(mut problems: Vec<Problem>) -> Result<(), Self> {
        problems.truncate(PROBLEMS_MAX);
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// Each with its path and message.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { path, message }) in self.0.iter().enumerate() {
            let comma = if index > 0 { "; " } else { "" };
            let path = if path.is_empty() { "the event" } else { path };
            write!(f, "{comma}{path} {message}")?;
        }
        Ok(())
    }
}

/// A field's name as one step of a JSON Pointer.
pub(super) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The problems that one finding of the validator is: several where it lists fields.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest has one place and one message")]
pub(super) fn of_validator(prefix: &str, error: &ValidationError<'_>) -> Vec<Problem> {
    let path = format!("{prefix}{}", error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Problem::new(path + &step(name), "is required")]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .take(PROBLEMS_MAX)
            .map(|name| Problem::new(format!("{path}{}", step(name)), "is not a known field"))
            .collect(),
        kind => vec![Problem::new(path, message(kind, error))],
    }
}

/// The common ones in our own words; the rest in the validator's, without the value.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the validator's to say")]
fn message(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> String {
    match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => {
            format!("must be of type {kind}")
        }
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::Format { format } if format == "date-time" => {
            "must be a time such as 2026-01-23T10:30:00.000Z".to_owned()
        }
        ValidationErrorKind::Format { format } => format!("must have the format {format}"),
        // The built-in module's word for UTC; at 3 a.m. nobody wants to read it.
        ValidationErrorKind::Pattern { pattern } if pattern == "Z$" => {
            "must be in UTC and end with Z, such as 2026-01-23T10:30:00.000Z".to_owned()
        }
        ValidationErrorKind::Pattern { pattern } => format!("must match {pattern}"),
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        ValidationErrorKind::Enum { options } => format!("must be one of {options}"),
        _ => error.masked_with("it").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_escaped_and_texts_are_cut() {
        assert_eq!(step("a/b~c"), "/a~1b~0c");
        let long = Problem::new("é".repeat(1_000), "x".repeat(1_000));
        assert_eq!((long.path.chars().count(), long.message.chars().count()), (301, 301));
    }

    #[test]
    fn problems_read_as_one_line() {
        let list = vec![Problem::new("/payload/taskId", "is required"), Problem::new("", "is odd")];
        let problems = Problems::of(list).unwrap_err();
        assert_eq!(problems.to_string(), "/payload/taskId is required; the event is odd");
        assert_eq!(Problems::of(Vec::new()), Ok(()));
        let many = vec![Problem::new("", "x"); 100];
        assert_eq!(Problems::of(many).unwrap_err().as_slice().len(), PROBLEMS_MAX);
    }
}
