//! One session: emulator, relay, sample producer and subscriber on a database that is there already.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::verdict::verdict;
use super::{Options, postgres_failure};
use crate::ably::{ApiKey, Client, ClientConfig, Endpoint, Fallback};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{Context, assemble};
use crate::config::Settings;
use crate::dev::banner::{Banner, Database};
use crate::dev::kitchen::Kitchens;
use crate::dev::postgres::PrivatePostgres;
use crate::dev::producer::{Ledger, Producer};
use crate::dev::subscriber::{Delivery, Subscriber, SubscriberError};
use crate::domain::channel::ChannelName;
use crate::domain::event::TenantId;
use crate::emulator::{API_KEY_DEFAULT, Emulator, EmulatorConfig};
use crate::http::{DashboardConfig, HttpConfig, HttpServer};
use crate::relay::monitor::Monitor;
use crate::relay::service::{Relay, RelayError};
use crate::store::application::{Application, Outcome};
use crate::store::error::StoreError;
use crate::store::session::Store;

/// With `--exit-after`: how long nothing may arrive before the rest counts as lost. Above the longest
/// time-out of a publish (15 s) and of PostgreSQL's answers (20 s) together.
const PROGRESS_MAX: Duration = Duration::from_secs(60);
/// How long the first event waits for the relay to listen. Through a pooler it never does, and polls.
const LISTENING_MAX: Duration = Duration::from_secs(2);
/// How long a stop waits for what is committed to arrive and be settled.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Silence after the relay's end in which a last duplicate could still arrive.
const QUIET: Duration = Duration::from_millis(100);
/// How often the private PostgreSQL, and the progress, are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often the outbox is asked whether all is settled; that takes some 10 ms after the last arrival.
const SETTLE_POLL: Duration = Duration::from_millis(20);
/// Deliveries that may wait to be shown; then the subscriber reads no more, as a slow one would.
const DELIVERIES_MAX: usize = 1_024;
/// Messages that the emulator keeps for those who subscribe late: two minutes of 80 a second. Its
/// default would let a session's memory grow for longer than somebody watches it.
const RETAINED_MESSAGES_MAX: usize = 10_000;

/// Where the outbox is.
pub(super) struct Place<'a> {
    pub(super) store: Store,
    pub(super) direct: Store,
    /// To be watched, if it is ours.
    pub(super) postgres: Option<&'a mut PrivatePostgres>,
}

/// A session that is about to run.
pub(super) struct Session<'a> {
    pub(super) options: &'a Options,
    pub(super) context: &'a Context,
    pub(super) place: Place<'a>,
    pub(super) database: Database<'a>,
}

/// What a part of the session ends with.
enum Ended {
    Producer,
    Relay,
    Subscriber,
    Dashboard,
}

/// Why a part of the session has ended that must not.
enum Fault {
    Store(StoreError),
    Relay(RelayError),
    Subscriber(SubscriberError),
    Dashboard(std::io::Error),
}

/// A session that is running.
struct Running<'a> {
    screen: Screen,
    exit_after: Option<u64>,
    stop: &'a CancellationToken,
    postgres: Option<&'a mut PrivatePostgres>,
    emulator: Emulator,
    parts: JoinSet<Result<Ended, Fault>>,
    deliveries: mpsc::Receiver<Delivery>,
    ledger: Arc<Ledger>,
    stop_producing: CancellationToken,
    stop_relay: CancellationToken,
    /// For questions to the outbox.
    observer: Application,
    /// This session's events are behind it.
    position: i64,
    task_prefix: String,
    /// Whether the producer has ended.
    produced: bool,
}

