//! The command line as a person or a supervisor meets it: output, exit codes, no secrets.

use std::fs;
use std::process::{Command, Stdio};

/// What a command left behind.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A place to run the binary in: an empty directory, and an environment of its own.
struct Scene {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.dir.path().join(name), content).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must fail with `code`, with nothing on stdout and no secret anywhere.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
        outcome.stderr
    }
}

/// The lines of a failure: `error:` lines, then one `remedy:` line, and nothing else.
fn errors_of(stderr: &str) -> Vec<&str> {
    let mut lines: Vec<_> = stderr.lines().collect();
    let remedy = lines.pop().unwrap_or_default();
    assert!(remedy.starts_with("remedy: "), "{stderr}");
    assert!(lines.iter().all(|line| line.starts_with("error: ")), "{stderr}");
    lines
}

#[test]
fn help_names_every_command_every_setting_with_a_flag_and_the_exit_codes() {
    let outcome = Scene::new().run(&["--help"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let commands = [
        "run", "dev", "emulator", "migrate", "events", "holds", "prune", "scrub", "channel",
        "types",
    ];
    let flags =
        ["--config", "--database-url", "--direct-url", "--schema", "--ably-endpoint", "--registry"];
    let codes = ["0", "2", "65", "69", "70", "75", "77", "78", "130", "143"];
    for word in commands.iter().chain(&flags).chain(&codes) {
        let found = outcome.stdout.split_whitespace().any(|found| found == *word);
        assert!(found, "{word} is not in\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("api-key"), "{}", outcome.stdout);
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn every_command_has_help() {
    let print = &["migrate", "print"][..];
    for command in
        [&["run"][..], &["dev"], &["emulator"], &["migrate"], &["prune"], &["scrub"], print]
    {
        let outcome = Scene::new().run(&[command, &["--help"]].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout.contains("Usage: outbox-relay "), "{}", outcome.stdout);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["run", "--onec"][..], &["rnu"], &[], &["migrate"], &["dev", "--rate", "0"]] {
        let outcome = Scene::new().run(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
    let stderr = Scene::new().fails(2, &["run", "--onec"]);
    assert!(stderr.contains("--once"), "{stderr}");
}

#[test]
fn a_secret_on_the_command_line_is_not_repeated() {
    let url = "postgres://u:hunter2@h/d";
    Scene::new().fails(2, &["run", &format!("--databse-url={url}")]);
    Scene::new().fails(2, &["run", "--databse-url", url]);
    Scene::new().fails(2, &["run", "app.key:hunter2"]);
    Scene::new().fails(2, &["app.key:hunter2"]);
    Scene::new().fails(2, &["dev", "--rate", "app.key:hunter2"]);
}

#[test]
fn an_api_key_as_a_flag_is_refused_with_the_way_to_give_it() {
    for args in [
        &["run", "--api-key", "app.key:hunter2"][..],
        &["run", "--api-key=app.key:hunter2"],
        &["--api-key", "app.key:hunter2", "run"],
        &["run", "--ably-api-key", "app.key:hunter2"],
        &["run", "--api-key"],
    ] {
        let stderr = Scene::new().fails(2, args);
        assert_eq!(errors_of(&stderr).len(), 1);
        assert!(stderr.contains("ABLY_API_KEY_FILE"), "{stderr}");
    }
}

#[test]
fn what_run_needs_is_asked_for_in_one_go() {
    let stderr = Scene::new().fails(78, &["run"]);
    let errors = errors_of(&stderr);
    assert_eq!(errors.len(), 2, "{stderr}");
    assert!(errors[0].contains("set DATABASE_URL"), "{stderr}");
    assert!(errors[1].contains("set ABLY_API_KEY"), "{stderr}");
}

#[test]
fn migrate_needs_a_database_and_no_key() {
    let stderr = Scene::new().fails(78, &["migrate", "status"]);
    assert_eq!(errors_of(&stderr), ["error: database.url is not set"]);
}

#[test]
fn an_unknown_key_exits_with_78_and_a_suggestion() {
    let scene = Scene::new().file("outbox-relay.toml", "[relay]\nmax_inflight = 4\n");
    let stderr = scene.fails(78, &["migrate", "print"]);
    assert_eq!(
        stderr,
        "error: unknown key relay.max_inflight (outbox-relay.toml:2)\n\
         remedy: did you mean max_in_flight?\n"
    );
}

#[test]
fn several_errors_are_reported_at_once() {
    let scene = Scene::new()
        .file("my.toml", "[relay]\nmax_in_flight = 0\n[lgo]\n")
        .env("OUTBOX_RELAY_SWEEP_INTERVALL", "1s")
        .env("ABLY_API_KEY", "hunter2")
        .env("DATABASE_URL", "postgres://u:hunter2@h/d")
        .env("DATABASE_URL_FILE", "/nonexistent");
    let stderr = scene.fails(78, &["run", "--config", "my.toml", "--log-level", "loud"]);
    let errors = errors_of(&stderr);
    for (error, part) in errors.iter().zip([
        "unknown section [lgo] (my.toml:3); did you mean [log]?",
        "did you mean OUTBOX_RELAY_SWEEP_INTERVAL?",
        "both DATABASE_URL and DATABASE_URL_FILE",
        "ably.api_key: the value is not of the form appId.keyId:secret (environment ABLY_API_KEY)",
        "relay.max_in_flight: 0 is too small (my.toml:2); expected a whole number from 1 to 64",
        "log.level: \"loud\" has no level \"loud\" (flag --log-level)",
    ]) {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!(errors.len(), 6, "{stderr}");
}

#[test]
fn malformed_toml_names_its_line() {
    let scene = Scene::new().file("outbox-relay.toml", "[ably]\napi_key_file = hunter2\n");
    let stderr = scene.fails(78, &["migrate", "print"]);
    assert!(stderr.contains("not TOML") && stderr.contains("outbox-relay.toml:2"), "{stderr}");
}

#[test]
fn a_value_under_the_wrong_name_is_not_repeated() {
    let scene = Scene::new()
        .env("ABLY_ENDPOINT", "postgres://u:hunter2@h/d")
        .env("OUTBOX_RELAY_LOG_LEVEL", "app.key:hunter2hunter2hunter2")
        .env("OUTBOX_RELAY_ABLY_API_KEY", "app.key:hunter2");
    let stderr = scene.fails(78, &["emulator"]);
    assert!(stderr.contains("did you mean ABLY_API_KEY?"), "{stderr}");
    assert_eq!(errors_of(&stderr).len(), 3, "{stderr}");
}

#[test]
fn output_without_a_terminal_has_no_colours() {
    let scene = Scene::new().env("DATABASE_URL", "hunter2");
    for args in [&["--help"][..], &["run"], &["--onec"]] {
        let outcome = scene.run(args);
        assert!(!(outcome.stdout + &outcome.stderr).contains('\u{1b}'), "{args:?}");
    }
}

#[test]
fn secrets_from_files_and_the_environment_are_nowhere_in_the_output() {
    let scene = Scene::new()
        .file("key", "app.key:hunter2\n")
        .env("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/d")
        .env("DIRECT_URL", "postgres://u:hunter2@127.0.0.1:1/d")
        .env("ABLY_API_KEY_FILE", "key")
        .env("ABLY_ENDPOINT", "http://127.0.0.1:1")
        .env("OUTBOX_RELAY_LOG_LEVEL", "trace");
    for args in [&["run", "--once"][..], &["migrate", "status"]] {
        let outcome = scene.run(args);
        assert_ne!(outcome.code, Some(0));
        let all = outcome.stdout + &outcome.stderr;
        assert!(!all.is_empty() && !all.contains("hunter2"), "{args:?}: {all}");
    }
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let binary = env!("CARGO_BIN_EXE_outbox-relay");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(binary).arg("--help").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
