//! All event types with their schemas: the kitchen module, and those of a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::problem::{PROBLEMS_MAX, Problem, Problems, of_validator};
use super::schema_file::{SchemaError, SchemaFile, read_directory};
use crate::domain::channel::{ChannelName, module_of};
use crate::domain::event::TenantId;
use crate::domain::message::ENVELOPE_VERSION;

/// The kitchen module, built in.
const KITCHEN: [(&str, &str); 3] = [
    ("kitchen.task.claimed", include_str!("schemas/kitchen.task.claimed.json")),
    ("kitchen.task.progress", include_str!("schemas/kitchen.task.progress.json")),
    ("kitchen.task.released", include_str!("schemas/kitchen.task.released.json")),
];

/// The event types that are known, each with the JSON Schema of its payload.
#[derive(Debug)]
pub struct Registry {
    types: BTreeMap<String, SchemaFile>,
    /// Types whose built-in schema a file has replaced.
    replaced: Vec<String>,
}

/// The registry cannot be used; everything that is wrong with its files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RegistryError(pub Vec<SchemaError>);

impl Registry {
    /// The kitchen module alone.
    ///
    /// # Errors
    /// Never, but for a defect of this program.
    pub fn built_in() -> Result<Self, RegistryError> {
        let mut types = BTreeMap::new();
        for (event_type, text) in KITCHEN {
            let file = PathBuf::from(format!("(built in) {event_type}.json"));
            types.insert(
                event_type.to_owned(),
                SchemaFile::parse(&file, text).map_err(RegistryError)?,
            );
        }
        Ok(Self { types, replaced: Vec::new() })
    }

    /// The kitchen module and the files of a directory: `kitchen.task.claimed.json` is the schema of that
    /// event type, and takes the place of the built-in one.
    ///
    /// # Errors
    /// When a file cannot be read, is no JSON Schema 2020-12 or refers to something outside it.
    pub fn open(directory: &Path) -> Result<Self, RegistryError> {
        let mut registry = Self::built_in()?;
        for (event_type, file) in read_directory(directory).map_err(RegistryError)? {
            if registry.types.insert(event_type.clone(), file).is_some() {
                registry.replaced.push(event_type);
            }
        }
        Ok(registry)
    }

    /// The files of a directory alone.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn of_directory(directory: &Path) -> Result<Self, RegistryError> {
        let types = read_directory(directory).map_err(RegistryError)?.into_iter().collect();
        Ok(Self { types, replaced: Vec::new() })
    }

    /// Every event type with its file and schema, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path, &Value)> {
        self.types.iter().map(|(name, file)| (name.as_str(), file.file.as_path(), &file.schema))
    }

    /// Whether the event type's schema is the built-in one.
    pub(super) fn is_built_in(&self, event_type: &str) -> bool {
        KITCHEN.iter().any(|(known, _)| *known == event_type)
            && self.replaced.iter().all(|replaced| replaced != event_type)
    }

    /// Checks a payload; paths begin with `/payload`.
    ///
    /// # Errors
    /// When it does not match the schema of its event type, or there is none.
    pub fn check_payload(&self, event_type: &str, payload: &Value) -> Result<(), Problems> {
        Problems::of(self.payload_problems(event_type, payload))
    }

    /// As [`Registry::check_payload`], with the payload as JSON text.
    ///
    /// # Errors
    /// As there, and when the text is no JSON.
    pub fn check_payload_text(&self, event_type: &str, payload: &str) -> Result<(), Problems> {
        let payload = serde_json::from_str(payload)
            .map_err(|error| Problem::new("/payload", format!("is not JSON: {error}")))?;
        self.check_payload(event_type, &payload)
    }

    fn payload_problems(&self, event_type: &str, payload: &Value) -> Vec<Problem> {
        let Some(SchemaFile { validator, .. }) = self.types.get(event_type) else {
            return vec![unknown(event_type)];
        };
        let errors = validator.iter_errors(payload).take(PROBLEMS_MAX);
        errors.flat_map(|error| of_validator("/payload", &error)).collect()
    }

    /// Checks an envelope with its payload, and returns its event type.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check<'v>(&self, envelope: &'v Value) -> Result<&'v str, Problems> {
        let Value::Object(fields) = envelope else {
            return Err(Problem::new("", "must be a JSON object").into());
        };
        let mut problems = envelope_problems(fields);
        let event_type = fields.get("eventType").and_then(Value::as_str).unwrap_or_default();
        match fields.get("payload") {
            None => problems.push(Problem::new("/payload", "is required")),
            // Without a type there is nothing to check it against.
            Some(_) if module_of(event_type).is_none() => {}
            Some(payload) => problems.extend(self.payload_problems(event_type, payload)),
        }
        Problems::of(problems).map(|()| event_type)
    }
}

