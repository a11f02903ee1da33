//! The coordinator: owns the slots and every task, feeds the wake machine and does what it says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::inputs::{PauseState, patience, wait_for};
use super::asked::Asked;
use super::database_state::DatabaseState;
use super::drain::{BatchEnd, BatchReport, ClaimFrom, ClaimRead, Drain};
use super::flag_work::FlagWork;
use super::floor::Floor;
use super::health::Grade;
use super::metrics::WokenBy;
use super::monitor::Monitor;
use super::pace::{AccountPace, ChannelPace};
use super::publisher_state::PublisherState;
use super::service::{RelayConfig, RelayError, Summary};
use super::wake::{Action, BellConfig, Input, Wake};
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::store::error::StoreError;
use crate::store::session::Session;

mod inputs;

pub(super) use self::inputs::Inputs;

/// Time between two lines that say how much was published.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);

/// Pause after a pooler has lost a prepared statement: short, for the next connection does without, and
/// not nothing, so that a proxy that loses everything makes no hot loop.
const STATEMENT_LOST_PAUSE: Duration = Duration::from_millis(50);

/// With `once`: outages in a row after which the run ends with the failure. Each of them has already
/// been through Ably's fallback hosts.
const ONCE_OUTAGES_MAX: u32 = 3;

/// With `once`: how long to wait for a tenant's hold to end. Throttled tenants are held for less.
const ONCE_PATIENCE: Duration = Duration::from_secs(5);

/// With `once`: the most pending events that are counted at the end.
const BACKLOG_COUNT_MAX: i64 = 10_000;

/// Owns the slots and the wake machine.
pub(super) struct Coordinator {
    drain: Arc<Drain>,
    config: RelayConfig,
    wake: Wake,
    /// Connections of slots that have no batch.
    idle: Vec<Session>,
    batches: JoinSet<BatchEnd>,
    flag: FlagWork,
    /// The claim under way.
    claiming: Option<oneshot::Receiver<ClaimRead>>,
    /// Tenant after which the next claim starts.
    cursor: String,
    channels: ChannelPace,
    account: AccountPace,
    publisher: PublisherState,
    database: DatabaseState,
    summary: Summary,
    said: Summary,
    /// When a notification was last heard, or writers were last told not to ring: what is older has not been missed.
    heard: Option<Instant>,
    /// When the grace period is over.
    grace_ends: Option<Instant>,
    /// When to look for tenants that relays went down with.
    next_suspects: Instant,
    /// Told of the first time that notifications arrive.
    listening: CancellationToken,
    monitor: Monitor,
    /// The request to publish now that is being served.
    asked: Option<Asked>,
    /// What is paused, and when a claim is due because that ends.
    paused: PauseState,
}

impl Coordinator {
    pub(super) fn new(
        drain: Arc<Drain>,
        config: RelayConfig,
        first: Session,
        listening: CancellationToken,
        monitor: Monitor,
    ) -> Self {
        let (now, bell) = (Instant::now(), BellConfig::DEFAULT);
        let wake = Wake::new(config.wake, now);
        Self {
            listening,
            flag: FlagWork::new(Arc::clone(&drain), bell.term),
            monitor,
            asked: None,
            paused: PauseState::default(),
            drain,
            config,
            // A single run is over before anybody would miss the bell.
            wake: if config.once { wake } else { wake.with_bell(bell, now) },
            idle: vec![first],
            batches: JoinSet::new(),
            claiming: None,
            cursor: String::new(),
            channels: ChannelPace::new(config.channel_rate),
            account: AccountPace::new(Instant::now()),
            publisher: PublisherState::default(),
            database: DatabaseState::default(),
            summary: Summary::default(),
            said: Summary::default(),
            heard: None,
            grace_ends: None,
            next_suspects: Instant::now(),
        }
    }

