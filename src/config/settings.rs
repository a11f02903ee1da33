//! The settings as the rest of the program gets them.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::policy::OnFailed;
use crate::registry::validation::ValidateMode;

/// Every setting, parsed and checked. The limits and the meaning of each are in
/// [`super::table::SETTINGS`], from which the values are filled in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `database.url`. Present when the command's [`super::Needs`] asked for it.
    pub database_url: Option<SecretString>,
    /// `database.direct_url`; the same as `database_url` when not set.
    pub direct_url: Option<SecretString>,
    /// `database.schema`: at most 63 bytes, never one of PostgreSQL's own.
    pub schema: String,
    /// `ably.api_key`, well formed. Present when the command's [`super::Needs`] asked for it.
    pub ably_api_key: Option<SecretString>,
    /// `ably.endpoint`: a routing name, a host name, or a base URL.
    pub ably_endpoint: String,
    /// `ably.fallback_hosts`.
    pub ably_fallback_hosts: FallbackHosts,
    /// `ably.batch`.
    pub ably_batch: BatchMode,
    /// `ably.connect_timeout`.
    pub ably_connect_timeout: Duration,
    /// `ably.request_timeout`.
    pub ably_request_timeout: Duration,
    /// `relay.max_in_flight`, in batches.
    pub max_in_flight: usize,
    /// `relay.batch_tenants`, in tenants.
    pub batch_tenants: usize,
    /// `relay.rows_per_tenant`, in rows.
    pub rows_per_tenant: usize,
    /// `relay.channel_rate`, publishes a second; 0 is no limit.
    pub channel_rate: usize,
    /// `relay.sweep_interval`.
    pub sweep_interval: Duration,
    /// `relay.poll_interval`.
    pub poll_interval: Duration,
    /// `relay.canary_interval`.
    pub canary_interval: Duration,
    /// `relay.max_message_bytes`, in bytes.
    pub max_message_bytes: usize,
    /// `relay.on_failed`.
    pub on_failed: OnFailed,
    /// `registry.directory`: schema files beside the built-in ones.
    pub registry_directory: Option<PathBuf>,
    /// `registry.validate`.
    pub registry_validate: ValidateMode,
    /// `retention.published`; zero keeps events for ever.
    pub retention_published: Duration,
    /// `retention.interval`.
    pub retention_interval: Duration,
    /// `retention.archive`.
    pub retention_archive: RetentionArchive,
    /// `shutdown.grace`.
    pub shutdown_grace: Duration,
    /// `http.listen`: `off` or an address with its port.
    pub http_listen: String,
    /// `http.token`. Present when set and the command's [`super::Needs`] asked for it.
    pub http_token: Option<SecretString>,
    /// `http.publish_token`. Present when set and the command's [`super::Needs`] asked for it.
    pub http_publish_token: Option<SecretString>,
    /// `http.dashboard`.
    pub http_dashboard: DashboardMode,
    /// `http.dashboard_token`. Present when set and the command's [`super::Needs`] asked for it.
    pub http_dashboard_token: Option<SecretString>,
    /// `http.dashboard_actions`.
    pub http_dashboard_actions: bool,
    /// `channel.template`, well formed.
    pub channel_template: String,
    /// `channel.modules`; none for all.
    pub channel_modules: Option<Vec<String>>,
    /// `channel.tenant_too`.
    pub channel_tenant_too: bool,
    /// `message.envelope`.
    pub message_envelope: EnvelopeName,
    /// `message.source`.
    pub message_source: String,
    /// `message.headers`.
    pub message_headers: bool,
    /// `message.oversize`.
    pub message_oversize: OnOversize,
    /// `payload.url`. Present when `message.oversize` needs it.
    pub payload_url: Option<String>,
    /// `payload.secret`. Present when `message.oversize` needs it and the command's [`super::Needs`] asked for it.
    pub payload_secret: Option<SecretString>,
    /// `payload.lifetime`.
    pub payload_lifetime: Duration,
    /// `log.level`: a level, or directives such as `info,outbox_relay::store=debug`.
    pub log_level: String,
    /// `log.format`.
    pub log_format: LogFormat,
}

impl Settings {
    /// The secret of a key; none for keys that hold none.
    pub(super) fn secret(&self, key: &str) -> Option<&SecretString> {
        match key {
            "database.url" => self.database_url.as_ref(),
            "database.direct_url" => self.direct_url.as_ref(),
            "ably.api_key" => self.ably_api_key.as_ref(),
            "http.token" => self.http_token.as_ref(),
            "http.publish_token" => self.http_publish_token.as_ref(),
            "http.dashboard_token" => self.http_dashboard_token.as_ref(),
            "payload.secret" => self.payload_secret.as_ref(),
            _ => None,
        }
    }

