//! What a change of the schemas breaks: for producers of the old kind, for events that are on their way, and for
//! subscribers that rely on what they were promised.

use std::collections::BTreeSet;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::event_types::Registry;
use super::keywords::{self, says_nothing};
use super::problem::step;

/// One change that breaks somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The schema file as it is now; as it was, when it is gone.
    pub file: PathBuf,
    /// Where in it, as a JSON Pointer.
    pub path: String,
    /// What, and what to do instead.
    pub what: String,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { "the schema" } else { &self.path };
        write!(f, "{}: {path} {}", self.file.display(), self.what)
    }
}

/// References to references that are followed: two that refer to each other have no end.
const REFERENCES_MAX: usize = 32;

/// Everything that breaks on the way from `old` to `new`. What is new is compatible: event types, optional fields,
/// values of an `enum`, wider limits.
pub fn breaks(old: &Registry, new: &Registry) -> Vec<Break> {
    let mut found = Vec::new();
    for (event_type, old_file, old_schema) in old.iter() {
        let Some((_, file, new_schema)) = new.iter().find(|(name, ..)| *name == event_type) else {
            let what = format!(
                "is gone, and with it {event_type}; keep it as long as there are such events and subscribers"
            );
            found.push(Break { file: old_file.to_owned(), path: String::new(), what });
            continue;
        };
        let (seen, found_here) = (BTreeSet::new(), Vec::new());
        let mut comparison =
            Comparison { old: old_schema, new: new_schema, seen, found: found_here };
        comparison.schemas(old_schema, new_schema, "");
        let next = format!("or make a new event type beside {event_type}");
        found.extend(comparison.found.into_iter().map(|(path, what)| Break {
            file: file.to_owned(),
            path,
            what: format!("{what}, {next}"),
        }));
    }
    found
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs that have been compared, by address: recursive schemas have no end, and need not be told twice.
    seen: BTreeSet<(usize, usize)>,
    found: Vec<(String, String)>,
}

/// What is said of a change whose effect nobody can tell.
const NOT_JUDGED: &str = "changed in a way that cannot be judged; change it back";

/// What a schema is that is not there.
static ANYTHING: Value = Value::Bool(true);