fn unknown(event_type: &str) -> Problem {
    let shown: String = event_type.chars().take(100).collect();
    let what = format!(
        "{shown:?} is not in the registry; add its schema as {shown}.json to the directory that registry.directory names"
    );
    Problem::new("/eventType", what)
}

fn envelope_problems(fields: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in ["id", "tenantId", "aggregateType", "aggregateId", "occurredAt", "eventType"] {
        let what = match fields.get(name) {
            None => Some("is required".to_owned()),
            Some(Value::String(text)) => text_fault(name, text),
            Some(_) => Some("must be of type string".to_owned()),
        };
        problems.extend(what.map(|what| Problem::new(format!("/{name}"), what)));
    }
    let what = match fields.get("version") {
        None => "is required".to_owned(),
        Some(version) if version.as_u64() == Some(u64::from(ENVELOPE_VERSION)) => return problems,
        Some(_) => format!("must be {ENVELOPE_VERSION}"),
    };
    problems.push(Problem::new("/version", what));
    problems
}

fn text_fault(name: &str, text: &str) -> Option<String> {
    match name {
        "tenantId" => ChannelName::for_tenant(&TenantId::new(text)).err().map(|e| e.to_string()),
        _ if text.trim().is_empty() => Some("must not be empty".to_owned()),
        "eventType" => module_of(text)
            .is_none()
            .then(|| "needs at least two segments, such as kitchen.task.claimed".to_owned()),
        "occurredAt" => (!is_utc_time(text))
            .then(|| "must be a time in UTC such as 2026-01-23T10:30:00.000Z".to_owned()),
        _ => None,
    }
}