    /// Settings before anything was applied; [`super::load()`] fills every field from the table.
    pub(super) fn blank() -> Self {
        Self {
            database_url: None,
            direct_url: None,
            schema: String::new(),
            ably_api_key: None,
            ably_endpoint: String::new(),
            ably_fallback_hosts: FallbackHosts::Auto,
            ably_batch: BatchMode::Auto,
            ably_connect_timeout: Duration::ZERO,
            ably_request_timeout: Duration::ZERO,
            max_in_flight: 0,
            batch_tenants: 0,
            rows_per_tenant: 0,
            channel_rate: 0,
            sweep_interval: Duration::ZERO,
            poll_interval: Duration::ZERO,
            canary_interval: Duration::ZERO,
            max_message_bytes: 0,
            on_failed: OnFailed::Skip,
            registry_directory: None,
            registry_validate: ValidateMode::Off,
            retention_published: Duration::ZERO,
            retention_interval: Duration::ZERO,
            retention_archive: RetentionArchive::Off,
            shutdown_grace: Duration::ZERO,
            http_listen: String::new(),
            http_token: None,
            http_publish_token: None,
            http_dashboard: DashboardMode::Auto,
            http_dashboard_token: None,
            http_dashboard_actions: false,
            channel_template: String::new(),
            channel_modules: None,
            channel_tenant_too: false,
            message_envelope: EnvelopeName::Outbox,
            message_source: String::new(),
            message_headers: false,
            message_oversize: OnOversize::Fail,
            payload_url: None,
            payload_secret: None,
            payload_lifetime: Duration::ZERO,
            log_level: String::new(),
            log_format: LogFormat::Auto,
        }
    }
}

/// Where requests go when Ably's primary host does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FallbackHosts {
    /// The hosts that belong to the endpoint, as Ably specifies.
    Auto,
    /// Nowhere: for accounts that are bound to a region.
    Off,
    /// These hosts, at least one.
    Hosts(Vec<String>),
}

/// Whether several tenants share one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchMode {
    /// The batch endpoint when more than one tenant waits.
    Auto,
    /// One request a tenant.
    Off,
}

impl BatchMode {
    pub(super) const NAMES: &[&str] = &["auto", "off"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// What becomes of events before they are pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionArchive {
    /// Nothing.
    Off,
    /// They go into the table `event_archive`.
    Table,
    /// They are appended to a file.
    File(PathBuf),
}

impl RetentionArchive {
    /// `off`, `table`, or a file's name; what is neither has been refused before.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "off" => Self::Off,
            "table" => Self::Table,
            path => Self::File(path.into()),
        }
    }
}

/// Which envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeName {
    /// The outbox's own.
    Outbox,
    /// CloudEvents 1.0.
    CloudEvents,
}

impl EnvelopeName {
    pub(super) const NAMES: &[&str] = &["outbox", "cloudevents"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "outbox" => Some(Self::Outbox),
            "cloudevents" => Some(Self::CloudEvents),
            _ => None,
        }
    }
}

/// What becomes of an event that is too large for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOversize {
    /// It fails.
    Fail,
    /// A link takes the payload's place.
    Reference,
}

impl OnOversize {
    pub(super) const NAMES: &[&str] = &["fail", "reference"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "fail" => Some(Self::Fail),
            "reference" => Some(Self::Reference),
            _ => None,
        }
    }
}

/// Where the dashboard is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DashboardMode {
    /// On a loopback address.
    Auto,
    /// Wherever the relay answers.
    On,
    /// Nowhere.
    Off,
}

impl DashboardMode {
    pub(super) const NAMES: &[&str] = &["auto", "on", "off"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// Whether it is served at an address.
    pub fn serves(self, listen: std::net::SocketAddr) -> bool {
        match self {
            Self::Auto => listen.ip().is_loopback(),
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// `off` or `on`.
pub(super) fn switch(name: &str) -> Option<bool> {
    match name {
        "off" => Some(false),
        "on" => Some(true),
        _ => None,
    }
}

/// `all`, which is none, or names; what is neither has been refused before.
pub(super) fn modules_named(text: &str) -> Option<Vec<String>> {
    (text != "all").then(|| text.split(',').map(|name| name.trim().to_owned()).collect())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// [`LogFormat::Pretty`] on a terminal, [`LogFormat::Json`] otherwise.
    Auto,
    /// One readable line an event.
    Pretty,
    /// One flat JSON object an event.
    Json,
}

impl LogFormat {
    pub(super) const NAMES: &[&str] = &["auto", "pretty", "json"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let mut settings = Settings::blank();
        settings.database_url = Some("postgres://u:hunter2@h/d".into());
        settings.direct_url = Some("postgres://u:hunter2@h/d".into());
        settings.ably_api_key = Some("app.key:hunter2".into());
        settings.payload_secret = Some("hunter2".into());
        let debug = format!("{settings:#?}");
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn every_secret_is_found_by_its_key() {
        let secrets = crate::config::table::SETTINGS.iter().filter(|s| s.kind.is_secret());
        for setting in secrets {
            let mut settings = Settings::blank();
            let raw = crate::config::value::Raw::Word(setting.example.to_owned());
            setting.kind.apply(&raw, &mut settings).unwrap();
            assert!(settings.secret(setting.key).is_some(), "{}", setting.key);
        }
    }

    #[test]
    fn every_name_of_a_choice_is_known() {
        assert!(BatchMode::NAMES.iter().all(|name| BatchMode::named(name).is_some()));
        assert!(EnvelopeName::NAMES.iter().all(|name| EnvelopeName::named(name).is_some()));
        assert!(OnOversize::NAMES.iter().all(|name| OnOversize::named(name).is_some()));
        assert!(DashboardMode::NAMES.iter().all(|name| DashboardMode::named(name).is_some()));
        assert!(LogFormat::NAMES.iter().all(|name| LogFormat::named(name).is_some()));
    }
}
