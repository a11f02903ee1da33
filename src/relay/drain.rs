//! One batch: claim, publish, settle. The only way a row leaves `pending`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::appetite::Appetite;
use super::asked::cut;
use super::fan_out::FanOut;
use super::fault_point::{self, Step};
use super::floor_work::FloorWork;
use super::inspection;
use super::metrics::{Metrics, SeenEvents, Stage};
use super::outcome;
use super::plan::{Part, Plan, PlanLimits, Publication, plan, record_of};
use super::requests;
use super::row_locks::keep_lockable;
use super::side_session::SideSession;
use super::telling::Telling;
use super::traces::Traces;
use crate::ably::{Client, SpecResult};
use crate::domain::event::TenantId;
use crate::domain::failure::PublishFailure;
use crate::registry::validation::Validation;
use crate::store::claim::{Claim, LockOwner, OpenDrain};
use crate::store::error::StoreError;
use crate::store::pause::Paused;
use crate::store::session::{NewGroup, Session, Store};
use crate::store::settle::Settlement;
use crate::telemetry::Telemetry;

/// What every batch needs.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) store: Store,
    pub(super) side: SideSession,
    pub(super) ably: Arc<Client>,
    pub(super) appetite: Appetite,
    pub(super) floor: FloorWork,
    pub(super) plan_limits: PlanLimits,
    pub(super) publication: Publication,
    pub(super) fan_out: FanOut,
    pub(super) metrics: Arc<Metrics>,
    pub(super) validation: Validation,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) telling: Telling,
}

/// Where a claim looks.
#[derive(Debug)]
pub(super) struct ClaimFrom {
    /// Tenant after which it starts.
    pub(super) cursor: String,
    /// Tenants whose channel is at its rate.
    pub(super) except: Vec<TenantId>,
    /// Whether to look afterwards for tenants that relays went down with.
    pub(super) suspects: bool,
    /// Publishes at most so many events, when somebody has asked for that.
    pub(super) limit: Option<usize>,
    /// Only the sweep has asked for it, while notifications arrive.
    pub(super) by_sweep: bool,
    /// When a notification was last heard, or writers were last told not to ring.
    pub(super) heard: Option<Instant>,
    /// Publishing was interrupted, and nothing has been accepted since.
    pub(super) interrupted: bool,
    /// No other batch is under way, whose events would be pending too.
    pub(super) alone: bool,
}

/// A claim has read: told before the batch is published, so that the next claim can start.
#[derive(Debug)]
pub(super) struct ClaimRead {
    /// Whether it stopped at its limit of tenants.
    pub(super) more: bool,
    /// Events that it found.
    pub(super) found: usize,
    /// Where the next claim starts, if this one found anybody.
    pub(super) last_tenant: Option<TenantId>,
    /// What is paused, if anything is.
    pub(super) paused: Option<Paused>,
    /// When to claim again in any case.
    pub(super) again: Option<Instant>,
}

/// Who else's events travel with a claim's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// Up to a hundred tenants together.
    Others,
    /// One tenant that relays went down with.
    Nobody,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) struct BatchEnd {
    /// The connection, unless it is spent.
    pub(super) session: Option<Session>,
    /// Whether it was limited because somebody has asked for so many events.
    pub(super) limited: bool,
    /// What it did, or why PostgreSQL would not let it.
    pub(super) result: Result<BatchReport, StoreError>,
}

/// What a batch did.
#[derive(Debug, Default)]
pub(super) struct BatchReport {
    /// Events accepted by Ably and settled.
    pub(super) published: usize,
    /// Events failed for good.
    pub(super) failed: usize,
    /// Events that were claimed.
    pub(super) claimed: usize,
    /// Tenants to whose channel something was sent.
    pub(super) sent: Vec<TenantId>,
    /// Whether the tenants of this batch may have more to do at once.
    pub(super) progress: bool,
    /// Whether Ably accepted anything.
    pub(super) accepted: bool,
    /// A failure that concerns the whole publisher.
    pub(super) failure: Option<PublishFailure>,
    /// Whether there are tenants that have to be sent by themselves, and have not been looked for.
    pub(super) suspects_wait: bool,
    /// How long the tenants put on hold have to wait.
    pub(super) holds: Vec<Duration>,
}

impl Drain {
    /// Runs one batch from claim to settlement.
    pub(super) async fn batch(
        self: Arc<Self>,
        session: Option<Session>,
        from: ClaimFrom,
        claimed: oneshot::Sender<ClaimRead>,
    ) -> BatchEnd {
        let limited = from.limit.is_some();
        match self.claim_and_publish(session, &from, claimed).await {
            Ok((session, report)) => {
                BatchEnd { session: Some(session), limited, result: Ok(report) }
            }
            Err(error) => BatchEnd { session: None, limited, result: Err(error) },
        }
    }

