//! From settings to what answers over HTTP, its dashboard, and what `doctor` looks at.

use std::net::SocketAddr;
use std::time::Duration;

use super::{ably, links, routing, store_named};
use crate::ably::Client;
use crate::cli::failure::{Exit, Failure};
use crate::config::{Configuration, Settings};
use crate::doctor::{self, Subject, Trouble};
use crate::http::{DashboardConfig, HttpConfig, HttpError, HttpServer};
use crate::relay::monitor::Monitor;
use crate::relay::payloads::Payloads;
use crate::store::session::Store;

/// Where the relay answers, if anywhere.
///
/// # Errors
/// Never for a checked setting.
pub(in crate::cli) fn http_listen(settings: &Settings) -> Result<Option<SocketAddr>, Failure> {
    match settings.http_listen.as_str() {
        "off" => Ok(None),
        address => address.parse().map(Some).map_err(Failure::internal),
    }
}

/// A server that answers for this relay, if the settings ask for one. `subject` is what the dashboard's doctor looks at.
///
/// # Errors
/// When the address is taken, or open to others without a token.
pub(in crate::cli) async fn http(
    settings: &Settings,
    store: &Store,
    monitor: Monitor,
    subject: impl Fn() -> Subject + Send + Sync + 'static,
) -> Result<Option<HttpServer>, Failure> {
    let Some(listen) = http_listen(settings)? else { return Ok(None) };
    let payloads = links(settings).map(|links| Payloads::new(store.clone(), links));
    let dashboard = settings.http_dashboard.serves(listen).then(|| DashboardConfig {
        token: settings.http_dashboard_token.clone(),
        actions: settings.http_dashboard_actions,
        store: store.clone(),
        subject: Box::new(subject),
    });
    let config = HttpConfig {
        listen,
        token: settings.http_token.clone(),
        publish_token: settings.http_publish_token.clone(),
        payloads,
        dashboard,
    };
    let server = HttpServer::bind(config, monitor).await;
    server.map(Some).map_err(|error| {
        let exit = match error {
            HttpError::Open(_) | HttpError::DashboardOpen(_) => Exit::Config,
            HttpError::Listen { .. } | HttpError::NoChance => Exit::Unavailable,
        };
        Failure::new(exit, &error, error.remedy())
    })
}

/// What `doctor` looks at.
pub(in crate::cli) fn doctor(configuration: &Configuration, max_snapshot_age: Duration) -> Subject {
    let settings = &configuration.settings;
    let warnings = configuration
        .warnings
        .iter()
        .map(|warning| Trouble { cause: warning.cause(), remedy: warning.remedy().to_owned() });
    let stores = stores(configuration);
    let subject = subject(settings, warnings.collect(), stores, ably(configuration));
    Subject { max_snapshot_age, ..subject }
}

/// The same of these parts.
pub(in crate::cli) fn subject(
    settings: &Settings,
    warnings: Vec<Trouble>,
    stores: Result<(Store, Store), Failure>,
    ably: Result<Client, Failure>,
) -> Subject {
    let trouble = |failure: Failure| {
        let (cause, remedy) = failure.parts();
        Trouble { cause, remedy }
    };
    let resources = routing(settings).map(|routing| routing.resources()).unwrap_or_default();
    Subject {
        warnings,
        stores: stores.map_err(trouble),
        ably: ably.map_err(trouble),
        resources,
        max_message_bytes: settings.max_message_bytes,
        channel_rate: settings.channel_rate,
        max_snapshot_age: doctor::SNAPSHOT_AGE_MAX,
    }
}

fn stores(configuration: &Configuration) -> Result<(Store, Store), Failure> {
    let settings = &configuration.settings;
    let store = store_named(settings, configuration.database_url()?, doctor::NAME)?;
    let direct = store_named(settings, configuration.direct_url()?, doctor::NAME)?;
    Ok((store, direct))
}
