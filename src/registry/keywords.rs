//! The words of JSON Schema 2020-12, by what is in them. An unknown word is refused: by the standard it would mean
//! nothing, so that `requried` or another dialect's `nullable` would let everything pass.

use serde_json::{Map, Value};

use super::problem::{Problem, step};

/// What a keyword holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// One schema.
    Schema,
    /// A list of schemas.
    List,
    /// Schemas by name.
    Named,
    /// Anything else.
    Data,
}

/// The keyword's kind; `None` when there is no such keyword.
pub(super) fn kind_of(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "not"
        | "if"
        | "then"
        | "else"
        | "items"
        | "contains"
        | "additionalProperties"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "contentSchema" => Holds::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::List,
        "properties" | "patternProperties" | "$defs" | "dependentSchemas" => Holds::Named,
        "type" | "enum" | "const" | "multipleOf" | "maximum" | "exclusiveMaximum" | "minimum"
        | "exclusiveMinimum" | "maxLength" | "minLength" | "pattern" | "maxItems" | "minItems"
        | "uniqueItems" | "maxContains" | "minContains" | "maxProperties" | "minProperties"
        | "required" | "dependentRequired" | "format" | "contentEncoding" | "contentMediaType"
        | "$schema" | "$id" | "$ref" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" => Holds::Data,
        _ if says_nothing(keyword) => Holds::Data,
        _ => return None,
    })
}

/// Words for people, which no validator looks at.
pub(super) fn says_nothing(keyword: &str) -> bool {
    let known = [
        "title",
        "description",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "examples",
        "$comment",
    ];
    known.contains(&keyword) || keyword.starts_with("x-")
}

/// Calls `visit` for a schema and every schema within it, each with its path.
pub(super) fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Value::Object(words) = schema else { return };
    visit(path, words);
    for (keyword, value) in words {
        let path = format!("{path}{}", step(keyword));
        match (kind_of(keyword), value) {
            (Some(Holds::Schema), schema) => walk(schema, &path, visit),
            (Some(Holds::List), Value::Array(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    walk(schema, &format!("{path}/{index}"), visit);
                }
            }
            (Some(Holds::Named), Value::Object(schemas)) => {
                for (name, schema) in schemas {
                    walk(schema, &format!("{path}{}", step(name)), visit);
                }
            }
            _ => {}
        }
    }
}

/// What of a schema we do not take, though it may be valid.
pub(super) fn faults(schema: &Value) -> Vec<Problem> {
    let mut faults = Vec::new();
    walk(schema, "", &mut |path, words| {
        for (keyword, value) in words {
            let at = format!("{path}{}", step(keyword));
            if let Some(what) = fault(path.is_empty(), keyword, value) {
                faults.push(Problem::new(at, what));
            }
        }
    });
    faults
}

fn fault(root: bool, keyword: &str, value: &Value) -> Option<String> {
    let text = value.as_str().unwrap_or_default();
    match keyword {
        "$ref" | "$dynamicRef" if !text.starts_with('#') => Some(format!(
            "refers to {value}, which is outside this file: nothing is fetched; copy it below $defs and refer to \"#/$defs/…\""
        )),
        "$schema" if text.trim_end_matches('#') != DIALECT => {
            Some(format!("must be \"{DIALECT}\", or left out"))
        }
        "$id" if !root => Some("is known only at the top of the file; remove it".to_owned()),
        _ if kind_of(keyword).is_none() => Some(
            "is no keyword of JSON Schema 2020-12; correct it, or begin it with x- if it is meant for other programs".to_owned(),
        ),
        _ => None,
    }
}

/// The one dialect.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn foreign_words_and_references_are_found_where_they_are() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "requried": ["a"], "x-owner": "us", "$comment": "c",
            "properties": {
                "$ref": {"$ref": "https://example.com/a.json"},
                "nullable": {"nullable": true, "enum": [{"$ref": "no schema"}]},
                "fine": {"$ref": "#/$defs/b"},
            },
            "anyOf": [{"items": {"$dynamicRef": "other.json"}, "$id": "x"}],
            "$defs": {"b": {"type": "string"}},
        });
        let mut paths: Vec<String> = faults(&schema).into_iter().map(|fault| fault.path).collect();
        paths.sort();
        assert_eq!(
            paths,
            [
                "/$schema",
                "/anyOf/0/$id",
                "/anyOf/0/items/$dynamicRef",
                "/properties/$ref/$ref",
                "/properties/nullable/nullable",
                "/requried",
            ]
        );
    }
}
