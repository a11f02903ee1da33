//! Which changes of a schema break somebody.

use serde_json::json;

use super::*;

fn registry(schema: &Value) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.b.json"), schema.to_string()).unwrap();
    let registry = Registry::of_directory(directory.path()).unwrap();
    (directory, registry)
}

fn order() -> Value {
    json!({
        "type": "object", "required": ["id", "total"],
        "properties": {
            "id": {"type": "string", "minLength": 1}, "total": {"type": "number", "minimum": 0},
            "state": {"enum": ["open", "paid"]}, "note": {"type": "string"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
    })
}

/// The paths that break when a change is made to the order.
fn paths(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut new = order();
    change(&mut new);
    let (_before, before) = registry(&order());
    let (_after, after) = registry(&new);
    breaks(&before, &after).into_iter().map(|found| found.path).collect()
}

#[test]
fn what_narrows_removes_or_demands_is_found_where_it_is() {
    let remove = |value: &mut Value, name: &str| {
        value.as_object_mut().unwrap().remove(name);
    };
    assert_eq!(paths(|new| remove(&mut new["properties"], "note")), ["/properties/note"]);
    assert_eq!(paths(|new| new["required"] = json!(["id", "total", "note"])), ["/required"]);
    assert_eq!(paths(|new| new["required"] = json!(["id"])), ["/required"]);
    assert_eq!(
        paths(|new| new["properties"]["id"]["type"] = json!("integer")),
        ["/properties/id/type"]
    );
    assert_eq!(
        paths(|new| new["properties"]["note"]["type"] = json!(["string", "null"])),
        ["/properties/note/type"]
    );
    assert_eq!(
        paths(|new| new["properties"]["id"]["minLength"] = json!(2)),
        ["/properties/id/minLength"]
    );
    assert_eq!(
        paths(|new| new["properties"]["note"]["maxLength"] = json!(9)),
        ["/properties/note/maxLength"]
    );
    assert_eq!(
        paths(|new| new["properties"]["note"]["pattern"] = json!("x")),
        ["/properties/note/pattern"]
    );
    assert_eq!(
        paths(|new| new["properties"]["state"]["enum"] = json!(["open"])),
        ["/properties/state/enum"]
    );
    assert_eq!(
        paths(|new| new["properties"]["note"]["enum"] = json!(["a"])),
        ["/properties/note/enum"]
    );
    assert_eq!(paths(|new| new["additionalProperties"] = json!(false)), ["/additionalProperties"]);
    assert_eq!(paths(|new| new["anyOf"] = json!([{}])), ["/anyOf"]);
    assert_eq!(paths(|new| new["not"] = json!({"required": ["x"]})), ["/not"]);
    let line = "/properties/lines/items/properties/sku/type";
    assert_eq!(
        paths(|new| new["$defs"]["line"]["properties"]["sku"]["type"] = json!("number")),
        [line]
    );
}

#[test]
fn what_is_behind_and_beside_a_reference_is_compared_too() {
    let schema = |sku: Value, defs: Value| {
        let line = json!({"type": "object", "properties": {"sku": sku}});
        json!({
            "properties": {"first": line, "second": line},
            "$defs": defs,
        })
    };
    let text = json!({"text": {"type": "string", "$anchor": "named"}});
    let paths = |before: &Value, after: &Value| -> Vec<String> {
        let ((_a, before), (_b, after)) = (registry(before), registry(after));
        breaks(&before, &after).into_iter().map(|found| found.path).collect()
    };
    let none: [String; 0] = [];
    for reference in ["#/$defs/text", "#/%24defs/text", "#named"] {
        let before = schema(json!({"$ref": reference}), text.clone());
        assert_eq!(paths(&before, &before), none, "{reference}");
        let mut narrowed = before.clone();
        narrowed["$defs"]["text"]["maxLength"] = json!(3);
        // What is used twice is told once, where it is met first.
        let found = paths(&before, &narrowed);
        assert_eq!(found, ["/properties/first/properties/sku/maxLength"], "{reference}");
        let mut beside = before.clone();
        beside["properties"]["second"]["properties"]["sku"]["maxLength"] = json!(3);
        let at = "/properties/second/properties/sku/maxLength";
        assert_eq!(paths(&before, &beside), [at], "{reference}");
        assert_eq!(paths(&beside, &before), none, "{reference}");
        let inline = schema(json!({"type": "string", "$anchor": "other"}), text.clone());
        assert_eq!(paths(&before, &inline), none, "{reference}");
        let at = "/properties/second/properties/sku/$ref";
        assert_eq!(paths(&inline, &beside), [at], "{reference}");
    }
    // Each field by itself, though both look alike.
    let before = schema(json!({"type": "string"}), json!({}));
    let mut after = before.clone();
    after["properties"]["second"]["properties"]["sku"]["type"] = json!("integer");
    assert_eq!(paths(&before, &after), ["/properties/second/properties/sku/type"]);
}

#[test]
fn what_only_adds_or_widens_is_compatible() {
    let none: [String; 0] = [];
    assert_eq!(paths(|_| ()), none);
    assert_eq!(paths(|new| new["properties"]["more"] = json!({"type": "string"})), none);
    assert_eq!(
        paths(|new| new["properties"]["state"]["enum"] = json!(["open", "paid", "lost"])),
        none
    );
    assert_eq!(paths(|new| new["properties"]["total"]["minimum"] = json!(-5)), none);
    assert_eq!(paths(|new| new["properties"]["id"] = json!({"type": "string"})), none);
    assert_eq!(paths(|new| new["description"] = json!("An order.")), none);
    assert_eq!(paths(|new| new["additionalProperties"] = json!({})), none);
    assert_eq!(
        paths(|new| {
            new["properties"]["lines"]["items"] = new["$defs"]["line"].clone();
            new.as_object_mut().unwrap().remove("$defs");
        }),
        none
    );
}

#[test]
fn a_removed_event_type_is_found_and_recursion_ends() {
    let (_before, before) = registry(&json!({"properties": {"next": {"$ref": "#"}}}));
    assert_eq!(breaks(&before, &before), []);
    let found = breaks(&before, &Registry::built_in().unwrap());
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("a.b.json: the schema is gone"), "{}", found[0]);
}
