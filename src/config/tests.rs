//! The whole of loading: precedence, origins, and everything that is wrong at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{
    Configuration, Environment, FallbackHosts, Flags, LogFormat, Needs, Origin, Problems, Sources,
    load,
};

/// A directory with files in it, an environment and flags.
struct Scene {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Scene {
    fn new(toml: &str, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if !toml.is_empty() {
            fs::write(dir.path().join("outbox-relay.toml"), toml).unwrap();
        }
        let sources = Sources {
            flags: Flags::default(),
            config: None,
            environment: environment.iter().copied().collect(),
            dir: dir.path().into(),
        };
        Self { dir, sources }
    }

    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.sources.flags.set(key, value.to_owned());
        self
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn with_variable(mut self, name: &str, value: PathBuf) -> Self {
        let pair = [(name.to_owned(), value.into_os_string())];
        self.sources.environment = Environment::from_iter(pair);
        self
    }

    fn load(&self, needs: Needs) -> Result<Configuration, Problems> {
        load(&self.sources, needs)
    }

    fn ok(&self) -> Configuration {
        self.load(Needs::Whatever).unwrap()
    }

    fn problems(&self, needs: Needs) -> String {
        let problems = self.load(needs).unwrap_err().to_string();
        problems.replace(&self.dir.path().display().to_string(), "DIR")
    }
}

const LEVEL: &str = "[log]\nlevel = \"warn\"\n";

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let scene = Scene::new("", &[]);
    assert_eq!(scene.ok().settings.log_level, "info");
    assert_eq!(scene.ok().origin("log.level"), &Origin::Default);

    let scene = Scene::new(LEVEL, &[]);
    assert_eq!(scene.ok().settings.log_level, "warn");
    let path = scene.dir.path().join("outbox-relay.toml");
    assert_eq!(scene.ok().origin("log.level"), &Origin::File { path, line: 2 });

    let scene = Scene::new(LEVEL, &[("RUST_LOG", "debug")]);
    assert_eq!(scene.ok().settings.log_level, "debug");
    assert_eq!(scene.ok().origin("log.level").to_string(), "environment RUST_LOG");

    let scene = Scene::new(LEVEL, &[("RUST_LOG", "debug"), ("OUTBOX_RELAY_LOG_LEVEL", "error")]);
    assert_eq!(scene.ok().settings.log_level, "error");

    let scene = scene.flag("log.level", "trace");
    assert_eq!(scene.ok().settings.log_level, "trace");
    assert_eq!(scene.ok().origin("log.level").to_string(), "flag --log-level");
}

