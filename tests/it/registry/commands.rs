//! `events validate` and `channel`, as a shell meets them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use outbox_relay::registry::documents::DOCUMENT_BYTES_MAX;
use serde_json::{Value, json};

/// The envelope of CONTRACT: what a subscriber receives.
const EVENT: &str = r#"{ "id": "018f-1", "version": 1, "tenantId": "tenant-abc", "aggregateType": "KitchenTask", "aggregateId": "task-123",
  "occurredAt": "2026-01-23T10:30:00.000Z", "eventType": "kitchen.task.claimed",
  "payload": { "taskId": "task-123", "employeeId": "e-1", "claimedAt": "2026-01-23T10:30:00.000Z" } }"#;

/// Runs a command with something on its stdin; exit code, stdout and stderr.
pub(super) fn run(args: &[&str], directory: &Path, input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(args)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // It may end without having read all.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn validate(input: &str) -> (Option<i32>, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run(&["events", "validate"], directory.path(), input);
    (code, stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The answer to one event that is wrong in one place.
fn problem(input: &str) -> (String, String) {
    let (code, answers) = validate(input);
    assert_eq!((code, answers.len()), (Some(65), 1), "{answers:?}");
    let problems = answers[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let text = |name: &str| problems[0][name].as_str().unwrap().to_owned();
    (text("path"), text("message"))
}

#[test]
fn the_contracts_example_is_valid_spread_over_lines_or_not() {
    let one_line = EVENT.replace('\n', " ");
    for input in [EVENT, &one_line, &format!("\n{EVENT}\n\n")] {
        let answer = json!({"valid": true, "eventType": "kitchen.task.claimed"});
        assert_eq!(validate(input), (Some(0), vec![answer]));
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sample.json"), format!("[{EVENT}, {EVENT}]")).unwrap();
    let (code, stdout, stderr) = run(&["events", "validate", "sample.json"], directory.path(), "");
    let line = "{\"valid\":true,\"eventType\":\"kitchen.task.claimed\"}\n";
    assert_eq!((code, stdout, stderr), (Some(0), line.repeat(2), String::new()));
}

#[test]
fn the_three_events_of_the_kitchen_are_valid_and_their_rules_have_paths() {
    let event = |kind: &str, rest: &Value| {
        let mut event: Value = serde_json::from_str(EVENT).unwrap();
        event["eventType"] = format!("kitchen.task.{kind}").into();
        // Extra fields are allowed.
        event["payload"] = json!({ "taskId": "task-123", "employeeId": "e-1", "more": [1] });
        event["payload"].as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        event.to_string()
    };
    let at = "2026-01-23T10:30:00.000Z";
    let good = [
        event("claimed", &json!({ "claimedAt": at })),
        event("released", &json!({ "releasedAt": at })),
        event("progress", &json!({ "progressPercent": 100, "updatedAt": at })),
    ];
    let types = ["claimed", "released", "progress"].map(|kind| format!("kitchen.task.{kind}"));
    let answers = types.map(|name| json!({ "valid": true, "eventType": name }));
    assert_eq!(validate(&good.join("\n")), (Some(0), answers.to_vec()));
    for (kind, rest, path, message) in [
        ("claimed", json!({}), "claimedAt", "is required"),
        (
            "released",
            json!({ "releasedAt": "2026-01-23T10:30:00+01:00" }),
            "releasedAt",
            "must be in UTC and end with Z",
        ),
        ("progress", json!({ "updatedAt": at }), "progressPercent", "is required"),
        (
            "progress",
            json!({ "updatedAt": at, "progressPercent": 101 }),
            "progressPercent",
            "must be at most 100",
        ),
        (
            "progress",
            json!({ "updatedAt": at, "progressPercent": 0.5 }),
            "progressPercent",
            "must be of type integer",
        ),
        ("progress", json!({ "updatedAt": "now", "progressPercent": 0 }), "updatedAt", "must be"),
    ] {
        let (code, answers) = validate(&event(kind, &rest));
        let problem = &answers[0]["problems"][0];
        assert_eq!((code, &problem["path"]), (Some(65), &json!(format!("/payload/{path}"))));
        assert!(problem["message"].as_str().unwrap().starts_with(message), "{problem}");
    }
}

#[test]
fn what_schemas_refer_to_elsewhere_is_refused_and_nobody_asks_for_it() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x.json", server.local_addr().unwrap());
    let at_start = [
        ("$ref", json!({ "items": { "$ref": url } })),
        ("$ref", json!({ "$ref": format!("{url}#/a") })),
        ("$dynamicRef", json!({ "$dynamicRef": url })),
        ("$schema", json!({ "$schema": url })),
        ("$ref", json!({ "$id": url, "$ref": "y.json" })),
    ];
    for (word, schema) in at_start {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.b.json"), schema.to_string()).unwrap();
        let (code, stdout, stderr) =
            run(&["events", "validate", "--registry", "."], directory.path(), EVENT);
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{schema}");
        assert!(stderr.contains("a.b.json: ") && stderr.contains(word), "{stderr}");
    }
    // An address of its own is a name and no more.
    let directory = tempfile::tempdir().unwrap();
    let named = json!({ "$id": url, "$defs": { "n": { "type": "number" } }, "properties": { "n": { "$ref": "#/$defs/n" } } });
    std::fs::write(directory.path().join("kitchen.x.json"), named.to_string()).unwrap();
    let input = EVENT.replace("kitchen.task.claimed", "kitchen.x");
    let (code, _, stderr) =
        run(&["events", "validate", "--registry", "."], directory.path(), &input);
    assert_eq!(code, Some(0), "{stderr}");
    let asked = server.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "somebody has connected");
}

#[test]
fn every_line_has_its_answer_and_one_that_is_not_valid_makes_the_exit_code_65() {
    let good = EVENT.replace('\n', " ");
    let input = [&good, "{\"broken", &good.replace("\"taskId\": \"task-123\", ", ""), "7", &good]
        .join("\n");
    let (code, answers) = validate(&input);
    assert_eq!(code, Some(65));
    let valid: Vec<&Value> = answers.iter().map(|answer| &answer["valid"]).collect();
    assert_eq!(valid, [true, false, false, false, true]);
    let missing = json!({"valid": false, "problems": [{"path": "/payload/taskId", "message": "is required"}]});
    assert_eq!(answers[2], missing);
}

#[test]
fn every_rule_has_a_refusal_with_its_path() {
    for (from, to, path, message) in [
        ("\"018f-1\"", "\"\"", "/id", "must not be empty"),
        ("\"version\": 1", "\"version\": 2", "/version", "must be 1"),
        ("tenant-abc", "a:b", "/tenantId", "tenantId contains ':'"),
        (
            "10:30:00.000Z\", \"eventType",
            "10:30:00+01:00\", \"eventType",
            "/occurredAt",
            "must be a time",
        ),
        ("kitchen.task.claimed", "claimed", "/eventType", "needs at least two segments"),
        (
            "kitchen.task.claimed",
            "kitchen.task.lost",
            "/eventType",
            "\"kitchen.task.lost\" is not in the registry",
        ),
        (
            "\"employeeId\": \"e-1\"",
            "\"employeeId\": 1",
            "/payload/employeeId",
            "must be of type string",
        ),
    ] {
        let input = EVENT.replace('\n', " ").replacen(from, to, 1);
        let (found, what) = problem(&input);
        assert_eq!(found, path);
        assert!(what.starts_with(message), "{what}");
    }
}

#[test]
fn huge_input_and_long_lines_take_bounded_memory() {
    let long = format!("{}\n{}", "x".repeat(30 * DOCUMENT_BYTES_MAX), EVENT.replace('\n', " "));
    let (code, answers) = validate(&long);
    assert_eq!((code, answers.len()), (Some(65), 2));
    assert!(answers[0]["problems"][0]["message"].as_str().unwrap().contains("longer than"));
    assert_eq!(answers[1]["valid"], true);
    assert_eq!(problem(&"[".repeat(2_000)).0, "", "no stack overflow");
}

#[test]
fn no_input_a_missing_file_and_wrong_schemas_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["events", "validate"], directory.path(), " \n");
    assert_eq!((code, stdout.as_str()), (Some(65), ""));
    assert!(stderr.contains("no event"), "{stderr}");
    let (code, _, stderr) = run(&["events", "validate", "none.json"], directory.path(), "");
    assert!(code == Some(65) && stderr.contains("none.json: cannot be read"), "{stderr}");
    std::fs::write(directory.path().join("a.b.json"), r#"{"requried": []}"#).unwrap();
    let (code, _, stderr) =
        run(&["events", "validate", "--registry", "."], directory.path(), EVENT);
    assert!(code == Some(78) && stderr.contains("a.b.json: /requried is no keyword"), "{stderr}");
}

#[test]
fn a_schema_of_the_directory_is_used() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("kitchen.task.lost.json"), r#"{"type": "object"}"#)
        .unwrap();
    let input = EVENT.replace("kitchen.task.claimed", "kitchen.task.lost");
    let (code, stdout, _) =
        run(&["events", "validate", "--registry", "."], directory.path(), &input);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "{\"valid\":true,\"eventType\":\"kitchen.task.lost\"}\n")
    );
}