    async fn claim_and_publish(
        &self,
        session: Option<Session>,
        from: &ClaimFrom,
        claimed: oneshot::Sender<ClaimRead>,
    ) -> Result<(Session, BatchReport), StoreError> {
        let session = match session {
            Some(session) if !session.is_closed() => session,
            _ => self.store.session().await?,
        };
        fault_point::pass(Step::BeforeClaim);
        let mut limits = self.appetite.limits();
        // What is cut from a claim must not have been locked: it would look sent.
        limits.lock_lone &= from.limit.is_none() && !self.telemetry.is_on();
        limits.lone_first &= limits.lock_lone && from.alone && !limits.traceparents;
        let begun = Instant::now();
        let start = self.floor.with(|floor| floor.start());
        let (open, mut claim) = session.claim(&from.cursor, &from.except, limits, start).await?;
        let took = begun.elapsed();
        self.metrics.stage(Stage::Claim, took);
        // By the database's clock; one number a batch, like every stage. The first event of a tenant is its oldest.
        if let Some(waited) = claim.runs.iter().filter_map(|run| run.events.first()?.waited).max() {
            self.metrics.stage(Stage::Wait, waited);
        }
        self.appetite.learn(&claim, limits);
        let full = i64::try_from(claim.tenants.len()).is_ok_and(|n| n >= limits.tenants);
        // Nobody waits for it any more when the relay is stopping.
        let found = claim.runs.iter().map(|run| run.events.len()).sum();
        self.floor.with(|floor| floor.claim_took(took, found, Instant::now()));
        let last_tenant = claim.tenants.last().cloned();
        let again = self.floor.with(|floor| floor.claimed(found));
        let paused = claim.paused;
        _ = claimed.send(ClaimRead { more: full, found, last_tenant, again, paused });
        let was_cut = from.limit.is_some_and(|limit| cut(&mut claim, limit));
        // A relay that is awake has told writers not to ring; what it could not publish then has not been missed.
        if from.by_sweep && !from.interrupted {
            self.metrics.found_by_sweep(&claim, from.heard.map(|at| at.elapsed()));
        }
        let work = async {
            if claim.tenants.is_empty() {
                self.nothing_claimed(open.roll_back().await?, from).await
            } else {
                self.publish_claim(open, claim, With::Others, begun).await
            }
        };
        // Nobody has to wait for an answer who has asked for so many events.
        let ask = async { from.limit.is_none() && self.floor.ask(&self.store).await };
        let (done, waits_below) = tokio::join!(Box::pin(work), Box::pin(ask));
        let (session, mut report) = done?;
        report.progress |= was_cut | waits_below;
        // Everybody else first: one of them may be the reason why relays go down.
        if from.suspects && full {
            report.suspects_wait = true;
        } else if from.suspects {
            return self.suspects(session, report).await;
        }
        Ok((session, report))
    }

    /// Publishes and settles what was claimed.
    pub(super) async fn publish_claim(
        &self,
        open: OpenDrain,
        mut claim: Claim,
        with: With,
        begun: Instant,
    ) -> Result<(Session, BatchReport), StoreError> {
        fault_point::pass(Step::AfterClaim);
        let mut report = BatchReport::default();
        let suspects = without_rows(&claim);
        let bytes_max = self.plan_limits.message_bytes_max;
        if self.publication.format.links.is_some() {
            open.name_oversize(&mut claim.runs, bytes_max).await?;
        }
        let mut seen = self.metrics.claimed(&claim, begun);
        seen.name(open.oversize_types(&claim.runs, bytes_max).await?, &self.metrics);
        report.claimed = seen.events();
        let encoding = Instant::now();
        inspection::inspect(&self.validation, &mut claim.runs);
        let new_base = || uuid::Uuid::now_v7().to_string();
        let mut plan = plan(claim.runs, self.plan_limits, &self.publication, new_base);
        self.metrics.stage(Stage::Encode, encoding.elapsed());
        plan.large.iter().for_each(|(id, bytes)| self.telling.large(id, *bytes));
        report.progress |= self.abandon(&open, &plan, suspects).await?;
        self.record(&mut plan.parts, claim.owner).await?;
        report.suspects_wait = self.count_crashes(&mut plan.parts, with).await?;
        // Before the statement: from its answer on nobody tells us when the lock ends.
        let locking = Instant::now();
        let lockable =
            keep_lockable(&open, &self.telemetry, &mut plan.parts, &claim.locked, begun).await?;
        let (locked, traces) = match lockable {
            Some(traces) => {
                self.metrics.stage(Stage::Lock, locking.elapsed());
                (locking, traces)
            }
            None => (begun, Traces::default()),
        };
        fault_point::pass(Step::BeforeRequest);
        plan.parts.iter().flat_map(|p| &p.spec.messages).for_each(|m| fault_point::send(&m.name));

        let results = self.send(&plan.parts, locked, &traces, &mut seen).await;
        let mut settlement = Settlement {
            failed: std::mem::take(&mut plan.refused),
            blocking: std::mem::take(&mut plan.blocking),
            forget_groups: std::mem::take(&mut plan.forget),
            ..Settlement::default()
        };
        apply_answers(&mut settlement, &mut report, &plan.parts, &results);
        report.sent = plan.parts.iter().map(|part| part.tenant_id.clone()).collect();
        report.published = settlement.published.len();
        report.failed = settlement.failed.len();
        report.holds = settlement.holds.iter().map(|hold| hold.wait).collect();
        report.progress |= !settlement.is_empty();
        fault_point::pass(Step::BeforeSettle);
        let settling = Instant::now();
        let unchanged = settlement.is_empty() && settlement.uncount_crashes.is_empty();
        let session = if unchanged && !report.progress {
            open.roll_back().await?
        } else {
            open.settle(&settlement).await?
        };
        fault_point::pass(Step::AfterSettle);
        self.metrics.stage(Stage::Settle, settling.elapsed());
        self.metrics.settled(&seen, &settlement);
        self.telling.settled(&settlement);
        Ok((session, report))
    }