#[test]
fn every_kind_of_value_is_read_from_the_file() {
    let toml = "database.schema = 'Shop Outbox'\n[ably]\nfallback_hosts = ['a.example', 'b:81']\n\
        batch = 'off'\nrequest_timeout = '3s'\n[relay]\nmax_in_flight = 7\n\
        max_message_bytes = '256KiB'\n[log]\nformat = 'json'\n";
    let settings = Scene::new(toml, &[]).ok().settings;
    assert_eq!(settings.schema, "Shop Outbox");
    let hosts = vec!["a.example".to_owned(), "b:81".to_owned()];
    assert_eq!(settings.ably_fallback_hosts, FallbackHosts::Hosts(hosts));
    assert_eq!(settings.ably_request_timeout, Duration::from_secs(3));
    assert_eq!((settings.max_in_flight, settings.max_message_bytes), (7, 262_144));
    assert_eq!(settings.log_format, LogFormat::Json);
    let numbers = Scene::new("relay.max_message_bytes = 2048", &[]).ok().settings;
    assert_eq!(numbers.max_message_bytes, 2_048);
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let settings = Scene::new("", &[]).ok().settings;
    assert_eq!(settings.schema, "outbox");
    assert_eq!(settings.ably_endpoint, "main");
    assert_eq!(settings.ably_fallback_hosts, FallbackHosts::Auto);
    assert_eq!(settings.max_in_flight, 16);
    assert_eq!((settings.batch_tenants, settings.rows_per_tenant), (100, 500));
    assert_eq!(settings.poll_interval, Duration::from_millis(200));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(20));
    assert!(settings.database_url.is_none() && settings.ably_api_key.is_none());
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let toml = "[relay]\nmax_in_flight = '4'\nsweep_interval = 2\nmax_inflight = 1\n\
        canary_interval = '1h'\n[ably]\nbatch = true\napi_key = 'app.key:hunter2'\n\
        fallback_hosts = []\n";
    let environment = [
        ("OUTBOX_RELAY_SHUTDOWN_GRACE", "20"),
        ("OUTBOX_RELAY_MAX_INFLIGHT", "4"),
        ("OUTBOX_RELAY_DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("OUTBOX_RELAY_XYZZY", ""),
        ("RUST_LOG", "inof"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("ABLY_ENDPOINT", "app.key:hunter2hunter2hunter2 "),
    ];
    let scene = Scene::new(toml, &environment).flag("database.schema", "pg_outbox");
    let problems = scene.problems(Needs::DatabaseAndAbly);
    let expected = "\
unknown key relay.max_inflight (DIR/outbox-relay.toml:4); did you mean max_in_flight?
ably.api_key: a secret does not belong into this file (DIR/outbox-relay.toml:8); write api_key_file = \"…\" or set ABLY_API_KEY
unknown variable OUTBOX_RELAY_DATABASE_URL (environment OUTBOX_RELAY_DATABASE_URL); did you mean DATABASE_URL?
unknown variable OUTBOX_RELAY_MAX_INFLIGHT (environment OUTBOX_RELAY_MAX_INFLIGHT); did you mean OUTBOX_RELAY_MAX_IN_FLIGHT?
unknown variable OUTBOX_RELAY_XYZZY (environment OUTBOX_RELAY_XYZZY); unset it; the README lists the variables
database.url: the value is neither a postgres:// URL nor `key=value` pairs (environment DATABASE_URL); expected a PostgreSQL connection string, for example postgres://relay@db.example.com/app
database.schema: \"pg_outbox\" belongs to PostgreSQL (flag --schema); expected a schema name of at most 63 bytes, for example outbox
ably.endpoint: the value (not shown: it looks like a secret) is empty or holds a blank (environment ABLY_ENDPOINT); expected a routing name, a host name, or a base URL, for example main
ably.fallback_hosts: is an empty list (DIR/outbox-relay.toml:9); expected auto, off, or host names, for example fallback_hosts = \"auto\"
ably.batch: found a boolean (DIR/outbox-relay.toml:7); expected one of auto, off, for example batch = \"auto\"
relay.max_in_flight: found a string (DIR/outbox-relay.toml:2); expected a whole number from 1 to 64, for example max_in_flight = 16
relay.sweep_interval: found an integer (DIR/outbox-relay.toml:3); expected a duration from 100ms to 5m, for example sweep_interval = \"2s\"
relay.canary_interval: 1h is too large (DIR/outbox-relay.toml:5); expected a duration from 500ms to 5m, for example canary_interval = \"10s\"
shutdown.grace: \"20\" has no unit (environment OUTBOX_RELAY_SHUTDOWN_GRACE); expected a duration from 0s to 10m, for example 20s
log.level: \"inof\" has no level \"inof\" (environment RUST_LOG); expected off, error, warn, info, debug, trace, or target=level pairs, for example info
ably.api_key is not set; set ABLY_API_KEY (or ABLY_API_KEY_FILE, or ably.api_key_file in the configuration file), for example ABLY_API_KEY=appId.keyId:secret";
    assert_eq!(problems, expected);
}

#[test]
fn what_a_command_needs_is_asked_for_together() {
    let problems = Scene::new("", &[("DATABASE_URL", "")]).problems(Needs::DatabaseAndAbly);
    let lines: Vec<_> = problems.lines().collect();
    assert!(lines[0].starts_with("database.url is not set; set DATABASE_URL"), "{problems}");
    assert!(lines[1].starts_with("ably.api_key is not set; set ABLY_API_KEY"), "{problems}");
    assert_eq!(lines.len(), 2);
    assert!(Scene::new("", &[]).problems(Needs::Database).lines().count() == 1);
}

#[test]
fn a_beaten_value_of_the_file_still_has_to_be_right() {
    let scene = Scene::new("log.level = 'inof'", &[]).flag("log.level", "debug");
    assert!(scene.problems(Needs::Whatever).starts_with("log.level: \"inof\""));
    let scene = Scene::new("", &[("RUST_LOG", "inof")]).flag("log.level", "debug");
    assert_eq!(scene.ok().settings.log_level, "debug");
}

#[test]
fn broken_syntax_is_one_problem_and_not_also_a_missing_value() {
    let scene = Scene::new("[relay\nmax_in_flight = 4\n", &[]);
    let problems = scene.problems(Needs::DatabaseAndAbly);
    assert!(problems.starts_with("not TOML: "), "{problems}");
    assert!(problems.contains("(DIR/outbox-relay.toml:1)"), "{problems}");
    assert!(!problems.contains("not set"), "{problems}");
}

#[test]
fn a_named_file_takes_the_place_of_the_discovered_one() {
    let mut scene = Scene::new(LEVEL, &[]);
    let path = scene.file("other.toml", "log.level = 'error'", 0o600);
    scene.sources.config = Some(path.clone());
    assert_eq!(scene.ok().settings.log_level, "error");
    let by_variable = Scene::new(LEVEL, &[]).with_variable("OUTBOX_RELAY_CONFIG", path);
    assert_eq!(by_variable.ok().settings.log_level, "error");
    scene.sources.config = Some("/nonexistent/x.toml".into());
    let problems = scene.problems(Needs::DatabaseAndAbly);
    assert!(problems.starts_with("/nonexistent/x.toml: cannot be read"), "{problems}");
    assert!(problems.contains("flag --config") && problems.lines().count() == 1, "{problems}");
}

#[test]
fn a_secret_comes_from_a_file_too() {
    let scene = Scene::new("", &[]);
    let path = scene.file("key", "app.key:hunter2\n", 0o400);
    let scene = scene.with_variable("ABLY_API_KEY_FILE", path);
    let configuration = scene.ok();
    assert_eq!(configuration.ably_api_key().unwrap().expose_secret(), "app.key:hunter2");
    let origin = configuration.origin("ably.api_key").to_string();
    assert!(origin.ends_with("key, named by environment ABLY_API_KEY_FILE"), "{origin}");
    assert!(configuration.warnings.is_empty());
}

#[test]
fn a_secret_file_of_the_configuration_lies_next_to_it() {
    let scene = Scene::new("ably.api_key_file = 'key'\ndatabase.url_file = 'url'", &[]);
    scene.file("key", "app.key:hunter2", 0o644);
    scene.file("url", "postgres://u:hunter2@h/d", 0o600);
    let configuration = scene.ok();
    assert_eq!(configuration.warnings.len(), 1, "{:?}", configuration.warnings);
    assert!(configuration.warnings[0].to_string().contains("every user of this machine"));
    let direct = configuration.direct_url().unwrap().expose_secret();
    assert_eq!(direct, "postgres://u:hunter2@h/d", "direct_url falls back to url");
    assert_eq!(configuration.origin("database.direct_url"), &Origin::Default);
    assert!(!format!("{configuration:?}").contains("hunter2"));
}

#[test]
fn a_secret_given_twice_is_refused() {
    let twice = [("ABLY_API_KEY", "a.b:hunter2"), ("ABLY_API_KEY_FILE", "/dev/null")];
    let scene = Scene::new("[database]\nurl = 'postgres://h/d'\nurl_file = 'x'\n", &twice);
    let problems = scene.problems(Needs::DatabaseAndAbly);
    let expected = "both database.url and database.url_file are set (DIR/outbox-relay.toml:3); keep one of them\n\
        both ABLY_API_KEY and ABLY_API_KEY_FILE are set (environment ABLY_API_KEY_FILE); keep one of them";
    assert_eq!(problems, expected);
}

#[test]
fn an_unreadable_secret_file_is_one_problem() {
    let scene = Scene::new("", &[("DATABASE_URL_FILE", "/nonexistent/url")]);
    let problems = scene.problems(Needs::Database);
    assert_eq!(problems.lines().count(), 1, "{problems}");
    assert!(problems.contains("file /nonexistent/url, named by environment DATABASE_URL_FILE"));
}

#[test]
fn a_malformed_key_is_refused_without_showing_it() {
    for key in ["hunter2", "app.key: hunter2", "app.key:hunter2\n", "\"app.key:hunter2\" "] {
        let problems = Scene::new("", &[("ABLY_API_KEY", key)]).problems(Needs::Whatever);
        assert!(problems.contains("environment ABLY_API_KEY") && !problems.contains("hunter2"));
    }
}

#[test]
fn a_password_in_a_flag_or_in_the_file_is_worth_a_warning() {
    let url = "postgres://u:hunter2@h/d";
    let scene = Scene::new(&format!("database.direct_url = '{url}'"), &[]);
    let warnings = scene.flag("database.url", url).ok().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|warning| !warning.to_string().contains("hunter2")));
    let harmless = [("DATABASE_URL", url)];
    let scene = Scene::new("database.direct_url = 'postgres://u@h:5432/d'", &harmless);
    assert!(scene.ok().warnings.is_empty());
}