/// ISO 8601 with `T`, seconds and `Z`; the parser alone would take more forms.
fn is_utc_time(text: &str) -> bool {
    text.len() >= "2026-01-23T10:30:00Z".len()
        && text.as_bytes().get(10) == Some(&b'T')
        && text.ends_with('Z')
        && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claimed() -> Value {
        json!({
            "id": "018f", "version": 1, "tenantId": "tenant-abc", "aggregateType": "KitchenTask",
            "aggregateId": "task-123", "occurredAt": "2026-01-23T10:30:00.000Z",
            "eventType": "kitchen.task.claimed",
            "payload": {"taskId": "task-123", "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00Z", "extra": [1]},
        })
    }

    /// The problems of the event above with one field changed, or taken away by null.
    fn problems(pointer: &str, value: Value) -> Vec<(String, String)> {
        let mut event = claimed();
        if value.is_null() {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        } else {
            *event.pointer_mut(pointer).unwrap() = value;
        }
        match Registry::built_in().unwrap().check(&event) {
            Ok(_) => Vec::new(),
            Err(problems) => {
                let problems = problems.as_slice().iter();
                problems.map(|p| (p.path.clone(), p.message.clone())).collect()
            }
        }
    }

    #[test]
    fn every_rule_of_the_envelope_and_the_payload_has_its_path() {
        assert_eq!(Registry::built_in().unwrap().check(&claimed()), Ok("kitchen.task.claimed"));
        for (pointer, value, path, message) in [
            ("/id", Value::Null, "/id", "is required"),
            ("/id", json!(""), "/id", "must not be empty"),
            ("/id", json!(7), "/id", "must be of type string"),
            ("/version", json!(2), "/version", "must be 1"),
            ("/version", json!("1"), "/version", "must be 1"),
            ("/version", Value::Null, "/version", "is required"),
            ("/tenantId", json!(" "), "/tenantId", "tenantId is required"),
            ("/tenantId", json!("a:b"), "/tenantId", "tenantId contains ':'"),
            ("/aggregateId", json!(" "), "/aggregateId", "must not be empty"),
            (
                "/occurredAt",
                json!("2026-01-23T10:30:00+00:00"),
                "/occurredAt",
                "must be a time in UTC",
            ),
            ("/occurredAt", json!("2026-01-23 10:30:00Z"), "/occurredAt", "must be a time in UTC"),
            ("/occurredAt", json!("2026-01-23T10:30Z"), "/occurredAt", "must be a time in UTC"),
            ("/eventType", json!("kitchen"), "/eventType", "needs at least two segments"),
            (
                "/eventType",
                json!("kitchen.task.eaten"),
                "/eventType",
                "\"kitchen.task.eaten\" is not in the registry",
            ),
            ("/payload", Value::Null, "/payload", "is required"),
            ("/payload", json!([]), "/payload", "must be of type object"),
            ("/payload/taskId", Value::Null, "/payload/taskId", "is required"),
            ("/payload/taskId", json!(""), "/payload/taskId", "must not be empty"),
            ("/payload/employeeId", json!(1), "/payload/employeeId", "must be of type string"),
            (
                "/payload/claimedAt",
                json!("2026-01-23T10:30:00+02:00"),
                "/payload/claimedAt",
                "must be in UTC and end with Z, such as",
            ),
            (
                "/payload/claimedAt",
                json!("yesterdayZ"),
                "/payload/claimedAt",
                "must be a time such as",
            ),
        ] {
            let found = problems(pointer, value.clone());
            assert_eq!(found.len(), 1, "{pointer} {value}: {found:?}");
            assert_eq!(found[0].0, path, "{pointer} {value}: {found:?}");
            assert!(found[0].1.starts_with(message), "{pointer} {value}: {found:?}");
        }
    }

    #[test]
    fn progress_is_a_whole_number_from_0_to_100() {
        let registry = Registry::built_in().unwrap();
        let check = |percent: Value| {
            let payload = json!({"taskId": "t", "employeeId": "e", "progressPercent": percent, "updatedAt": "2026-01-23T10:30:00Z"});
            registry.check_payload("kitchen.task.progress", &payload).is_ok()
        };
        assert!(check(json!(0)) && check(json!(100)) && check(json!(50.0)));
        assert!(
            !check(json!(-1)) && !check(json!(101)) && !check(json!(0.5)) && !check(json!("1"))
        );
        let released =
            json!({"taskId": "t", "employeeId": "e", "releasedAt": "2026-01-23T10:30:00.123456Z"});
        assert_eq!(registry.check_payload("kitchen.task.released", &released), Ok(()));
    }

    #[test]
    fn a_message_never_repeats_a_value_of_the_event() {
        let directory = tempfile::tempdir().unwrap();
        let schema = r#"{
            "properties": {
                "a": {"enum": ["x"]}, "b": {"maxLength": 1}, "c": {"not": {"type": "string"}},
                "d": {"oneOf": [{"type": "null"}, {"type": "number"}]}, "e": {"type": ["null", "number"]},
                "f": {"pattern": "^x"}, "g": {"const": 1}, "h": {"contains": {"type": "null"}}
            },
            "additionalProperties": false
        }"#;
        std::fs::write(directory.path().join("a.b.json"), schema).unwrap();
        let registry = Registry::of_directory(directory.path()).unwrap();
        let fields =
            ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name.to_owned(), json!("hunter2")));
        let mut payload = Value::Object(fields.into_iter().collect());
        payload["h"] = json!(["hunter2"]);
        payload["z/z"] = json!("hunter2");
        let problems = registry.check_payload("a.b", &payload).unwrap_err();
        assert_eq!(problems.as_slice().len(), 9, "{problems}");
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
        assert!(problems.as_slice().iter().any(|p| p.path == "/payload/z~1z"), "{problems}");
    }

    #[test]
    fn a_file_takes_the_place_of_a_built_in_schema() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kitchen.task.claimed.json"), "{}").unwrap();
        let registry = Registry::open(directory.path()).unwrap();
        assert_eq!(registry.check_payload("kitchen.task.claimed", &json!(1)), Ok(()));
        assert!(!registry.is_built_in("kitchen.task.claimed"));
        assert!(registry.is_built_in("kitchen.task.released"));
        assert_eq!(registry.iter().count(), 3);
    }
}
