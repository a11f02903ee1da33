//! What the relay counts and measures. Every number is a step of memory: nothing here waits, and nothing
//! grows with tenants. What each metric means to an operator is in `docs/metrics.md`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use self::labels::{
    BreakerLabels, FailedLabels, NameBook, ResultLabels, ScopeLabels, StageLabels, TypeLabels,
    WakeLabels,
};
use self::observed::Observed;
use self::seen::Seen;
use super::recent::Recent;
use super::tally::Counts;
use crate::ably::SpecResult;
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::store::claim::Claim;
use crate::store::observe::Observation;
use crate::store::settle::Settlement;

mod labels;
mod observed;
mod seen;

pub use self::labels::WAKE_REASONS;
pub(super) use self::labels::{Stage, WokenBy};
pub(super) use self::seen::Seen as SeenEvents;

/// Buckets of latencies, in seconds: from the 1 ms of a local round trip to the 300 s beyond which the backlog
/// is critical. The objective is 5 s.
const LATENCY_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Buckets of a stage: it ends by its own time-outs, at most 45 s.
const STAGE_BUCKETS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
    30.0,
];

/// Everything that is counted. Shared by the parts of one relay.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    names: NameBook,
    codes: NameBook,
    published: Family<TypeLabels, Counter>,
    failed: Family<FailedLabels, Counter>,
    latency: Histogram,
    stages: Family<StageLabels, Histogram, fn() -> Histogram>,
    publishes: Family<ResultLabels, Counter>,
    throttled: Family<ScopeLabels, Counter>,
    wakeups: Family<WakeLabels, Counter>,
    swept: Counter,
    listener_up: Gauge,
    listener_losses: Counter,
    canary: Gauge<f64, std::sync::atomic::AtomicU64>,
    breaker: Family<BreakerLabels, Gauge>,
    breaker_opened: Family<BreakerLabels, Counter>,
    batches_in_flight: Gauge,
    events_in_flight: Gauge,
    database_failures: Counter,
    observed: Arc<Observed>,
    counts: Mutex<Counts>,
    pub(super) recent: Recent,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("outbox_relay"),
            names: NameBook::default(),
            codes: NameBook::default(),
            published: Family::default(),
            failed: Family::default(),
            latency: Histogram::new(LATENCY_BUCKETS),
            stages: Family::new_with_constructor(|| Histogram::new(STAGE_BUCKETS)),
            publishes: Family::default(),
            throttled: Family::default(),
            wakeups: Family::default(),
            swept: Counter::default(),
            listener_up: Gauge::default(),
            listener_losses: Counter::default(),
            canary: Gauge::default(),
            breaker: Family::default(),
            breaker_opened: Family::default(),
            batches_in_flight: Gauge::default(),
            events_in_flight: Gauge::default(),
            database_failures: Counter::default(),
            observed: Arc::default(),
            counts: Mutex::default(),
            recent: Recent::default(),
        };
        all.name_events();
        all.name_work();
        all.name_parts();
        all.begin_at_zero();
        all
    }

    fn name_events(&mut self) {
        let r = &mut self.registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program's version", version);
        r.register(
            "events_published",
            "Events that Ably accepted and that are settled, by event type (100 of them, then \"other\")",
            self.published.clone(),
        );
        r.register(
            "events_failed",
            "Events failed for good, by event type, error code and Ably's own code",
            self.failed.clone(),
        );
        r.register_with_unit(
            "commit_to_accepted",
            "Time from an event's commit (from its insertion, unless track_commit_timestamp is on) to Ably's acceptance",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    fn name_work(&mut self) {
        let r = &mut self.registry;
        r.register_with_unit(
            "stage_duration",
            "Time that each stage of a batch took",
            Unit::Seconds,
            self.stages.clone(),
        );
        r.register("publishes", "Publishes to one channel, by result", self.publishes.clone());
        r.register(
            "throttled",
            "Publishes that Ably refused because a rate was exceeded, by whose rate",
            self.throttled.clone(),
        );
        r.register("wakeups", "Reasons to look at the outbox", self.wakeups.clone());
        r.register(
            "sweep_found_events",
            "Events that waited for over a second while LISTEN was up until the sweep found them: their notification got lost",
            self.swept.clone(),
        );
        r.register("batches_in_flight", "Batches under way", self.batches_in_flight.clone());
        r.register(
            "events_in_flight",
            "Events that are locked and on their way to Ably",
            self.events_in_flight.clone(),
        );
    }

    fn name_parts(&mut self) {
        let r = &mut self.registry;
        r.register("listener_up", "1 while notifications arrive", self.listener_up.clone());
        r.register("listener_losses", "How often LISTEN was lost", self.listener_losses.clone());
        r.register_with_unit(
            "canary_round_trip",
            "Time that the last notification to ourselves took; 0 before the first",
            Unit::Seconds,
            self.canary.clone(),
        );
        r.register(
            "breaker_open",
            "1 while publishing as a whole is interrupted, by class of the failure",
            self.breaker.clone(),
        );
        r.register(
            "breaker_opened",
            "How often publishing as a whole was interrupted, by class of the failure",
            self.breaker_opened.clone(),
        );
        r.register(
            "database_failures",
            "Batches that PostgreSQL did not let through",
            self.database_failures.clone(),
        );
        r.register_collector(Box::new(Arc::clone(&self.observed)));
    }

    /// A counter that appears with its first event hides that event from `increase()`: what has a fixed set
    /// of labels is there from the start.
    fn begin_at_zero(&self) {
        for by in WokenBy::ALL {
            drop(self.wakeups.get_or_create(&by.into()));
        }
        for class in BREAKERS {
            drop(self.breaker.get_or_create(&class.into()));
            drop(self.breaker_opened.get_or_create(&class.into()));
        }
        for scope in ["channel", "account"] {
            drop(self.throttled.get_or_create(&ScopeLabels { scope }));
        }
        drop(self.publishes.get_or_create(&ResultLabels { result: ACCEPTED }));
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail.
        _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// What the last look at the database has seen; `None` when it failed: numbers that are not known are
    /// left out, for old ones would look true.
    pub(super) fn observed(&self, observation: Option<Observation>) {
        self.observed.set(observation);
    }

    /// Remembers the events of a claim until they are settled.
    pub(super) fn claimed(&self, claim: &Claim, began: Instant) -> Seen {
        Seen::of(claim, &self.names, began, self.recent.reason(began))
    }

    /// What the last look at the database has seen.
    pub(super) fn observation(&self) -> Option<Observation> {
        self.observed.get()
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process says of itself at this moment.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            canary_seconds: Some(self.canary.get()).filter(|seconds| *seconds > 0.0),
            batches_in_flight: self.batches_in_flight.get(),
            events_in_flight: self.events_in_flight.get(),
            listener_losses: self.listener_losses.get(),
            database_failures: self.database_failures.get(),
        }
    }

    /// Counts the events of a claim that nobody has rung for; `heard_ago` is when anybody rang at all.
    pub(super) fn found_by_sweep(&self, claim: &Claim, heard_ago: Option<Duration>) {
        let overdue = seen::overdue(claim, heard_ago);
        self.swept.inc_by(overdue);
        self.counts().swept += overdue;
    }

    /// Counts what was committed.
    pub(super) fn settled(&self, seen: &Seen, settlement: &Settlement) {
        for (name, count) in seen.by_type(&settlement.published) {
            self.published.get_or_create(&TypeLabels { event_type: name }).inc_by(count);
        }
        for (seq, refusal) in &settlement.failed {
            let ably_code = refusal.ably_code.map(|code| self.codes.name(&code.to_string()));
            let labels = FailedLabels {
                event_type: seen.event_type(*seq),
                code: refusal.code.as_str(),
                ably_code: ably_code.unwrap_or_default(),
            };
            self.failed.get_or_create(&labels).inc();
            let FailedLabels { ably_code, code, .. } = &labels;
            self.counts().failed_with(if ably_code.is_empty() { code } else { ably_code });
        }
        let mut counts = self.counts();
        counts.published += u64::try_from(settlement.published.len()).unwrap_or(u64::MAX);
        for waited in seen.latencies(&settlement.published) {
            self.latency.observe(waited.as_secs_f64());
            counts.waited(waited);
        }
        drop(counts);
        let published = settlement.published.iter().map(|seq| (*seq, false));
        let failed = settlement.failed.iter().map(|(seq, _)| (*seq, true));
        let events = published.chain(failed).map(|(seq, f)| (seq, seen.waited(seq), f));
        self.recent.settled(seen.stages(), events);
    }

    /// Counts what Ably answered, one result a channel.
    pub(super) fn answered(&self, results: &[SpecResult]) {
        for result in results {
            let name = result.as_ref().map_or_else(|failure| failure.class.as_str(), |_| ACCEPTED);
            self.publishes.get_or_create(&ResultLabels { result: name }).inc();
            if result.as_ref().is_err_and(|f| f.class == FailureClass::ThrottledChannel) {
                self.throttled.get_or_create(&ScopeLabels { scope: "channel" }).inc();
                self.counts().throttled_channel += 1;
            }
        }
    }

    pub(super) fn stage(&self, stage: Stage, took: Duration) {
        self.stages.get_or_create(&stage.into()).observe(took.as_secs_f64());
    }

    pub(super) fn woken(&self, by: WokenBy) {
        self.wakeups.get_or_create(&by.into()).inc();
        self.counts().woken[by.place()] += 1;
        self.recent.woken(by);
    }

    pub(super) fn listener(&self, up: bool) {
        if self.listener_up.set(i64::from(up)) == 1 && !up {
            self.listener_losses.inc();
        }
    }

    pub(super) fn canary(&self, round_trip: Duration) {
        self.canary.set(round_trip.as_secs_f64());
    }

    /// Publishing as a whole is interrupted.
    pub(super) fn interrupted(&self, failure: &PublishFailure) {
        if failure.class == FailureClass::ThrottledAccount {
            self.throttled.get_or_create(&ScopeLabels { scope: "account" }).inc();
            self.counts().throttled_account += 1;
        }
        for class in BREAKERS {
            let open = i64::from(class == failure.class);
            if self.breaker.get_or_create(&class.into()).set(open) == 0 && open == 1 {
                self.breaker_opened.get_or_create(&class.into()).inc();
            }
        }
    }

    /// Ably accepts again.
    pub(super) fn resumed(&self) {
        for class in BREAKERS {
            self.breaker.get_or_create(&class.into()).set(0);
        }
    }

    pub(super) fn batches_in_flight(&self, batches: usize) {
        self.batches_in_flight.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    /// Counts events as in flight until the guard is dropped, however the batch ends.
    pub(super) fn sending(&self, events: usize) -> Sending {
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.events_in_flight.inc_by(events);
        Sending { gauge: self.events_in_flight.clone(), events }
    }

    pub(super) fn database_failed(&self) {
        self.database_failures.inc();
    }
}

/// What a relay says of itself at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gauges {
    /// Time that the last notification to ourselves took; `None` before the first.
    pub canary_seconds: Option<f64>,
    /// Batches under way.
    pub batches_in_flight: i64,
    /// Events on their way to Ably.
    pub events_in_flight: i64,
    /// How often LISTEN was lost.
    pub listener_losses: u64,
    /// Batches that PostgreSQL did not let through.
    pub database_failures: u64,
}

/// Events on their way.
#[derive(Debug)]
pub(super) struct Sending {
    gauge: Gauge,
    events: i64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.gauge.dec_by(self.events);
    }
}

/// The classes of failure that interrupt publishing as a whole.
const BREAKERS: [FailureClass; 3] =
    [FailureClass::Outage, FailureClass::ThrottledAccount, FailureClass::Configuration];

const ACCEPTED: &str = "accepted";

#[cfg(test)]
mod tests;