#[test]
fn settings_that_contradict_each_other_are_worth_a_warning() {
    let toml = "shutdown.grace = '1s'\n[ably]\nconnect_timeout = '20s'\n";
    let warnings = Scene::new(toml, &[]).ok().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].to_string().contains("outbox-relay.toml:1"), "{warnings:?}");
    assert!(Scene::new("shutdown.grace = '0s'", &[]).ok().warnings.is_empty());
}

#[test]
fn the_resolved_settings_can_be_shown_without_secrets() {
    let environment =
        [("ABLY_API_KEY", "app.key:hunter2"), ("DATABASE_URL", "postgres://u:hunter2@h/d")];
    let configuration = Scene::new("relay.max_in_flight = 9", &environment).ok();
    let shown: Vec<_> = configuration
        .entries()
        .iter()
        .map(|entry| format!("{} = {:?} ({})", entry.key, entry.shown, entry.origin))
        .collect();
    let all = shown.join("\n");
    assert!(!all.contains("hunter2"), "{all}");
    assert!(all.contains("ably.api_key = Some(\"***\") (environment ABLY_API_KEY)"), "{all}");
    assert!(all.contains("relay.max_in_flight = Some(\"9\")"), "{all}");
    assert!(all.contains("database.direct_url = None (default)"), "{all}");
}

#[test]
fn secrets_that_a_command_does_not_use_are_not_read() {
    let environment = [("DATABASE_URL", "file:./dev.db"), ("ABLY_API_KEY", "nonsense")];
    let scene = Scene::new("database.direct_url_file = '/nonexistent'", &environment);
    let settings = scene.load(Needs::Nothing).unwrap().settings;
    assert!(settings.database_url.is_none() && settings.ably_api_key.is_none());
    assert!(scene.load(Needs::Database).is_err());
    let scene = scene.flag("database.url", "postgres://h/d");
    let configuration = scene.load(Needs::Nothing).unwrap();
    assert_eq!(configuration.database_url().unwrap().expose_secret(), "postgres://h/d");
}
