//! The JSON Schema of the configuration file, for editors. `docs/outbox-relay.schema.json` holds exactly this text.
//! It says less than `config check`: limits of durations and sizes, and what a text may be, stand in descriptions.

use serde_json::{Map, Value, json};

use super::table::{SETTINGS, Setting};
use super::value::Kind;

/// The schema, pretty, with a line break at its end.
pub fn json_schema() -> String {
    let mut sections: Map<String, Value> = Map::new();
    for setting in SETTINGS {
        let section = sections.entry(setting.section()).or_insert_with(
            || json!({"type": "object", "additionalProperties": false, "properties": {}}),
        );
        if let Some(Value::Object(properties)) = section.get_mut("properties") {
            properties.extend(entries(setting));
        }
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "outbox-relay.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    });
    format!("{schema:#}\n")
}

/// A setting's key; of a secret also the one that names a file, and the plain one only where it is allowed.
fn entries(setting: &Setting) -> Vec<(String, Value)> {
    let mut entries = vec![(setting.leaf().to_owned(), described(setting))];
    if let Kind::Secret { plain_in_file, .. } = setting.kind {
        if !plain_in_file {
            entries.clear();
        }
        let description = format!("Path of a file that holds it. {}", setting.doc);
        let key = format!("{}_file", setting.leaf());
        entries.push((key, json!({"type": "string", "description": description})));
    }
    entries
}

fn described(setting: &Setting) -> Value {
    let mut value = of_kind(&setting.kind);
    let description = format!("{} Takes {}.", setting.doc, setting.kind.expected());
    value["description"] = description.into();
    if let Some(default) = setting.default {
        let number =
            matches!(setting.kind, Kind::Count { .. }).then(|| default.parse::<u64>().ok());
        value["default"] = number.flatten().map_or_else(|| default.into(), Value::from);
    }
    value
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text { .. } | Kind::Secret { .. } => json!({"type": "string"}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Kind::Count { min, max, .. } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Size { min, max, .. } => json!({"anyOf": [
            {"type": "integer", "minimum": min, "maximum": max},
            {"type": "string", "pattern": "^[0-9]+(B|KiB|MiB)?$"},
        ]}),
        Kind::Choice { names, .. } => json!({"enum": names}),
        Kind::Hosts { .. } => json!({"anyOf": [
            {"type": "string"}, {"type": "array", "items": {"type": "string"}},
        ]}),
    }
}