    pub(super) async fn run(
        mut self,
        shutdown: CancellationToken,
        mut inputs: Inputs,
        mut listener: JoinSet<()>,
    ) -> Result<Summary, RelayError> {
        let mut next_summary = Instant::now() + SUMMARY_INTERVAL;
        loop {
            self.note();
            let until = match self.wake.poll(Instant::now()) {
                Action::Claim => {
                    self.start_batch();
                    continue;
                }
                Action::Flag(op) => {
                    self.flag.start(op);
                    continue;
                }
                Action::Finished => break,
                Action::SleepUntil(until) => until,
            };
            if self.config.once && self.wake.is_idle(Instant::now(), ONCE_PATIENCE) {
                self.wake.handle(Input::Stop, Instant::now());
                continue;
            }
            let grace_ends = self.grace_ends;
            tokio::select! {
                () = shutdown.cancelled(), if grace_ends.is_none() => self.stop(),
                () = sleep_until(grace_ends.unwrap_or(until)), if grace_ends.is_some() => break,
                read = wait_for(&mut self.claiming) => self.claim_read(read),
                Some(end) = self.batches.join_next() => self.batch_ended(end)?,
                answer = self.flag.ended() => self.flag_answered(answer),
                () = inputs.bell.notified() => {
                    self.heard = Some(Instant::now());
                    self.woken(WokenBy::Notification);
                }
                Some(input) = inputs.inbox.recv() => self.listener_said(input),
                Some(asked) = inputs.requests.recv(), if self.asked.is_none() => {
                    self.asked = Some(asked);
                    self.woken(WokenBy::Request);
                }
                change = inputs.adjusted.changed() => self.adjust(&change),
                () = patience(self.asked.as_ref()) => self.answer(),
                Some(end) = listener.join_next() => return Err(listener_ended(end)),
                () = sleep_until(next_summary) => {
                    next_summary += SUMMARY_INTERVAL;
                    self.say_summary();
                }
                () = sleep_until(until) => {}
            }
        }
        self.finish().await
    }

    fn start_batch(&mut self) {
        let (claimed, read) = oneshot::channel();
        let (drain, session) = (Arc::clone(&self.drain), self.idle.pop());
        let now = Instant::now();
        let limit = self.asked.as_mut().and_then(Asked::take);
        // A request's batch stays within its limit: what goes by itself is for the next one.
        let suspects = self.next_suspects <= now && limit.is_none();
        if suspects {
            self.next_suspects = now + self.config.wake.sweep_interval;
        }
        let by_sweep = self.wake.claim_is_swept();
        if by_sweep {
            self.drain.floor.with(Floor::woken);
        }
        let heard = self.heard;
        let (cursor, except) = (self.cursor.clone(), self.channels.exhausted(now));
        let interrupted = self.publisher.is_interrupted() && !self.config.once;
        // The one that starts is counted.
        let alone = self.wake.in_flight() == 1;
        let from =
            ClaimFrom { cursor, except, suspects, limit, by_sweep, heard, interrupted, alone };
        self.batches.spawn(drain.batch(session, from, claimed));
        self.claiming = Some(read);
        if let Some(next) = self.account.started(now) {
            self.wake.handle(Input::PaceUntil(next), now);
        }
    }

    /// A claim that failed drops its sender; the wake machine hears of it all the same.
    fn claim_read(&mut self, read: Option<ClaimRead>) {
        self.claiming = None;
        let Some(ClaimRead { more, found, last_tenant, again, paused }) = read else {
            return self.wake.handle(Input::ClaimFailed, Instant::now());
        };
        self.pauses(paused);
        self.more(more);
        if let Some(again) = again {
            self.wake.handle(Input::DueAt(again), Instant::now());
        }
        if let Some(tenant) = last_tenant {
            self.cursor.clear();
            self.cursor.push_str(tenant.as_str());
        }
        if self.wake.claim_is_swept() {
            self.summary.swept += u64::try_from(found).unwrap_or(u64::MAX);
        }
        self.wake.handle(Input::Claimed { more, found }, Instant::now());
    }

    fn batch_ended(&mut self, end: Result<BatchEnd, JoinError>) -> Result<(), RelayError> {
        let end = end.map_err(|e| RelayError::Internal(format!("a batch ended badly: {e}")))?;
        self.idle.extend(end.session);
        let now = Instant::now();
        let asked = self.asked.as_mut().filter(|_| end.limited);
        if asked.is_some_and(|asked| asked.ended(end.result.as_ref().ok())) {
            self.answer();
        }
        let progress = match end.result {
            Ok(report) => self.batch_reported(report, now)?,
            Err(error) => self.database_failed(error, now)?,
        };
        self.more(progress);
        self.wake.handle(Input::BatchEnded { progress }, now);
        Ok(())
    }

    fn batch_reported(&mut self, report: BatchReport, now: Instant) -> Result<bool, RelayError> {
        self.monitor.database_works();
        if let Some(down_for) = self.database.worked(now) {
            self.wake.handle(Input::Recovered, now);
            info!(down_s = down_for.as_secs(), "PostgreSQL can be worked with again");
        }
        if report.suspects_wait {
            self.next_suspects = now;
        }
        self.summary.published += u64::try_from(report.published).unwrap_or(u64::MAX);
        self.summary.failed += u64::try_from(report.failed).unwrap_or(u64::MAX);
        for tenant in &report.sent {
            if let Some(next) = self.channels.sent(tenant, now) {
                self.wake.handle(Input::DueAt(next), now);
            }
        }
        for wait in report.holds {
            self.wake.handle(Input::DueAt(now + wait), now);
        }
        match report.failure {
            Some(failure) => self.publisher_failed(&failure, now)?,
            None if report.accepted => {
                self.account.accepted(now);
                self.monitor.resumed();
                if let Some(down_for) = self.publisher.accepted(now) {
                    self.wake.handle(Input::Recovered, now);
                    info!(down_s = down_for.as_secs(), "Ably accepts events again");
                }
            }
            None => {}
        }
        Ok(report.progress)
    }