impl<'a> Session<'a> {
    /// Runs until `--exit-after`, a signal, or a failure of any part.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let stop = &self.context.stop;
        let running = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            running = Box::pin(self.start()) => running?,
        };
        Box::pin(running.finish()).await
    }

    async fn start(self) -> Result<Running<'a>, Failure> {
        let Self { options, context, place, database } = self;
        let settings = &context.configuration.settings;
        place.direct.migrate_up().await?;
        let observer = place.store.application().await?;
        let position = observer.last_position().await?;
        let schema = place.store.schema().clone();
        let kitchens = Kitchens::new(options.rate, fastrand::u64(..));
        let emulator = Emulator::start(EmulatorConfig {
            message_bytes_max: settings.max_message_bytes,
            retained_messages_max: RETAINED_MESSAGES_MAX,
            ..EmulatorConfig::default()
        });
        let unavailable = |error| Failure::of_line(Exit::Unavailable, error, "see the cause");
        let emulator = emulator.await.map_err(unavailable)?;
        // Open before the first event is written: whatever is committed must arrive.
        let channels = channels(&kitchens.tenants())?;
        let subscriber = Subscriber::attach(&emulator.url(), API_KEY_DEFAULT, &channels).await;
        let subscriber = subscriber.map_err(|error| Fault::Subscriber(error).failure())?;

        let ably = ably(&emulator.url())?;
        let config = assemble::relay_config(settings, false);
        let application = place.store.application().await?;
        let validation = assemble::validation_for_development(&context.configuration)?;
        let stores = (place.store.clone(), place.direct.clone());
        let relay = Relay::new(place.store, place.direct, ably, config).with_validation(validation);
        let dashboard = dashboard(settings, stores, &emulator, relay.monitor()).await?;

        let screen = Screen::new(options.json);
        screen.banner(&Banner {
            database,
            schema: &schema,
            dashboard: &dashboard.dashboard().unwrap_or_default(),
            emulator: emulator.addr(),
            key: API_KEY_DEFAULT,
            tenants: &kitchens.tenants(),
            rate: options.rate,
        })?;

        let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let mut running = Running {
            screen,
            exit_after: options.exit_after,
            stop: &context.stop,
            postgres: place.postgres,
            emulator,
            parts: JoinSet::new(),
            deliveries,
            ledger: Arc::default(),
            stop_producing: CancellationToken::new(),
            stop_relay: CancellationToken::new(),
            observer,
            position,
            task_prefix: kitchens.task_prefix().to_owned(),
            produced: false,
        };
        let producer = Producer {
            kitchens,
            application,
            ledger: Arc::clone(&running.ledger),
            rate: options.rate,
            limit: options.exit_after,
        };
        running.spawn(relay, subscriber, sender, producer);
        let stop = running.stop_relay.clone();
        running.parts.spawn(async move {
            dashboard.run(stop).await.map(|()| Ended::Dashboard).map_err(Fault::Dashboard)
        });
        Ok(running)
    }
}

impl Running<'_> {
    fn spawn(
        &mut self,
        relay: Relay,
        subscriber: Subscriber,
        deliveries: mpsc::Sender<Delivery>,
        producer: Producer,
    ) {
        let (stop_relay, stop_producing) = (self.stop_relay.clone(), self.stop_producing.clone());
        let listening = relay.listening();
        self.parts.spawn(async move {
            let ended = relay.run(stop_relay).await;
            ended.map(|_| Ended::Relay).map_err(Fault::Relay)
        });
        self.parts.spawn(async move {
            let ended = subscriber.run(deliveries).await;
            ended.map(|()| Ended::Subscriber).map_err(Fault::Subscriber)
        });
        self.parts.spawn(async move {
            // The start is not what the latencies are about.
            tokio::select! {
                _ = timeout(LISTENING_MAX, listening.cancelled()) => {}
                () = stop_producing.cancelled() => {}
            }
            producer.run(stop_producing).await.map(|_| Ended::Producer).map_err(Fault::Store)
        });
    }

    async fn finish(mut self) -> Result<(), Failure> {
        let complete = self.flow().await?;
        let settled = timeout(STOP_MAX, self.settle()).await;
        self.stop_relay.cancel();
        self.await_relay().await?;
        while let Ok(Some(delivery)) = timeout(QUIET, self.deliveries.recv()).await {
            self.show(&delivery)?;
        }
        let outcome = match settled {
            Ok(settled) => settled?,
            Err(_) => self.outcome().await?,
        };
        self.screen.summary(outcome.published, &self.ledger)?;
        self.parts.shutdown().await;
        self.emulator.shutdown().await;
        match self.exit_after {
            // Stopped by a signal: whoever asked for that does not expect all events.
            Some(_) if self.stop.is_cancelled() => Ok(()),
            Some(wanted) => verdict(wanted, complete, &outcome, self.ledger.report().counts()),
            None => Ok(()),
        }
    }

    /// Shows what arrives until all has, or until nothing more is to be expected. Returns whether all
    /// has arrived.
    async fn flow(&mut self) -> Result<bool, Failure> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Instant::now();
        let mut stopped: Option<Instant> = None;
        loop {
            if self.produced && self.ledger.report().awaited() == 0 {
                return Ok(true);
            }
            tokio::select! {
                Some(delivery) = self.deliveries.recv() => {
                    self.show(&delivery)?;
                    progress = Instant::now();
                }
                Some(end) = self.parts.join_next() => self.part_ended(end).await?,
                () = self.stop.cancelled(), if stopped.is_none() => {
                    self.stop_producing.cancel();
                    stopped = Some(Instant::now());
                }
                _ = ticks.tick() => {
                    self.check_postgres()?;
                    let overdue = self.exit_after.is_some() && progress.elapsed() > PROGRESS_MAX;
                    if overdue || stopped.is_some_and(|since| since.elapsed() > STOP_MAX) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Waits until the outbox has settled what has arrived.
    async fn settle(&mut self) -> Result<Outcome, Failure> {
        loop {
            let outcome = self.outcome().await?;
            if outcome.pending == 0 {
                return Ok(outcome);
            }
            tokio::select! {
                Some(delivery) = self.deliveries.recv() => self.show(&delivery)?,
                Some(end) = self.parts.join_next() => self.part_ended(end).await?,
                () = sleep(SETTLE_POLL) => {}
            }
        }
    }

    /// The relay ends within its own grace period.
    async fn await_relay(&mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                Some(delivery) = self.deliveries.recv() => self.show(&delivery)?,
                end = self.parts.join_next() => match end {
                    Some(Ok(Ok(Ended::Relay))) | None => return Ok(()),
                    Some(end) => self.part_ended(end).await?,
                },
            }
        }
    }

    fn show(&self, delivery: &Delivery) -> Result<(), Failure> {
        self.screen.delivery(delivery, &self.ledger, &self.task_prefix)
    }

    async fn outcome(&self) -> Result<Outcome, Failure> {
        Ok(self.observer.outcome_since(self.position, &self.task_prefix).await?)
    }

    async fn part_ended(
        &mut self,
        end: Result<Result<Ended, Fault>, JoinError>,
    ) -> Result<(), Failure> {
        match end {
            Ok(Ok(Ended::Producer)) => {
                self.produced = true;
                Ok(())
            }
            // When the relay has been told to stop.
            Ok(Ok(Ended::Dashboard)) => Ok(()),
            Ok(Ok(Ended::Relay)) => Err(Failure::internal("the relay has ended by itself")),
            Ok(Ok(Ended::Subscriber)) => {
                Err(Failure::internal("the subscriber has ended by itself"))
            }
            Ok(Err(fault)) => {
                self.await_end_of_postgres(&fault).await?;
                Err(fault.failure())
            }
            Err(error) => Err(Failure::internal(format!("a part of dev ended badly: {error}"))),
        }
    }

    fn check_postgres(&mut self) -> Result<(), Failure> {
        match &mut self.postgres {
            Some(postgres) => postgres.check().map_err(postgres_failure),
            None => Ok(()),
        }
    }

    /// A server that was killed shows first as a lost connection. That it has ended says more, and
    /// is known a moment later.
    async fn await_end_of_postgres(&mut self, fault: &Fault) -> Result<(), Failure> {
        if matches!(fault, Fault::Subscriber(_)) {
            return Ok(());
        }
        for _ in 0..4 {
            self.check_postgres()?;
            sleep(TICK).await;
        }
        Ok(())
    }
}