impl Comparison<'_> {
    fn say(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.found.push((path.into(), what.into()));
    }

    fn schemas(&mut self, old: &Value, new: &Value, path: &str) {
        // A schema may say more beside its reference: then both count, and both are compared.
        let (said_before, said_now) = (says_more(old), says_more(new));
        let both_refer = old.get("$ref").is_some() && new.get("$ref").is_some();
        if (said_before || said_now) && !both_refer {
            if old != new {
                self.say(format!("{path}/$ref"), NOT_JUDGED);
            }
            return;
        }
        if both_refer
            && (said_before || said_now)
            && let (Value::Object(old), Value::Object(new)) = (old, new)
        {
            self.words(old, new, path);
        }
        let targets = (resolve(self.old, old), resolve(self.new, new));
        let (Some(old), Some(new)) = targets else {
            if self.old != self.new {
                self.say(format!("{path}/$ref"), NOT_JUDGED);
            }
            return;
        };
        if !self.seen.insert((std::ptr::from_ref(old).addr(), std::ptr::from_ref(new).addr())) {
            return;
        }
        let same = old == new || (takes_all(old) && takes_all(new));
        let (Value::Object(old), Value::Object(new)) = (old, new) else {
            // `true` takes everything and `false` nothing.
            if !same && !takes_all(new) && *old != Value::Bool(false) {
                self.say(path, "was narrowed; let it be as it was");
            }
            return;
        };
        self.words(old, new, path);
    }

    /// All words of two schemas but `$ref`.
    fn words(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        self.types(old, new, path);
        self.limits(old, new, path);
        self.values(old, new, path);
        self.fields(old, new, path);
        self.within(old, new, path);
        self.the_rest(old, new, path);
    }

    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let set = |words: &Map<String, Value>| -> BTreeSet<String> {
            match words.get("type") {
                Some(Value::Array(list)) => list.iter().map(ToString::to_string).collect(),
                Some(one) => [one.to_string()].into(),
                None => BTreeSet::new(),
            }
        };
        let (before, after) = (set(old), set(new));
        if before != after {
            let text = |set: &BTreeSet<String>| {
                if set.is_empty() {
                    "anything".into()
                } else {
                    set.iter().cloned().collect::<Vec<_>>().join(" or ")
                }
            };
            let what = format!(
                "changed its type from {} to {}; change it back",
                text(&before),
                text(&after)
            );
            self.say(format!("{path}/type"), what);
        }
    }

    fn limits(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        for (keyword, upper) in [
            ("minLength", false),
            ("minimum", false),
            ("exclusiveMinimum", false),
            ("minItems", false),
            ("minProperties", false),
            ("minContains", false),
            ("maxLength", true),
            ("maximum", true),
            ("exclusiveMaximum", true),
            ("maxItems", true),
            ("maxProperties", true),
            ("maxContains", true),
        ] {
            let number = |words: &Map<String, Value>| words.get(keyword).and_then(Value::as_f64);
            let narrower = match (number(old), number(new)) {
                (Some(old), Some(new)) => {
                    if upper {
                        new < old
                    } else {
                        new > old
                    }
                }
                // A least length of nothing says nothing.
                (None, Some(new)) => upper || keyword.ends_with("inimum") || new > 0.0,
                (_, None) => false,
            };
            if narrower {
                self.say(format!("{path}/{keyword}"), "was narrowed; widen it again");
            }
        }
        for keyword in ["pattern", "format", "multipleOf"] {
            if new.get(keyword).is_some_and(|now| old.get(keyword) != Some(now)) {
                self.say(
                    format!("{path}/{keyword}"),
                    "is new or another one and may refuse what was taken; change it back",
                );
            }
        }
        let unique =
            |words: &Map<String, Value>| words.get("uniqueItems") == Some(&Value::Bool(true));
        if unique(new) && !unique(old) {
            self.say(
                format!("{path}/uniqueItems"),
                "is new and may refuse what was taken; remove it",
            );
        }
    }

    fn values(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let list = |words: &Map<String, Value>| match (words.get("const"), words.get("enum")) {
            (Some(one), _) => Some(vec![one.clone()]),
            (None, Some(Value::Array(list))) => Some(list.clone()),
            _ => None,
        };
        let keyword = if new.contains_key("const") { "const" } else { "enum" };
        match (list(old), list(new)) {
            (None, Some(_)) => {
                self.say(format!("{path}/{keyword}"), "is new and narrows the field; remove it");
            }
            (Some(_), None) => self
                .say(path, "lost its list of values, on which subscribers may rely; put it back"),
            (Some(old), Some(new)) => {
                for value in old.iter().filter(|value| !new.contains(value)) {
                    self.say(
                        format!("{path}/{keyword}"),
                        format!("no longer has {value}; put it back"),
                    );
                }
            }
            (None, None) => {}
        }
    }

    fn fields(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let empty = Map::new();
        // Not cloned: what has been compared is known by its address.
        let map = |words| Map::get(words, "properties").and_then(Value::as_object);
        let (before, after) = (map(old), map(new));
        for (name, schema) in before.unwrap_or(&empty) {
            let at = format!("{path}/properties{}", step(name));
            match after.and_then(|after| after.get(name)) {
                Some(now) => self.schemas(schema, now, &at),
                None => self.say(at, "was removed; keep it"),
            }
        }
        let (before, after) = (texts(old.get("required")), texts(new.get("required")));
        for name in after.difference(&before) {
            self.say(
                format!("{path}/required"),
                format!("requires {name:?}, which was optional or new; make it optional"),
            );
        }
        for name in before.difference(&after) {
            self.say(
                format!("{path}/required"),
                format!("no longer has {name:?}, on which subscribers may rely; require it again"),
            );
        }
    }

    fn within(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        for keyword in ["items", "additionalProperties"] {
            let old = old.get(keyword).unwrap_or(&ANYTHING);
            let new = new.get(keyword).unwrap_or(&ANYTHING);
            self.schemas(old, new, &format!("{path}/{keyword}"));
        }
        for keyword in ["oneOf", "anyOf", "allOf", "prefixItems"] {
            match (old.get(keyword), new.get(keyword)) {
                (Some(Value::Array(before)), Some(Value::Array(after)))
                    if before.len() == after.len() =>
                {
                    for (index, (before, after)) in before.iter().zip(after).enumerate() {
                        self.schemas(before, after, &format!("{path}/{keyword}/{index}"));
                    }
                }
                (None, None) => {}
                _ => self.say(
                    format!("{path}/{keyword}"),
                    "has other parts than before, and nobody can say for whom; change it back",
                ),
            }
        }
    }

    /// Words whose changes cannot be judged: only that there is one.
    fn the_rest(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        const JUDGED: &str = " type minLength minimum exclusiveMinimum minItems minProperties minContains maxLength maximum \
            exclusiveMaximum maxItems maxProperties maxContains pattern format multipleOf uniqueItems const enum properties \
            required items additionalProperties oneOf anyOf allOf prefixItems $defs $ref $schema $id $anchor ";
        let words: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for word in words.into_iter().filter(|word| !says_nothing(word)) {
            if !JUDGED.contains(&format!(" {word} ")) && old.get(word) != new.get(word) {
                self.say(format!("{path}{}", step(word)), NOT_JUDGED);
            }
            // Where that leads depends on how one came here.
            if word == "$dynamicRef" && self.old != self.new && old.get(word) == new.get(word) {
                self.say(format!("{path}/{word}"), NOT_JUDGED);
            }
        }
    }
}

fn takes_all(schema: &Value) -> bool {
    *schema == Value::Bool(true) || schema.as_object().is_some_and(Map::is_empty)
}

fn texts(list: Option<&Value>) -> BTreeSet<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a schema has a reference and, beside it, words that narrow further.
fn says_more(schema: &Value) -> bool {
    let Value::Object(words) = schema else { return false };
    let more = |word: &String| !word.starts_with('$') && !says_nothing(word);
    words.contains_key("$ref") && words.keys().any(more)
}

/// What a schema's reference leads to, by a pointer or an anchor; `None` when that is not found.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> Option<&'a Value> {
    for _ in 0..REFERENCES_MAX {
        let Some(target) = schema.get("$ref") else { return Some(schema) };
        let target = percent_decode_str(target.as_str()?.strip_prefix('#')?).decode_utf8().ok()?;
        schema = match root.pointer(&target) {
            Some(next) => next,
            None => anchored(root, &target)?,
        };
    }
    None
}

/// The schema of this anchor.
fn anchored<'a>(root: &'a Value, name: &str) -> Option<&'a Value> {
    let (mut places, mut found) = (Vec::new(), None);
    keywords::walk(root, "", &mut |path, words| {
        let own = |keyword| words.get(keyword).and_then(Value::as_str) == Some(name);
        if own("$anchor") || own("$dynamicAnchor") {
            places.push(path.to_owned());
        }
    });
    if let [place] = places.as_slice() {
        found = root.pointer(place);
    }
    found
}

#[cfg(test)]
mod tests;
