//! Schema files: one event type each, named after it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::keywords;
use super::problem::Problem;
use crate::domain::channel::module_of;

/// The largest schema file in bytes: larger ones are no schema of an event of 64 KiB.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The most files in a directory.
const FILES_MAX: usize = 2_000;

/// Steps that a pattern may take before a text counts as not matching: payloads are not ours.
const PATTERN_STEPS_MAX: usize = 100_000;

/// What is wrong with a schema file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}{what}", file.display(), if path.is_empty() { String::new() } else { format!("{path} ") })]
pub struct SchemaError {
    /// The file or directory.
    pub file: PathBuf,
    /// Where in it, as a JSON Pointer; empty is the whole file.
    pub path: String,
    /// What is wrong, and how to mend it.
    pub what: String,
}

/// A schema of one event type, ready to validate.
#[derive(Debug)]
pub(super) struct SchemaFile {
    pub(super) file: PathBuf,
    pub(super) schema: Value,
    pub(super) validator: Validator,
}

impl SchemaFile {
    /// Takes the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, Vec<SchemaError>> {
        let fault = |path: &str, what: String| SchemaError {
            file: file.to_owned(),
            path: path.to_owned(),
            what,
        };
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| vec![fault("", format!("is not JSON: {error}"))])?;
        if !schema.is_object() {
            return Err(vec![fault("", "must be a JSON object".to_owned())]);
        }
        let faults = keywords::faults(&schema);
        if !faults.is_empty() {
            let faults = faults.into_iter();
            return Err(faults.map(|Problem { path, message }| fault(&path, message)).collect());
        }
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX))
            .offline()
            .build(&schema)
            .map_err(|error| {
                let path = error.instance_path().as_str().to_owned();
                vec![fault(&path, format!("is not JSON Schema 2020-12: {}", error.masked()))]
            })?;
        Ok(Self { file: file.to_owned(), schema, validator })
    }
}

/// Every schema of a directory, by event type. Files that do not end in `.json` are left alone.
///
/// # Errors
/// Everything that is wrong, in all files.
pub(super) fn read_directory(
    directory: &Path,
) -> Result<Vec<(String, SchemaFile)>, Vec<SchemaError>> {
    let fault = |what: String| SchemaError { file: directory.into(), path: String::new(), what };
    let unreadable = |error: std::io::Error| {
        vec![fault(format!("cannot be read: {error}; name the directory of your schema files"))]
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(vec![fault(format!("holds more than {FILES_MAX} schema files"))]);
        }
    }
    files.sort();
    let (mut schemas, mut errors) = (Vec::<(String, SchemaFile)>::new(), Vec::new());
    for file in files {
        match read_file(&file) {
            Ok((event_type, _)) if schemas.iter().any(|(known, _)| *known == event_type) => {
                let what = format!("is a second schema of {event_type}; keep one of them");
                errors.push(SchemaError { file, path: String::new(), what });
            }
            Ok(schema) => schemas.push(schema),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() { Ok(schemas) } else { Err(errors) }
}

fn read_file(file: &Path) -> Result<(String, SchemaFile), Vec<SchemaError>> {
    let fault = |what: String| vec![SchemaError { file: file.into(), path: String::new(), what }];
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_end_matches(".json").trim_end_matches(".schema");
    if module_of(name).is_none() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(fault(
            "is not named after an event type; name it such as kitchen.task.claimed.json"
                .to_owned(),
        ));
    }
    let mut text = String::new();
    let read = File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| fault(format!("cannot be read: {error}")))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(fault(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok((name.to_owned(), SchemaFile::parse(file, &text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(text: &str) -> String {
        let faults = SchemaFile::parse(Path::new("a.b.json"), text).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_no_schema_is_refused_with_file_and_path() {
        for (text, expected) in [
            ("{", "a.b.json: is not JSON"),
            ("[]", "a.b.json: must be a JSON object"),
            (r#"{"type": "strnig"}"#, "a.b.json: /type is not JSON Schema"),
            (r#"{"minLength": "1"}"#, "a.b.json: /minLength is not JSON Schema"),
            (r#"{"properties": {"a": {"pattern": "("}}}"#, "a.b.json: /properties/a/pattern"),
            (r##"{"$ref": "#/$defs/none"}"##, "a.b.json: "),
            (
                r#"{"items": {"$ref": "http://127.0.0.1:1/x"}}"#,
                "a.b.json: /items/$ref refers to \"http://127.0.0.1:1/x\", which is outside this file",
            ),
        ] {
            let faults = faults_of(text);
            assert!(faults.starts_with(expected), "{text}: {faults}");
        }
    }

    #[test]
    fn a_directory_is_read_by_name_and_all_that_is_wrong_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("README.md", "left alone");
        write("orders.order.created.json", "{}");
        write("orders.order.paid.schema.json", r#"{"type": "object"}"#);
        let types: Vec<String> =
            read_directory(directory.path()).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(types, ["orders.order.created", "orders.order.paid"]);
        write("orders.order.paid.json", "{}");
        write("order.json", "{}");
        write("a.b.json", &" ".repeat(300 * 1024));
        let errors = read_directory(directory.path()).unwrap_err();
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for part in ["a second schema of orders.order.paid", "order.json: is not named", "longer"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let missing = read_directory(&directory.path().join("none")).unwrap_err();
        assert!(missing[0].to_string().contains("cannot be read"));
    }
}
