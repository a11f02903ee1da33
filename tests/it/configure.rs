//! What the settings are and where they came from, and what shells and editors know of them.

use std::process::{Command, Output};

use outbox_relay::config::file_schema::json_schema;
use outbox_relay::config::table::SETTINGS;
use serde_json::Value;

fn run(
    dir: &std::path::Path,
    environment: &[(&str, &str)],
    args: &[&str],
) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
    command.args(args).current_dir(dir).env_clear().envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn every_setting_is_shown_with_where_it_came_from_and_no_secret_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[relay]\nchannel_rate = 20\n[log]\nlevel = \"warn\"\n";
    std::fs::write(dir.path().join("outbox-relay.toml"), file).unwrap();
    let environment = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("ABLY_API_KEY", "a.b:hunter2"),
        ("OUTBOX_RELAY_LOG_LEVEL", "error"),
    ];
    let show = |args: &[&str]| run(dir.path(), &environment, &[&["config", "show"], args].concat());
    let (code, text, errors) = show(&["--origin", "--schema", "mine"]);
    assert_eq!(code, 0, "{errors}");
    let line = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("relay.channel_rate"), "relay.channel_rate 20 outbox-relay.toml:2");
    assert_eq!(line("log.level"), "log.level error environment OUTBOX_RELAY_LOG_LEVEL");
    assert_eq!(line("database.schema"), "database.schema mine flag --schema");
    assert_eq!(line("ably.endpoint"), "ably.endpoint main default");
    assert_eq!(line("ably.api_key"), "ably.api_key *** environment ABLY_API_KEY");
    assert_eq!(line("database.direct_url"), "database.direct_url - not set");
    assert_eq!(text.lines().count(), SETTINGS.len() + 1);
    let (_, json, _) = show(&["--json"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["origin"], "environment DATABASE_URL");
    assert!(!(text + &errors + &json).contains("hunter2"));
}

#[test]
fn a_check_says_everything_that_is_wrong_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(
        &wrong,
        "[relay]\nchannel_rat = 2\nsweep_interval = \"x\"\n[ably]\napi_key = \"a.b:c\"\n",
    )
    .unwrap();
    let wrong = wrong.to_str().unwrap();
    let (code, out, errors) =
        run(dir.path(), &[("OUTBOX_RELAY_X", "1")], &["config", "check", wrong]);
    assert_eq!((code, out.as_str()), (78, ""), "{errors}");
    for part in ["channel_rat", "sweep_interval", "api_key", "OUTBOX_RELAY_X"] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    assert_eq!(run(dir.path(), &[], &["config", "check"]).0, 0);
    assert_eq!(run(dir.path(), &[], &["config", "check", "nowhere.toml"]).0, 78);
}

#[test]
fn the_schema_of_the_file_is_the_one_in_docs() {
    // `SCHEMA_WRITE=1 cargo test --test it configure` writes it instead of comparing it.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outbox-relay.schema.json");
    if std::env::var_os("SCHEMA_WRITE").is_some() {
        return std::fs::write(file, json_schema()).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(there, json_schema(), "run it with SCHEMA_WRITE=1");
    let dir = tempfile::tempdir().unwrap();
    // Settings that are wrong keep nobody from it.
    let printed = run(dir.path(), &[("OUTBOX_RELAY_X", "1")], &["config", "schema"]);
    assert_eq!((printed.0, printed.1), (0, json_schema()));

    let schema: Value = serde_json::from_str(&there).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let right = serde_json::json!({"relay": {"channel_rate": 20, "sweep_interval": "2s"}, "ably": {"api_key_file": "/run/k"}});
    assert!(validator.is_valid(&right));
    for wrong in [
        serde_json::json!({"relay": {"channel_rat": 20}}),
        serde_json::json!({"relay": {"sweep_interval": "2 seconds"}}),
        serde_json::json!({"ably": {"api_key": "a.b:c"}}),
        serde_json::json!({"relais": {}}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, errors) = run(dir.path(), &[], &["completions", shell]);
        assert!(
            code == 0 && script.contains("requeue") && script.contains("pause"),
            "{shell}: {errors}"
        );
    }
    assert_eq!(run(dir.path(), &[], &["completions", "cmd"]).0, 2);
    let (code, page, _) = run(dir.path(), &[], &["man"]);
    assert!(code == 0 && page.contains(".TH") && page.contains("pause"), "{page}");
    let path = dir.path().to_str().unwrap();
    assert_eq!(run(dir.path(), &[], &["man", "--dir", path]).0, 0);
    assert!(dir.path().join("outbox-relay-holds-list.1").exists());
}
