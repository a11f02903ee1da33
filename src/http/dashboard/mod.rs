//! `/dashboard/`: a page for people, in this binary and without anything from elsewhere.
//!
//! Reading order: `guard` (who may, and what a browser is told), `assets` (the page), `live` (what is pushed each second), `charts`
//! (the last hours), `operators` (a connection to ask with), `reading` and `deciding` (what is asked and done with it), `examining`
//! (doctor), `answer` (JSON, and errors as JSON).
//!
//! Nothing here can disturb the relay: what is pushed is what the relay has noted anyway, made text once a second for all; questions to
//! the database go over two connections of their own, read a bounded number of rows, and may take 2 s.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use self::examining::Examining;
use self::live::Live;
use self::operators::Operators;
use crate::doctor::Subject;
use crate::relay::monitor::Monitor;
use crate::store::session::Store;

mod answer;
mod assets;
mod charts;
mod deciding;
mod examining;
mod guard;
mod live;
mod operators;
mod reading;

/// What a dashboard shows and who may see it.
pub struct DashboardConfig {
    /// What opens it. Needed unless the server listens on a loopback address.
    pub token: Option<SecretString>,
    /// Whether it may change anything.
    pub actions: bool,
    /// The outbox.
    pub store: Store,
    /// What its doctor looks at, made anew for each run.
    pub subject: Box<dyn Fn() -> Subject + Send + Sync>,
}

impl std::fmt::Debug for DashboardConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DashboardConfig").field("actions", &self.actions).finish_non_exhaustive()
    }
}

/// A dashboard that is served.
#[derive(Debug)]
pub(super) struct Dashboard {
    token: Option<SecretString>,
    actions: bool,
    /// What a page must send along to change anything: no page of another site can read it.
    csrf: String,
    monitor: Monitor,
    operators: Operators,
    live: Live,
    examining: Examining,
    closing: CancellationToken,
}

impl Dashboard {
    /// `None` when the operating system has no random bytes.
    pub(super) fn new(config: DashboardConfig, monitor: Monitor) -> Option<Self> {
        monitor.keep_timelines();
        Some(Self {
            csrf: guard::secret()?,
            token: config.token,
            actions: config.actions,
            operators: Operators::new(config.store),
            live: Live::default(),
            examining: Examining::new(config.subject),
            monitor,
            closing: CancellationToken::new(),
        })
    }

    /// The server stops.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

/// Everything beneath `/dashboard`.
pub(super) fn router(dashboard: &Arc<Dashboard>) -> Router {
    let api = Router::new()
        .route("/session", get(reading::session))
        .route("/live", get(live::live))
        .route("/history", get(charts::history))
        .route("/stats", get(reading::stats))
        .route("/events", get(reading::search))
        .route("/events/{seq}", get(reading::event))
        .route("/events/{seq}/payload", get(reading::payload))
        .route("/dead-letters", get(reading::dead_letters))
        .route("/holds", get(reading::holds))
        .route("/audit", get(reading::audit))
        .route("/doctor", get(examining::last).post(examining::run))
        .route("/requeue", post(deciding::requeue))
        .route("/discard", post(deciding::discard))
        .route("/release", post(deciding::release))
        .route("/pause", post(deciding::pause))
        .route("/resume", post(deciding::resume));
    let site = Router::new()
        .route("/", get(assets::page))
        .route("/assets/{name}", get(assets::asset))
        .nest("/api", api)
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::wrong_method)
        .with_state(Arc::clone(dashboard));
    Router::new()
        .route("/dashboard", get(async || Redirect::permanent("/dashboard/")))
        .nest("/dashboard/", site.clone())
        .layer(from_fn_with_state(Arc::clone(dashboard), guard::guard))
}
