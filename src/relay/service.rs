//! A relay put together and run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::adjust::{self, Adjust, Adjusted};
use super::appetite::Appetite;
use super::asked::Asked;
use super::coordinator::{Coordinator, Inputs};
use super::drain::Drain;
use super::fan_out::FanOut;
use super::floor_work::FloorWork;
use super::listener::Listener;
use super::metrics::Metrics;
use super::monitor::Monitor;
use super::partitions;
use super::plan::{PlanLimits, Publication};
use super::retention::{Retention, RetentionConfig};
use super::side_session::SideSession;
use super::telling::Telling;
use super::wake::WakeConfig;
use crate::ably::Client;
use crate::domain::failure::PublishFailure;
use crate::registry::validation::Validation;
use crate::store::claim::ClaimLimits;
use crate::store::error::StoreError;
use crate::store::session::{Backlog, Store};
use crate::telemetry::Telemetry;

/// Settings of a relay.
#[derive(Debug, Clone, Copy)]
pub struct RelayConfig {
    /// How much one claim takes.
    pub claim: ClaimLimits,
    /// Bounds of messages and groups.
    pub plan: PlanLimits,
    /// Slots and intervals.
    pub wake: WakeConfig,
    /// Time between two proofs that notifications arrive.
    pub canary_interval: Duration,
    /// Publishes a second to one channel; 0 is no limit.
    pub channel_rate: u32,
    /// How long a shutdown waits for batches in flight.
    pub grace: Duration,
    /// End when nothing is left to publish.
    pub once: bool,
}

/// What a relay did until it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events published.
    pub published: u64,
    /// Events failed for good.
    pub failed: u64,
    /// Events that the sweep found, while the bell could be heard, and that nothing else had told of: more
    /// than none now and then means that wake-ups are lost.
    pub swept: u64,
    /// Batches that were still in flight when the grace period was over; their events stay pending.
    pub abandoned_batches: usize,
    /// What was left, when a single run ended.
    pub left: Option<Backlog>,
}

/// Why a relay ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// PostgreSQL cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ably refused everything, in a single run.
    #[error("Ably did not accept anything: {0}")]
    Publisher(PublishFailure),
    /// A task ended that must not.
    #[error("a part of the relay has stopped: {0}")]
    Internal(String),
}

/// A relay that is ready to run.
#[derive(Debug)]
pub struct Relay {
    store: Store,
    direct: Store,
    ably: Arc<Client>,
    config: RelayConfig,
    retention: Option<RetentionConfig>,
    validation: Validation,
    publication: Publication,
    telemetry: Arc<Telemetry>,
    listening: CancellationToken,
    started: CancellationToken,
    metrics: Arc<Metrics>,
    monitor: Monitor,
    requests: mpsc::Receiver<Asked>,
    adjust: Adjust,
    adjusted: Adjusted,
}

impl Relay {
    /// Puts a relay together; nothing is connected yet. `direct` is where LISTEN goes.
    pub fn new(store: Store, direct: Store, ably: Client, config: RelayConfig) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (monitor, requests) = Monitor::new(store.clone(), Arc::clone(&metrics));
        let (retention, validation) = (None, Validation::default());
        let publication = Publication::default();
        let ably = Arc::new(ably);
        let (adjust, adjusted) = adjust::channel(Arc::clone(&ably), config.channel_rate);
        Self {
            store,
            direct,
            ably,
            config,
            retention,
            validation,
            publication,
            telemetry: Arc::default(),
            listening: CancellationToken::new(),
            started: CancellationToken::new(),
            metrics,
            monitor,
            requests,
            adjust,
            adjusted,
        }
    }

    /// The relay from outside, as soon as it runs and while it does.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// What can be changed while it runs.
    pub fn adjust(&self) -> Adjust {
        self.adjust.clone()
    }

    /// Has it check payloads before they are published.
    pub fn with_validation(self, validation: Validation) -> Self {
        Self { validation, ..self }
    }

    /// Has it trace its publishes.
    pub fn with_telemetry(self, telemetry: Arc<Telemetry>) -> Self {
        Self { telemetry, ..self }
    }

    /// Has it publish elsewhere, or in another format.
    pub fn with_publication(self, publication: Publication) -> Self {
        Self { publication, ..self }
    }

    /// Has it delete old events too, unless it is a single run.
    pub fn with_retention(self, retention: Option<RetentionConfig>) -> Self {
        Self { retention, ..self }
    }

    /// Cancelled as soon as notifications arrive for the first time: from then on an event is
    /// published when it is committed, and not only when the outbox is next looked at.
    pub fn listening(&self) -> CancellationToken {
        self.listening.clone()
    }

    /// Cancelled as soon as the database has been found fit to work with: from then on events are published, if only
    /// by looking for them.
    pub fn started(&self) -> CancellationToken {
        self.started.clone()
    }

    /// Publishes until `shutdown`, then finishes what is in flight within the grace period.
    ///
    /// # Errors
    /// At the start: whatever keeps the database from being worked with. Later: only what is a fault
    /// of the relay itself, or, in a single run, Ably's refusal.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, RelayError> {
        let first = tokio::select! {
            session = self.store.session() => session?,
            () = shutdown.cancelled() => return Ok(Summary::default()),
        };
        info!(database = self.store.describe(), schema = %self.store.schema(), "relay started");
        self.started.cancel();
        let (events, inbox) = mpsc::channel(16);
        let retention = self.retention.map(|config| Retention::new(self.store.clone(), config));
        let partitions = Box::pin(partitions::keep_ahead(self.store.clone()));
        let drain = Arc::new(Drain {
            side: SideSession::new(self.store.clone()),
            store: self.store,
            ably: self.ably,
            appetite: Appetite::new(self.config.claim, self.config.plan, self.config.wake.slots),
            floor: FloorWork::new(Instant::now()),
            plan_limits: self.config.plan,
            publication: self.publication,
            fan_out: FanOut::default(),
            metrics: self.metrics,
            validation: self.validation,
            telemetry: self.telemetry,
            telling: Telling::default(),
        });
        let bell = Arc::new(Notify::new());
        let mut listener = JoinSet::new();
        if !self.config.once {
            let part = Listener {
                direct: self.direct,
                drain: Arc::clone(&drain),
                bell: Arc::clone(&bell),
                events,
                canary_interval: self.config.canary_interval,
                poll_interval: self.config.wake.poll_interval,
            };
            listener.spawn(part.run());
            if let Some(retention) = retention {
                listener.spawn(retention.run());
            }
            listener.spawn(partitions);
        }
        let coordinator = Coordinator::new(drain, self.config, first, self.listening, self.monitor);
        let inputs = Inputs { bell, inbox, requests: self.requests, adjusted: self.adjusted };
        coordinator.run(shutdown, inputs, listener).await
    }
}
