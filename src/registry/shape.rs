//! What all languages need to know of a schema: names, fields, references.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::event_types::Registry;
use super::keywords;
use crate::domain::channel::module_of;

/// An event type as languages see it.
#[derive(Debug)]
pub(super) struct EventShape<'a> {
    /// `kitchen.task.claimed`.
    pub(super) event_type: &'a str,
    /// `KitchenTaskClaimed`; no two event types have the same.
    pub(super) name: String,
    /// Of the payload.
    pub(super) schema: &'a Value,
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) required: bool,
}

impl<'a> EventShape<'a> {
    /// The event types of these modules, or all of them, by name.
    pub(super) fn all(registry: &'a Registry, modules: &[String]) -> Vec<Self> {
        let mut taken = BTreeSet::new();
        let wanted = |event_type: &str| {
            modules.is_empty()
                || module_of(event_type).is_some_and(|m| modules.iter().any(|x| x == m))
        };
        let events = registry.iter().filter(|(event_type, ..)| wanted(event_type));
        events
            .map(|(event_type, _, schema)| {
                let name = unique(&pascal(event_type), &mut taken);
                Self { event_type, name, schema }
            })
            .collect()
    }

    /// The schemas below `$defs` with the names of their types, those first that others refer to.
    pub(super) fn definitions(&self) -> Vec<(String, &'a Value)> {
        let Some(defs) = self.schema.get("$defs").and_then(Value::as_object) else {
            return Vec::new();
        };
        let mut ordered: Vec<&str> = Vec::new();
        for name in defs.keys() {
            self.visit(defs, name, &mut BTreeSet::new(), &mut ordered);
        }
        ordered.into_iter().map(|name| (self.definition_name(name), &defs[name])).collect()
    }

    fn visit<'d>(
        &self,
        defs: &'d Map<String, Value>,
        name: &'d str,
        above: &mut BTreeSet<&'d str>,
        ordered: &mut Vec<&'d str>,
    ) {
        if ordered.contains(&name) || !above.insert(name) {
            return;
        }
        for target in references(&defs[name]) {
            let next = target.strip_prefix("#/$defs/").and_then(|n| defs.get_key_value(n));
            if let Some((next, _)) = next {
                self.visit(defs, next, above, ordered);
            }
        }
        ordered.push(name);
    }

    fn definition_name(&self, name: &str) -> String {
        format!("{}{}", self.name, pascal(name))
    }

    /// The name of the payload's type.
    pub(super) fn payload_name(&self) -> String {
        format!("{}Payload", self.name)
    }

    /// The type that a schema refers to, if it refers to one that has a name.
    pub(super) fn referred(&self, schema: &Value) -> Option<String> {
        let target = schema.get("$ref")?.as_str()?;
        if target == "#" {
            return Some(self.payload_name());
        }
        let name = target.strip_prefix("#/$defs/")?;
        self.schema.get("$defs")?.get(name).map(|_| self.definition_name(name))
    }

    /// Whether a type contains itself.
    pub(super) fn is_cyclic(&self, name: &str) -> bool {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(current) = todo.pop() {
            let Some(schema) = self.named(&current) else { continue };
            for target in references(schema) {
                let Some(next) = self.referred(&serde_json::json!({ "$ref": target })) else {
                    continue;
                };
                if next == name {
                    return true;
                }
                if seen.insert(next.clone()) {
                    todo.push(next);
                }
            }
        }
        false
    }

    fn named(&self, name: &str) -> Option<&'a Value> {
        if name == self.payload_name() {
            return Some(self.schema);
        }
        let defs = self.schema.get("$defs")?.as_object()?;
        defs.iter().find(|(key, _)| self.definition_name(key) == name).map(|(_, schema)| schema)
    }
}

/// What a schema refers to, in itself and below, but not in its `$defs`.
fn references(schema: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    let Value::Object(words) = schema else { return found };
    found.extend(words.get("$ref").and_then(Value::as_str));
    for (keyword, value) in words.iter().filter(|(keyword, _)| *keyword != "$defs") {
        match (keywords::kind_of(keyword), value) {
            (Some(keywords::Holds::Schema), schema) => found.extend(references(schema)),
            (Some(keywords::Holds::List), Value::Array(list)) => {
                found.extend(list.iter().flat_map(references));
            }
            (Some(keywords::Holds::Named), Value::Object(map)) => {
                found.extend(map.values().flat_map(references));
            }
            _ => {}
        }
    }
    found
}

/// The types that a schema names; an object where it only lists properties.
pub(super) fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => Vec::new(),
    }
}

/// The fields of an object, in the order of their names.
pub(super) fn fields_of(schema: &Value) -> Vec<Field<'_>> {
    let required = |name: &str| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)))
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields = properties.into_iter().flatten();
    fields.map(|(name, schema)| Field { name, schema, required: required(name) }).collect()
}

/// `const` and `enum` as one list.
pub(super) fn literals_of(schema: &Value) -> Option<Vec<&Value>> {
    if let Some(constant) = schema.get("const") {
        return Some(vec![constant]);
    }
    schema.get("enum").and_then(Value::as_array).map(|list| list.iter().collect())
}

/// `oneOf` or `anyOf`.
pub(super) fn choices_of(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array)
}

/// `allOf`.
pub(super) fn parts_of(schema: &Value) -> &[Value] {
    schema.get("allOf").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The description in lines, without what would end a comment.
pub(super) fn doc_of(schema: &Value) -> Vec<String> {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = text.replace("*/", "* /");
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// `kitchen.task.claimed` becomes `KitchenTaskClaimed`.
pub(super) fn pascal(name: &str) -> String {
    let mut out = String::new();
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        let (first, rest) = word.split_at(word.len().min(1));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    if out.starts_with(|c: char| c.is_ascii_alphabetic()) { out } else { format!("Type{out}") }
}

/// `progressPercent` becomes `progress_percent`.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        before = c;
    }
    if out.starts_with(|c: char| c.is_ascii_alphabetic()) { out } else { format!("field_{out}") }
}

/// A name that is not taken, with a number behind it where it must be.
pub(super) fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_unique() {
        assert_eq!(pascal("kitchen.task.claimed"), "KitchenTaskClaimed");
        assert_eq!(pascal("3d-print.été"), "Type3dPrintT");
        assert_eq!(snake("progressPercent"), "progress_percent");
        assert_eq!(
            (snake("a-b"), snake("1st"), snake("userID")),
            ("a_b".into(), "field_1st".into(), "user_id".into())
        );
        let mut taken = BTreeSet::new();
        assert_eq!((unique("A", &mut taken), unique("A", &mut taken)), ("A".into(), "A2".into()));
    }
}
