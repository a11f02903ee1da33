//! From settings to the parts of a relay, and from their errors to exit codes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::failure::{Exit, Failure};
use crate::ably::{self, ApiKey, Client, ClientConfig, Endpoint, Fallback};
use crate::config::{
    self, Configuration, EnvelopeName, FallbackHosts, OnOversize, Origin, RetentionArchive,
    Settings,
};
use crate::domain::envelope::Envelope;
use crate::domain::failure::FailureClass;
use crate::domain::message::Format;
use crate::domain::payload_link::PayloadLinks;
use crate::domain::routing::Routing;
use crate::registry::event_types::{Registry, RegistryError};
use crate::registry::validation::{ValidateMode, Validation};
use crate::relay::plan::{PlanLimits, Publication};
use crate::relay::retention::{ArchiveTo, RetentionConfig};
use crate::relay::service::{RelayConfig, RelayError};
use crate::relay::wake::WakeConfig;
use crate::store::claim::ClaimLimits;
use crate::store::connect::ConnectOptions;
use crate::store::connect_error::ConnectErrorKind;
use crate::store::dsn::Dsn;
use crate::store::error::StoreError;
use crate::store::schema_name::SchemaName;
use crate::store::session::Store;
use crate::telemetry::{self, Telemetry};

mod site;

pub(super) use self::site::{doctor, http, http_listen, subject};

/// Longest time that a publish may take over all hosts, as Ably specifies it (TO3l6). Also what keeps
/// a drain transaction well below its `idle_in_transaction_session_timeout` of 45 s.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(15);

/// What the sessions are called in `pg_stat_activity`.
const APPLICATION_NAME: &str = concat!("outbox-relay ", env!("CARGO_PKG_VERSION"));

/// The outbox behind a connection string.
///
/// # Errors
/// When the string cannot be read; it is not repeated, for it may hold a password.
pub(super) fn store(settings: &Settings, url: &SecretString) -> Result<Store, Failure> {
    store_named(settings, url, APPLICATION_NAME)
}

/// The same under another name in `pg_stat_activity`.
///
/// # Errors
/// As [`store`].
pub(super) fn store_named(
    settings: &Settings,
    url: &SecretString,
    name: &str,
) -> Result<Store, Failure> {
    let parsed = Dsn::parse(url.expose_secret()).map_err(|error| {
        Failure::of_line(Exit::Config, error, "correct it in DATABASE_URL, or in DIRECT_URL")
    })?;
    for warning in parsed.warnings {
        tracing::warn!("{warning}");
    }
    let schema = SchemaName::new(&settings.schema)
        .map_err(|error| Failure::new(Exit::Config, error, "choose another name with --schema"))?;
    Ok(Store::new(parsed.dsn, ConnectOptions::new(name), schema))
}

/// The spans that the `OTEL_*` variables ask for. Never a reason not to publish: what cannot be had is said once.
pub(super) fn telemetry(ably: &Client) -> Telemetry {
    if !telemetry::wanted(|name| std::env::var(name).ok()) {
        return Telemetry::default();
    }
    Telemetry::start(ably.server()).unwrap_or_else(|error| {
        tracing::warn!(%error, "publishes are not traced: {error}");
        Telemetry::default()
    })
}

/// The client of the Ably that the settings name.
///
/// # Errors
/// When key or endpoint is malformed.
pub(super) fn ably(configuration: &Configuration) -> Result<Client, Failure> {
    let settings = &configuration.settings;
    let key = ApiKey::parse(configuration.ably_api_key()?.expose_secret()).map_err(|error| {
        Failure::of_line(
            Exit::Config,
            error,
            "copy the whole key from the Ably dashboard into ABLY_API_KEY",
        )
    })?;
    let endpoint = Endpoint::parse(&settings.ably_endpoint).map_err(|error| {
        Failure::of_line(
            Exit::Config,
            error,
            "set ABLY_ENDPOINT to a host name or to a URL such as https://host:port",
        )
    })?;
    let fallback = match &settings.ably_fallback_hosts {
        FallbackHosts::Auto => Fallback::Default,
        FallbackHosts::Off => Fallback::Off,
        FallbackHosts::Hosts(hosts) => Fallback::Hosts(hosts.clone()),
    };
    let batch = match settings.ably_batch {
        config::BatchMode::Auto => ably::BatchMode::Auto,
        config::BatchMode::Off => ably::BatchMode::Off,
    };
    let client = ClientConfig {
        endpoint,
        fallback,
        batch,
        connect_timeout: settings.ably_connect_timeout,
        request_timeout: settings.ably_request_timeout,
        retry_duration_max: PUBLISH_TIME_MAX,
        ..ClientConfig::new(key)
    };
    Client::new(client).map_err(|error| {
        Failure::of_line(
            Exit::Config,
            error,
            "check ABLY_ENDPOINT, the fallback hosts and the system's certificates",
        )
    })
}

/// The relay's settings.
pub(super) fn relay_config(settings: &Settings, once: bool) -> RelayConfig {
    RelayConfig {
        claim: ClaimLimits {
            tenants: as_i64(settings.batch_tenants),
            rows_per_tenant: as_i64(settings.rows_per_tenant),
            bytes_per_tenant: as_i64(settings.max_message_bytes),
            lock_lone: true,
            lone_first: true,
            traceparents: settings.message_headers,
        },
        plan: PlanLimits {
            message_bytes_max: settings.max_message_bytes,
            group_events_max: settings.rows_per_tenant,
            on_failed: settings.on_failed,
        },
        wake: WakeConfig {
            slots: settings.max_in_flight,
            sweep_interval: settings.sweep_interval,
            poll_interval: settings.poll_interval,
            again: WakeConfig::AGAIN,
        },
        canary_interval: settings.canary_interval,
        channel_rate: channel_rate(settings),
        grace: settings.shutdown_grace,
        once,
    }
}