    fn publisher_failed(
        &mut self,
        failure: &PublishFailure,
        now: Instant,
    ) -> Result<(), RelayError> {
        let pause = self.publisher.failed(failure, now, fastrand::u64(..));
        self.monitor.interrupted(failure);
        if failure.class == FailureClass::ThrottledAccount {
            self.account.throttled(now);
        }
        if self.config.once && self.gives_up(failure) {
            return Err(RelayError::Publisher(failure.clone()));
        }
        if pause.say {
            let remedy = failure.class.remedy();
            let class = failure.class.as_str();
            if failure.class == FailureClass::Configuration {
                error!(class, remedy, "publishing is paused: {failure}");
            } else {
                warn!(class, remedy, "publishing is interrupted: {failure}");
            }
        }
        self.wake.handle(Input::PauseUntil(now + pause.wait), now);
        Ok(())
    }

    fn gives_up(&self, failure: &PublishFailure) -> bool {
        failure.class == FailureClass::Configuration
            || (failure.class == FailureClass::Outage
                && self.publisher.failures() >= ONCE_OUTAGES_MAX)
    }

    fn database_failed(&mut self, error: StoreError, now: Instant) -> Result<bool, RelayError> {
        if let StoreError::StatementLost(_) = error {
            // The store has told it, and new connections do without prepared statements.
            debug!(%error, "a connection is given up");
            self.wake.handle(Input::PauseUntil(now + STATEMENT_LOST_PAUSE), now);
            return Ok(true);
        }
        if self.config.once {
            return Err(error.into());
        }
        // Another server may answer next, which has lost what this one had committed.
        self.drain.floor.with(Floor::forget);
        self.monitor.database_failed(&error.to_string());
        let pause = self.database.failed(&error.to_string(), now);
        if pause.say {
            let remedy = error.remedy();
            if error.is_transient() {
                warn!(%error, remedy, "PostgreSQL cannot be worked with: {error}");
            } else {
                error!(%error, remedy, "PostgreSQL cannot be worked with: {error}");
            }
        } else {
            debug!(%error, "PostgreSQL still cannot be worked with");
        }
        self.wake.handle(Input::PauseUntil(now + pause.wait), now);
        Ok(true)
    }

    fn stop(&mut self) {
        self.grace_ends = Some(Instant::now() + self.config.grace);
        self.monitor.stopping();
        self.wake.handle(Input::Stop, Instant::now());
        info!(in_flight = self.wake.in_flight(), "stopping: no new claims");
    }

    fn say_summary(&mut self) {
        let published = self.summary.published - self.said.published;
        let failed = self.summary.failed - self.said.failed;
        let swept = self.summary.swept - self.said.swept;
        let untold = self.drain.telling.take_untold();
        let troubled = self.publisher.is_interrupted() || self.monitor.grade() == Grade::Failing;
        // A trouble is repeated as often; a line without it means that all is well, also when nothing is to be done.
        if !troubled || published + failed + untold > 0 {
            let in_flight = self.wake.in_flight();
            info!(
                published,
                failed, swept, in_flight, untold, "published {published} events in the last 30 s"
            );
        }
        self.said = self.summary;
    }

    async fn finish(mut self) -> Result<Summary, RelayError> {
        self.summary.abandoned_batches = self.batches.len();
        if !self.batches.is_empty() {
            warn!(
                batches = self.batches.len(),
                "the grace period is over; what was in flight stays pending and is repeated with the same ids"
            );
            self.batches.shutdown().await;
        }
        if self.config.once
            && let Some(session) = self.idle.pop()
        {
            self.summary.left = Some(session.backlog(BACKLOG_COUNT_MAX).await?);
        }
        let Summary { published, failed, swept, .. } = self.summary;
        info!(published, failed, swept, "relay stopped");
        Ok(self.summary)
    }
}

fn listener_ended(end: Result<(), JoinError>) -> RelayError {
    match end {
        Ok(()) => RelayError::Internal("the listener has ended".into()),
        Err(error) => RelayError::Internal(format!("the listener ended badly: {error}")),
    }
}