#[test]
fn channels_are_named_and_parsed() {
    let directory = tempfile::tempdir().unwrap();
    for (args, code, stdout) in [
        (&["name", "--tenant", "abc"][..], 0, "tenant:abc\n"),
        (
            &["name", "--tenant", "abc", "--event-type", "kitchen.task.claimed"],
            0,
            "tenant:abc:kitchen\n",
        ),
        (
            &["name", "--tenant", "abc", "--event-type", "kitchen.x", "--json"],
            0,
            "{\"channel\":\"tenant:abc:kitchen\",\"tenantId\":\"abc\",\"module\":\"kitchen\"}\n",
        ),
        (&["name", "--tenant", " "], 65, ""),
        (&["name", "--tenant", "a:b"], 65, ""),
        (&["name", "--tenant", "abc", "--event-type", "kitchen"], 65, ""),
        (&["parse", "tenant:abc"], 0, "tenant abc\n"),
        (
            &["parse", "tenant:abc", "--json"],
            0,
            "{\"channel\":\"tenant:abc\",\"tenantId\":\"abc\"}\n",
        ),
        (&["parse", "tenant:abc:kitchen"], 0, "tenant abc\nmodule kitchen\n"),
        (&["parse", "tenant:"], 65, ""),
        (&["parse", "tenant"], 65, ""),
        (&["parse", "kitchen:abc"], 65, ""),
    ] {
        let found = run(&[&["channel"], args].concat(), directory.path(), "");
        assert_eq!((found.0, found.1.as_str()), (Some(code), stdout), "{args:?}: {}", found.2);
        assert_eq!(found.2.is_empty(), code == 0, "{args:?}: {}", found.2);
    }
}