/// Publishes a second to one channel.
pub(super) fn channel_rate(settings: &Settings) -> u32 {
    u32::try_from(settings.channel_rate).unwrap_or(u32::MAX)
}

/// The event types of the settings.
///
/// # Errors
/// When a schema file is wrong.
pub(super) fn registry(settings: &Settings) -> Result<Registry, Failure> {
    let registry = match &settings.registry_directory {
        Some(directory) => Registry::open(directory),
        None => Registry::built_in(),
    };
    Ok(registry?)
}

impl From<RegistryError> for Failure {
    fn from(RegistryError(errors): RegistryError) -> Self {
        let causes = errors.iter().map(ToString::to_string).collect();
        Self::several(
            Exit::Config,
            causes,
            "mend the schema files, or name another directory with --registry",
        )
    }
}

/// What is done about payloads. Wrong schema files are refused though nothing be validated: they are meant
/// to be used.
///
/// # Errors
/// As [`registry`].
pub(super) fn validation(settings: &Settings) -> Result<Validation, Failure> {
    Ok(Validation::new(settings.registry_validate, registry(settings)?))
}

/// The same for `dev`, where whoever writes events is looking: `warn`, unless something was asked for.
///
/// # Errors
/// As [`registry`].
pub(super) fn validation_for_development(
    configuration: &Configuration,
) -> Result<Validation, Failure> {
    let settings = &configuration.settings;
    let asked_for = *configuration.origin("registry.validate") != Origin::Default;
    let mode = if asked_for { settings.registry_validate } else { ValidateMode::Warn };
    Ok(Validation::new(mode, registry(settings)?))
}

/// Where events go, and what they look like there.
///
/// # Errors
/// Never for checked settings.
pub(super) fn publication(settings: &Settings) -> Result<Publication, Failure> {
    let envelope = match settings.message_envelope {
        EnvelopeName::Outbox => Envelope::Outbox,
        EnvelopeName::CloudEvents => {
            Envelope::CloudEvents { source: settings.message_source.clone() }
        }
    };
    let format = Format { envelope, headers: settings.message_headers, links: links(settings) };
    Ok(Publication { routing: routing(settings)?, format })
}

/// Where events go.
///
/// # Errors
/// Never for checked settings.
pub(super) fn routing(settings: &Settings) -> Result<Routing, Failure> {
    let (modules, too) = (settings.channel_modules.clone(), settings.channel_tenant_too);
    Routing::new(&settings.channel_template, modules, too).map_err(|errors| {
        let causes = errors.iter().map(|error| format!("channel.template: {error}")).collect();
        Failure::several(Exit::Config, causes, "change OUTBOX_RELAY_CHANNEL_TEMPLATE")
    })
}

/// What makes and checks links to payloads, if the settings ask for links.
fn links(settings: &Settings) -> Option<PayloadLinks> {
    let wanted = settings.message_oversize == OnOversize::Reference;
    let url = settings.payload_url.as_ref().filter(|_| wanted)?;
    let secret = settings.payload_secret.clone()?;
    Some(PayloadLinks::new(url, secret, settings.payload_lifetime))
}

/// The schedule by which old events are deleted, if there is one.
pub(super) fn retention(settings: &Settings) -> Option<RetentionConfig> {
    (!settings.retention_published.is_zero()).then(|| RetentionConfig {
        published: settings.retention_published,
        interval: settings.retention_interval,
        archive: match &settings.retention_archive {
            RetentionArchive::Off => ArchiveTo::Off,
            RetentionArchive::Table => ArchiveTo::Table,
            RetentionArchive::File(path) => ArchiveTo::File(path.clone()),
        },
    })
}

/// The settings are bounded far below either type's range.
fn as_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Connect(connect) => match connect.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::Permission => Exit::Permission,
                ConnectErrorKind::DatabaseMissing
                | ConnectErrorKind::Tls(_)
                | ConnectErrorKind::PoolerRefused => Exit::Config,
                ConnectErrorKind::Dns
                | ConnectErrorKind::Refused
                | ConnectErrorKind::Timeout
                | ConnectErrorKind::Closed
                | ConnectErrorKind::TooManyConnections
                | ConnectErrorKind::StartingUp
                | ConnectErrorKind::ReadOnly
                | ConnectErrorKind::Other => Exit::Unavailable,
            },
            StoreError::Privileges { .. }
            | StoreError::PermissionDenied(_)
            | StoreError::MigrationDenied(_) => Exit::Permission,
            StoreError::Unfit { .. } => Exit::BadData,
            StoreError::SchemaMissing { .. }
            | StoreError::FlagMissing
            | StoreError::SchemaOlder { .. }
            | StoreError::SchemaNewer { .. }
            | StoreError::SchemaEdited { .. }
            | StoreError::SchemaUnrecorded { .. }
            | StoreError::HistoryAltered { .. }
            | StoreError::NoEncoding { .. } => Exit::Config,
            StoreError::Standby
            | StoreError::ReadOnly
            | StoreError::StatementLost(_)
            | StoreError::Database(_)
            | StoreError::Lost(_) => Exit::Unavailable,
            StoreError::Unexpected(_) => Exit::Internal,
        };
        Self::new(exit, &error, error.remedy())
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Store(error) => error.into(),
            RelayError::Publisher(failure) => {
                let exit = if failure.class == FailureClass::Configuration {
                    Exit::Permission
                } else {
                    Exit::Unavailable
                };
                Self::new(exit, &failure, failure.class.remedy())
            }
            RelayError::Internal(cause) => Self::internal(cause),
        }
    }
}
