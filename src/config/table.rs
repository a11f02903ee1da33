//! Every setting, once: this table drives parsing, flags, error messages and the README.

use std::time::Duration;

use super::check::{
    api_key, database_url, directory, endpoint, log_level, retention_archive, schema,
};
use super::settings::{BatchMode, LogFormat, RetentionArchive};
use super::value::Kind;
use crate::domain::policy::OnFailed;
use crate::registry::validation::ValidateMode;

mod http;
mod publication;
mod setting;

pub use self::publication::SETTINGS;
pub use self::setting::Setting;

/// The variable that names the configuration file.
pub const CONFIG_ENV: &str = "OUTBOX_RELAY_CONFIG";

/// The file that is read when nothing names another.
pub const CONFIG_FILE: &str = "outbox-relay.toml";

/// Our own variables start with this; one that is not in the table is a mistake.
pub const ENV_PREFIX: &str = "OUTBOX_RELAY_";

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Those of the relay itself; [`SETTINGS`] has all.
const RELAY: &[Setting] = &[
    Setting {
        key: "database.url",
        env: &["DATABASE_URL"],
        flag: Some("database-url"),
        default: None,
        example: "postgres://relay@db.example.com/app",
        kind: Kind::Secret {
            check: database_url,
            expected: "a PostgreSQL connection string",
            plain_in_file: true,
            set: |s, v| s.database_url = Some(v),
        },
        doc: "The database that holds the outbox. May go through a pooler. Put a password into DATABASE_URL, DATABASE_URL_FILE or `database.url_file`, not into the flag (process lists show it) nor into the configuration file.",
    },
    Setting {
        key: "database.direct_url",
        env: &["DIRECT_URL"],
        flag: Some("direct-url"),
        default: None,
        example: "postgres://relay@db-direct.example.com/app",
        kind: Kind::Secret {
            check: database_url,
            expected: "a PostgreSQL connection string",
            plain_in_file: true,
            set: |s, v| s.direct_url = Some(v),
        },
        doc: "The same database without a pooler, for LISTEN and migrations. Not set: `database.url`. Through a pooler in transaction mode notifications get lost, and the relay polls.",
    },
    Setting {
        key: "database.schema",
        env: &["OUTBOX_RELAY_SCHEMA"],
        flag: Some("schema"),
        default: Some("outbox"),
        example: "outbox",
        kind: Kind::Text {
            check: schema,
            expected: "a schema name of at most 63 bytes",
            set: |s, v| s.schema = v,
        },
        doc: "The schema of the outbox's tables and functions. Producers must use the same.",
    },
    Setting {
        key: "ably.api_key",
        env: &["ABLY_API_KEY"],
        flag: None,
        default: None,
        example: "appId.keyId:secret",
        kind: Kind::Secret {
            check: api_key,
            expected: "the whole Ably API key, as the Ably dashboard shows it",
            plain_in_file: false,
            set: |s, v| s.ably_api_key = Some(v),
        },
        doc: "The Ably API key; it needs the publish capability for `tenant:*`. No flag (process lists show it) and no plain key in the configuration file: use ABLY_API_KEY, ABLY_API_KEY_FILE or `ably.api_key_file`.",
    },
    Setting {
        key: "ably.endpoint",
        env: &["ABLY_ENDPOINT"],
        flag: Some("ably-endpoint"),
        default: Some("main"),
        example: "main",
        kind: Kind::Text {
            check: endpoint,
            expected: "a routing name, a host name, or a base URL",
            set: |s, v| s.ably_endpoint = v,
        },
        doc: "Where Ably is: a routing name (`main`, `nonprod:name`), a host name, or a base URL such as `http://127.0.0.1:8081` of the emulator.",
    },
    Setting {
        key: "ably.fallback_hosts",
        env: &["OUTBOX_RELAY_ABLY_FALLBACK_HOSTS"],
        flag: None,
        default: Some("auto"),
        example: "auto",
        kind: Kind::Hosts { set: |s, v| s.ably_fallback_hosts = v },
        doc: "Where requests go when the primary host does not answer: `auto` (as Ably specifies), `off` (for accounts bound to a region; an outage of the host then stops publishing), or host names, separated by commas.",
    },
    Setting {
        key: "ably.batch",
        env: &["OUTBOX_RELAY_ABLY_BATCH"],
        flag: None,
        default: Some("auto"),
        example: "auto",
        kind: Kind::Choice {
            names: BatchMode::NAMES,
            set: |s, v| BatchMode::named(v).map(|mode| s.ably_batch = mode).is_some(),
        },
        doc: "Whether the events of several tenants share one request. `off` sends one request a tenant: slower, and nearer to the account's request rate.",
    },
    Setting {
        key: "ably.connect_timeout",
        env: &["OUTBOX_RELAY_ABLY_CONNECT_TIMEOUT"],
        flag: None,
        default: Some("4s"),
        example: "4s",
        kind: Kind::Duration {
            min: ms(100),
            max: minutes(1),
            set: |s, v| s.ably_connect_timeout = v,
        },
        doc: "How long connecting to one host may take; Ably specifies 4 s. Too high: a dead host delays the fallback. Too low: a slow network looks dead.",
    },
    Setting {
        key: "ably.request_timeout",
        env: &["OUTBOX_RELAY_ABLY_REQUEST_TIMEOUT"],
        flag: None,
        default: Some("10s"),
        example: "10s",
        // A repeat must come within the 120 s in which Ably knows an id again: at most half of it.
        kind: Kind::Duration {
            min: ms(100),
            max: minutes(1),
            set: |s, v| s.ably_request_timeout = v,
        },
        doc: "How long one request may take; Ably specifies 10 s. Too high: rows stay locked while Ably hangs. Too low: requests that would have succeeded are sent twice (Ably drops the repeat).",
    },
    Setting {
        key: "relay.max_in_flight",
        env: &["OUTBOX_RELAY_MAX_IN_FLIGHT"],
        flag: None,
        default: Some("16"),
        example: "16",
        kind: Kind::Count { min: 1, max: 64, set: |s, v| s.max_in_flight = v },
        doc: "Batches that are published at the same time; each holds one database connection, which is made when it is first needed. Too high: connections run out. Too low: throughput is one round trip to Ably at a time.",
    },
    Setting {
        key: "relay.batch_tenants",
        env: &["OUTBOX_RELAY_BATCH_TENANTS"],
        flag: None,
        default: Some("100"),
        example: "100",
        // 100 channels a request are Ably's limit.
        kind: Kind::Count { min: 1, max: 100, set: |s, v| s.batch_tenants = v },
        doc: "Tenants in one batch; Ably takes 100 channels a request. Too low: more requests for the same events. Lower it when one slow request should hold fewer tenants.",
    },
    Setting {
        key: "relay.rows_per_tenant",
        env: &["OUTBOX_RELAY_ROWS_PER_TENANT"],
        flag: None,
        default: Some("500"),
        example: "500",
        kind: Kind::Count { min: 1, max: 1_000, set: |s, v| s.rows_per_tenant = v },
        doc: "Events of one tenant in one batch. Too high: a busy tenant delays the others and memory grows. Too low: a tenant's backlog empties slowly.",
    },
    Setting {
        key: "relay.channel_rate",
        env: &["OUTBOX_RELAY_CHANNEL_RATE"],
        flag: None,
        default: Some("45"),
        example: "45",
        kind: Kind::Count { min: 0, max: 10_000, set: |s, v| s.channel_rate = v },
        doc: "Publishes a second to one channel; a group of waiting events is one publish; 0 is no limit. Ably allows 50 on every plan. Too high: Ably refuses (42913) and the tenant is held. Too low: a busy tenant's events wait for one another.",
    },
    Setting {
        key: "relay.sweep_interval",
        env: &["OUTBOX_RELAY_SWEEP_INTERVAL"],
        flag: None,
        default: Some("2s"),
        example: "2s",
        kind: Kind::Duration { min: ms(100), max: minutes(5), set: |s, v| s.sweep_interval = v },
        doc: "How often the outbox is looked at without a notification. Too high: an event whose notification got lost waits that long. Too low: idle queries.",
    },
    Setting {
        key: "relay.poll_interval",
        env: &["OUTBOX_RELAY_POLL_INTERVAL"],
        flag: None,
        default: Some("200ms"),
        example: "200ms",
        kind: Kind::Duration { min: ms(10), max: minutes(1), set: |s, v| s.poll_interval = v },
        doc: "How often the outbox is looked at while LISTEN is down. Too high: latency while it is down. Too low: queries, at a time when the database may be in trouble.",
    },
    Setting {
        key: "relay.canary_interval",
        env: &["OUTBOX_RELAY_CANARY_INTERVAL"],
        flag: None,
        default: Some("10s"),
        example: "10s",
        kind: Kind::Duration { min: ms(500), max: minutes(5), set: |s, v| s.canary_interval = v },
        doc: "How often the relay notifies itself to prove that LISTEN works. Too high: a dead listener goes unnoticed that long (the sweep still finds the events). Too low: needless notifications.",
    },
    Setting {
        key: "relay.max_message_bytes",
        env: &["OUTBOX_RELAY_MAX_MESSAGE_BYTES"],
        flag: None,
        default: Some("64KiB"),
        example: "64KiB",
        kind: Kind::Size { min: 1_024, max: 262_144, set: |s, v| s.max_message_bytes = v },
        doc: "The size limit of your Ably package: 64 KiB (Free, Standard) or 256 KiB (Pro, Enterprise). Too high: Ably refuses what the relay sends, and the event fails. Too low: events fail that Ably would take.",
    },
    Setting {
        key: "relay.on_failed",
        env: &["OUTBOX_RELAY_ON_FAILED"],
        flag: None,
        default: Some("skip"),
        example: "skip",
        kind: Kind::Choice {
            names: OnFailed::NAMES,
            set: |s, v| OnFailed::named(v).map(|policy| s.on_failed = policy).is_some(),
        },
        doc: "What a tenant's later events do when one fails for good: `skip` lets them go on, `block` lets them wait until somebody requeues or discards it. Single tenants can differ: table `tenant_policy`.",
    },
    Setting {
        key: "registry.directory",
        env: &["OUTBOX_RELAY_REGISTRY_DIRECTORY"],
        flag: Some("registry"),
        default: None,
        example: "schemas",
        kind: Kind::Text {
            check: directory,
            expected: "a directory",
            set: |s, v| s.registry_directory = Some(v.into()),
        },
        doc: "The directory of your event types: one JSON Schema (2020-12) of a payload a file, named after its event type (`kitchen.task.claimed.json`). Not set: the built-in kitchen module alone.",
    },
    Setting {
        key: "registry.validate",
        env: &["OUTBOX_RELAY_REGISTRY_VALIDATE"],
        flag: None,
        default: Some("off"),
        example: "reject",
        kind: Kind::Choice {
            names: ValidateMode::NAMES,
            set: |s, v| ValidateMode::named(v).map(|mode| s.registry_validate = mode).is_some(),
        },
        doc: "What becomes of an event whose payload does not match the schema of its type, or whose type has none: `off` publishes it unseen, `warn` publishes it with a line in the log, `reject` fails it.",
    },
    Setting {
        key: "retention.published",
        env: &["OUTBOX_RELAY_RETENTION_PUBLISHED"],
        flag: None,
        default: Some("0s"),
        example: "72h",
        kind: Kind::Duration {
            min: Duration::ZERO,
            max: minutes(60 * 24 * 3_650),
            set: |s, v| s.retention_published = v,
        },
        doc: "How long published events are kept; 0s keeps them for ever. Older ones are deleted by the running relay, whose role then needs DELETE. Too high: the table grows. Too low: nothing is left to look at when somebody asks.",
    },
    Setting {
        key: "retention.interval",
        env: &["OUTBOX_RELAY_RETENTION_INTERVAL"],
        flag: None,
        default: Some("1m"),
        example: "1m",
        kind: Kind::Duration {
            min: ms(1_000),
            max: minutes(60 * 24),
            set: |s, v| s.retention_interval = v,
        },
        doc: "How often the relay looks for events to delete. Too high: they are deleted in one long go. Too low: needless connections.",
    },
    Setting {
        key: "retention.archive",
        env: &["OUTBOX_RELAY_RETENTION_ARCHIVE"],
        flag: None,
        default: Some("off"),
        example: "off",
        kind: Kind::Text {
            check: retention_archive,
            expected: "off, table, or a file that ends in .zst",
            set: |s, v| s.retention_archive = RetentionArchive::named(&v),
        },
        doc: "What becomes of events before they are deleted: nothing (`off`), a row of `event_archive` (`table`), or a line in a file on the relay's own disk.",
    },
    Setting {
        key: "shutdown.grace",
        env: &["OUTBOX_RELAY_SHUTDOWN_GRACE"],
        flag: None,
        default: Some("20s"),
        example: "20s",
        kind: Kind::Duration {
            min: Duration::ZERO,
            max: minutes(10),
            set: |s, v| s.shutdown_grace = v,
        },
        doc: "How long a stop waits for what is in flight. Too high: the supervisor kills the process first (Kubernetes after 30 s). Too low: requests are cut off and sent again after the start (Ably drops the repeat).",
    },
    Setting {
        key: "log.level",
        env: &["OUTBOX_RELAY_LOG_LEVEL", "RUST_LOG"],
        flag: Some("log-level"),
        default: Some("info"),
        example: "info",
        kind: Kind::Text {
            check: log_level,
            expected: "off, error, warn, info, debug, trace, or target=level pairs",
            set: |s, v| s.log_level = v,
        },
        doc: "What is logged: a level, or pairs such as `info,outbox_relay::store=debug`. Too high (`trace`): noise and disk. Too low (`error`): warnings that announce trouble are missing.",
    },
    Setting {
        key: "log.format",
        env: &["OUTBOX_RELAY_LOG_FORMAT"],
        flag: Some("log-format"),
        default: Some("auto"),
        example: "auto",
        kind: Kind::Choice {
            names: LogFormat::NAMES,
            set: |s, v| LogFormat::named(v).map(|format| s.log_format = format).is_some(),
        },
        doc: "`pretty` for people, `json` for machines, `auto` is `pretty` on a terminal and `json` otherwise.",
    },
];

/// The setting of a key.
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests;