impl Fault {
    fn failure(self) -> Failure {
        match self {
            Self::Store(error) => error.into(),
            Self::Relay(error) => error.into(),
            Self::Subscriber(error) => Failure::internal(error),
            Self::Dashboard(error) => Failure::internal(error),
        }
    }
}

fn channels(tenants: &[&str]) -> Result<Vec<String>, Failure> {
    let channel = |tenant: &&str| {
        let channel = ChannelName::for_tenant(&TenantId::new(*tenant));
        channel.map(|channel| channel.to_string()).map_err(Failure::internal)
    };
    tenants.iter().map(channel).collect()
}

/// What the dashboard is served by: here nobody else can reach it, and it may change everything.
async fn dashboard(
    settings: &Settings,
    stores: (Store, Store),
    emulator: &Emulator,
    monitor: Monitor,
) -> Result<HttpServer, Failure> {
    let (settings, url, store) = (settings.clone(), emulator.url(), stores.0.clone());
    let subject = move || assemble::subject(&settings, Vec::new(), Ok(stores.clone()), ably(&url));
    let dashboard =
        DashboardConfig { token: None, actions: true, store, subject: Box::new(subject) };
    let config = HttpConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: None,
        publish_token: None,
        payloads: None,
        dashboard: Some(dashboard),
    };
    let unavailable = |error| Failure::of_line(Exit::Unavailable, error, "see the cause");
    HttpServer::bind(config, monitor).await.map_err(unavailable)
}

/// The relay's client of the emulator: on this machine, so nothing stands in for it.
fn ably(url: &str) -> Result<Client, Failure> {
    let key = ApiKey::parse(API_KEY_DEFAULT).map_err(Failure::internal)?;
    let endpoint = Endpoint::parse(url).map_err(Failure::internal)?;
    let config = ClientConfig { endpoint, fallback: Fallback::Off, ..ClientConfig::new(key) };
    Client::new(config).map_err(Failure::internal)
}