    /// Forgets recorded groups that can no longer be repeated. Returns whether there were any.
    async fn abandon(
        &self,
        open: &OpenDrain,
        plan: &Plan,
        mut suspects: Vec<TenantId>,
    ) -> Result<bool, StoreError> {
        suspects.extend(plan.broken.iter().cloned());
        if suspects.is_empty() {
            return Ok(false);
        }
        let abandoned = open.abandon_groups(&suspects).await?;
        abandoned.iter().for_each(|tenant| self.telling.regrouped(tenant));
        Ok(!abandoned.is_empty())
    }

    async fn send(
        &self,
        parts: &[Part],
        locked: Instant,
        traces: &Traces,
        seen: &mut SeenEvents,
    ) -> Vec<SpecResult> {
        if parts.is_empty() {
            return Vec::new();
        }
        let _sending = self.metrics.sending(parts.iter().map(|part| part.seqs.len()).sum());
        let begun = Instant::now();
        seen.sending();
        let results = requests::publish(self, parts, locked, traces).await;
        self.metrics.stage(Stage::Publish, begun.elapsed());
        self.metrics.answered(&results);
        seen.answered();
        results
    }

    /// Commits the composition of new groups, and drops those that are on record differently.
    async fn record(&self, parts: &mut Vec<Part>, owner: LockOwner) -> Result<(), StoreError> {
        let groups: Vec<NewGroup> = parts.iter().filter_map(record_of).collect();
        if groups.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let recorded = match self.side.get().await?.record_groups(&groups, owner).await {
            Ok(recorded) => recorded,
            Err(error) => {
                self.side.forget().await;
                return Err(error);
            }
        };
        fault_point::pass(Step::AfterRecord);
        self.metrics.stage(Stage::Record, begun.elapsed());
        parts.retain(|part| record_of(part).is_none() || recorded.contains(&part.tenant_id));
        Ok(())
    }
}

/// Tenants that were locked but brought no rows: their recorded group may have lost all its events.
fn without_rows(claim: &Claim) -> Vec<TenantId> {
    let with: HashSet<&TenantId> = claim.runs.iter().map(|run| &run.tenant_id).collect();
    claim.tenants.iter().filter(|tenant| !with.contains(tenant)).cloned().collect()
}

/// What Ably's answers mean for the rows, and for the circuit.
fn apply_answers(
    settlement: &mut Settlement,
    report: &mut BatchReport,
    parts: &[Part],
    results: &[SpecResult],
) {
    report.accepted = results.iter().any(Result::is_ok);
    for (part, result) in parts.iter().zip(results) {
        if part.repeated {
            outcome::answer_crashes(settlement, part, result);
        }
        match outcome::apply(settlement, part, result, fastrand::u64(..)) {
            // Others of the same request were accepted, so it is this channel that has trouble.
            Some(failure) if report.accepted && outcome::may_be_local(failure) => {
                outcome::hold_back(settlement, part, failure, fastrand::u64(..));
            }
            Some(failure) => report.failure = Some(failure.clone()),
            None => {}
        }
    }
}
