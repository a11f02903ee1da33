//! Hears the bell. One connection that does nothing but LISTEN, remade whenever it is lost, and a
//! canary that proves it hears: a pooler in transaction mode accepts LISTEN and delivers nothing, and a
//! dead socket looks like a quiet one.
//!
//! Until the first canary has come back, and whenever one does not, the relay polls.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::drain::Drain;
use super::floor::Floor;
use super::news::News;
use super::wake::Input;
use crate::store::error::StoreError;
use crate::store::session::Store;

/// How long the first canary of a connection may take: long enough for a busy server, short enough
/// that a pooler is recognised at once.
const FIRST_CANARY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a later canary may take before the connection counts as dead.
const CANARY_TIMEOUT: Duration = Duration::from_secs(5);

/// Delays between attempts to listen: jittered, so that a fleet does not come back as one.
const RECONNECT: ExponentialBuilder = ExponentialBuilder::new()
    .with_jitter()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(10))
    .without_max_times();

/// The listener's parts.
#[derive(Debug)]
pub(super) struct Listener {
    /// The database, not through a pooler.
    pub(super) direct: Store,
    /// Sends the canary over another connection.
    pub(super) drain: Arc<Drain>,
    /// Rung for each notification; many rings before it is looked at are one.
    pub(super) bell: Arc<Notify>,
    /// Told when the listener comes up and goes down.
    pub(super) events: mpsc::Sender<Input>,
    /// Time between canaries.
    pub(super) canary_interval: Duration,
    /// Named in the log when the bell cannot be heard.
    pub(super) poll_interval: Duration,
}

/// Why listening ended.
#[derive(Debug, thiserror::Error)]
enum ListenEnd {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "LISTEN was accepted, but our own notification did not arrive: the connection probably leads \
         through a pooler in transaction mode"
    )]
    NeverHeard,
    #[error("our own notification did not arrive within 5 s: the connection is dead")]
    WentDeaf,
    #[error("the relay has stopped")]
    Stopped,
}

impl ListenEnd {
    fn remedy(&self) -> String {
        match self {
            Self::Store(error) if error.is_standby() => {
                "set DIRECT_URL to the primary: a standby cannot be listened to".into()
            }
            Self::Store(error) => error.remedy(),
            Self::NeverHeard => "set DIRECT_URL to a connection that is not pooled".into(),
            Self::WentDeaf => "it is made anew; if this repeats, look at what lies between".into(),
            Self::Stopped => String::new(),
        }
    }
}

impl Listener {
    /// Listens until the relay has stopped.
    pub(super) async fn run(self) {
        let mut delays = RECONNECT.build();
        let mut news = News::default();
        loop {
            let mut was_up = false;
            let end = match self.listen(&mut was_up).await {
                Err(end) => end,
                Ok(never) => match never {},
            };
            if matches!(end, ListenEnd::Stopped) || self.tell(Input::ListenerDown).await.is_err() {
                return;
            }
            if was_up {
                delays = RECONNECT.build();
                news.clear();
            }
            let delay = delays.next().unwrap_or(CANARY_TIMEOUT);
            if news.is_new(&end.to_string(), Instant::now()) {
                warn!(
                    error = %end,
                    remedy = end.remedy(),
                    "cannot hear the bell: {end}; polling every {} ms until it can",
                    self.poll_interval.as_millis()
                );
            } else {
                debug!(error = %end, "still cannot hear the bell");
            }
            sleep(delay).await;
        }
    }

    async fn listen(&self, was_up: &mut bool) -> Result<std::convert::Infallible, ListenEnd> {
        let canary_channel = format!("outbox_relay_canary_{}", uuid::Uuid::now_v7().simple());
        let bell_channel = self.direct.schema().as_str();
        let mut listening = self.direct.listen(&[bell_channel, &canary_channel]).await?;
        let mut canary = Canary::new(canary_channel);
        loop {
            tokio::select! {
                heard = listening.next() => {
                    let heard = heard?;
                    if heard.channel == bell_channel {
                        // Something else than an insert: an event waits again (triggers/event_again.sql).
                        if !heard.payload.is_empty() {
                            self.drain.floor.with(Floor::forget);
                        }
                        self.bell.notify_one();
                    } else if let Some(took) = canary.heard(&heard.payload, self.canary_interval) {
                        self.up(was_up, took).await?;
                    }
                },
                () = sleep_until(canary.due) => self.canary_due(&mut canary, *was_up).await?,
            }
        }
    }

    async fn canary_due(&self, canary: &mut Canary, was_up: bool) -> Result<(), ListenEnd> {
        if canary.sent.is_some() {
            return Err(if was_up { ListenEnd::WentDeaf } else { ListenEnd::NeverHeard });
        }
        canary.count += 1;
        let sent_at = Instant::now();
        let sent = match self.drain.side.get().await {
            Ok(session) => {
                let payload = canary.count.to_string();
                // Together: one round trip.
                let (noted, sent) = tokio::join!(
                    session.note_server_start(),
                    session.notify(&canary.channel, &payload)
                );
                noted.and(sent)
            }
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => {
                let patience = if was_up { CANARY_TIMEOUT } else { FIRST_CANARY_TIMEOUT };
                canary.sent = Some(sent_at);
                canary.due = Instant::now() + patience;
            }
            // Not the listener's fault: the drain reports that the database cannot be reached.
            Err(error) => {
                debug!(%error, "the canary could not be sent");
                self.drain.side.forget().await;
                canary.due = Instant::now() + FIRST_CANARY_TIMEOUT;
            }
        }
        Ok(())
    }

    async fn up(&self, was_up: &mut bool, round_trip: Duration) -> Result<(), ListenEnd> {
        let round_trip_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.drain.metrics.canary(round_trip);
        if std::mem::replace(was_up, true) {
            debug!(round_trip_us, "the canary came back");
            return Ok(());
        }
        info!(round_trip_us, "listening: a notification takes {round_trip_us} µs");
        self.tell(Input::ListenerUp).await
    }

    async fn tell(&self, input: Input) -> Result<(), ListenEnd> {
        self.events.send(input).await.map_err(|_| ListenEnd::Stopped)
    }
}

/// The notification that we send to ourselves.
#[derive(Debug)]
struct Canary {
    channel: String,
    count: u64,
    /// When the one under way was sent.
    sent: Option<Instant>,
    /// When the next one is to be sent, or the one under way must have come back.
    due: Instant,
}

impl Canary {
    fn new(channel: String) -> Self {
        Self { channel, count: 0, sent: None, due: Instant::now() }
    }

    /// The round trip, if this is the one under way.
    fn heard(&mut self, payload: &str, interval: Duration) -> Option<Duration> {
        if payload != self.count.to_string() {
            return None;
        }
        let now = Instant::now();
        self.due = now + interval;
        self.sent.take().map(|sent| now - sent)
    }
}
