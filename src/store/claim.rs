//! The drain transaction: claim, lock, settle. As long as it is open its tenants are ours; if we
//! die, PostgreSQL ends it and they are free at once.
//!
//! Ownership is in the types: [`Session::claim`] consumes the session and gives an [`OpenDrain`]; only
//! settling or rolling back gives the session back. Whoever drops an `OpenDrain` closes its connection.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::pause::Paused;
use super::session::{Session, answered};
use super::statement::{BEGIN, Statement};
use crate::domain::event::{Event, Seq, TenantId};
use crate::domain::message::Refusal;
use crate::domain::policy::OnFailed;

/// How much one claim takes.
#[derive(Debug, Clone, Copy)]
pub struct ClaimLimits {
    /// Tenants at most: Ably takes 100 channels in a request.
    pub tenants: i64,
    /// Events of one tenant at most.
    pub rows_per_tenant: i64,
    /// Bytes of one tenant at most; also the size beyond which an event's text is not fetched,
    /// because no message can hold it.
    pub bytes_per_tenant: i64,
    /// Whether to lock, in the same round trip, the event of each tenant that has only one.
    pub lock_lone: bool,
    /// Whether to try first if there is one pending event and no other: quicker when it is so, a round trip more
    /// when it is not. Only without a floor and without `traceparents`.
    pub lone_first: bool,
    /// Whether to read in which traces the events were written: only for those who forward them.
    pub traceparents: bool,
}

/// Where a claim begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// No pending event is below this position, but for those of recorded groups; 0 says nothing.
    pub floor: i64,
    /// As many rows from the floor on are read by position, to learn which tenants wait; 0 when there are
    /// known to be more.
    pub few: i64,
}

/// What a claim found.
#[derive(Debug)]
pub struct Claim {
    /// Each locked tenant that has something to publish, in the order of the claim.
    pub runs: Vec<Run>,
    /// All locked tenants; the last one is where the next claim starts.
    pub tenants: Vec<TenantId>,
    /// The server process that holds their locks.
    pub owner: LockOwner,
    /// What is paused, if anything is.
    pub paused: Option<Paused>,
    /// Rows that are locked already.
    pub locked: HashSet<Seq>,
    /// Whether [`ClaimLimits::lone_first`] was tried, and was enough.
    pub lone_first: Option<bool>,
}

/// A tenant that is sent by itself.
#[derive(Debug)]
pub struct Suspect {
    /// What it has in flight, or next.
    pub claim: Claim,
    /// How often in a row its events were in flight when a relay went down.
    pub crashes: i32,
    /// Whether the last try is so long ago that Ably no longer knows its message ids.
    pub ids_forgotten: bool,
}

/// PostgreSQL's process id of a drain's connection: a record is written only while it holds the tenant's
/// lock. Zero, which is no process, when nothing was locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockOwner(pub(super) i32);

/// The lowest pending events of one tenant, in order.
#[derive(Debug)]
pub struct Run {
    /// Whose.
    pub tenant_id: TenantId,
    /// The group that is recorded as in flight; then `events` are its events and nothing else.
    pub group: Option<RecordedGroup>,
    /// How often the tenant has been held in a row.
    pub hold_failures: i32,
    /// The tenant's own policy, if it has one.
    pub on_failed: Option<OnFailed>,
    /// Never empty.
    pub events: Vec<Claimed>,
}

/// A group that an earlier owner of the tenant may have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedGroup {
    /// Base of its message ids.
    pub base_id: String,
    /// How many events it has; fewer in [`Run::events`] means that somebody changed one.
    pub events: usize,
}

/// A pending event under its tenant's lock.
#[derive(Debug)]
pub struct Claimed {
    /// The event. Its texts are empty when `oversize` is set, but for id and tenant.
    pub event: Event,
    /// A row lock was taken on it before: it may have been sent alone, and is sent alone first.
    pub lock_trace: bool,
    /// Bytes of an event that was too large to fetch.
    pub oversize: Option<i64>,
    /// How long it has waited since its commit, or since it was written where PostgreSQL does not track
    /// commits. By the database's clock alone; `None` when the row's time is infinite.
    pub waited: Option<Duration>,
    /// Why it must not be published, where somebody has looked at its payload.
    pub invalid: Option<Refusal>,
}

/// An open drain transaction. Dropping it closes the connection: PostgreSQL rolls back.
#[derive(Debug)]
#[must_use = "settle it or roll it back; dropping it costs the connection"]
pub struct OpenDrain {
    pub(super) session: Session,
}

impl Session {
    /// Opens a drain transaction, locks tenants from the one after `cursor` on, and reads their
    /// lowest pending events. Tenants in `except` are passed over, and events below the floor of `start`.
    ///
    /// # Errors
    /// Any, with the connection dropped and so nothing claimed.
    pub async fn claim(
        self,
        cursor: &str,
        except: &[TenantId],
        limits: ClaimLimits,
        start: Start,
    ) -> Result<(OpenDrain, Claim), StoreError> {
        answered(async {
            let except = texts(except);
            let Start { floor, few } = start;
            let lone_first =
                (limits.lone_first && self.may_claim_lone && floor == 0).then_some(false);
            if lone_first.is_some()
                && let Some(claim) = self.claim_lone(&except, limits.bytes_per_tenant).await?
            {
                return Ok((OpenDrain { session: self }, claim));
            }
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&cursor, &limits.tenants, &except, &floor, &few];
            let ClaimLimits { rows_per_tenant, bytes_per_tenant, traceparents, .. } = limits;
            let read: [&(dyn ToSql + Sync); 5] =
                [&None::<&[&str]>, &rows_per_tenant, &bytes_per_tenant, &floor, &traceparents];
            // All travel in one round trip, each with a snapshot of its own; the first error is the one that
            // counts.
            let (begun, locked, rows, lone) = tokio::join!(
                self.begin_unless(lone_first.is_some()),
                self.query(Statement::LockTenants, &parameters),
                self.query(Statement::ReadRuns, &read),
                self.lock_lone(limits.lock_lone, floor),
            );
            begun?;
            let locked = locked?;
            let owner = locked.first().map(|row| row.try_get(1)).transpose()?.unwrap_or_default();
            let named: Result<Vec<Option<String>>, _> =
                locked.iter().map(|r| r.try_get(0)).collect();
            let (runs, paused) = (runs(&rows?)?, Paused::of(&locked)?);
            let tenants = named?.into_iter().flatten().map(TenantId::new).collect();
            let (owner, locked) = (LockOwner(owner), lone?);
            let claim = Claim { runs, tenants, owner, locked, paused, lone_first };
            Ok((OpenDrain { session: self }, claim))
        })
        .await
    }

    /// Opens a drain transaction and locks one tenant that [`Session::claim`] passes over because relays
    /// went down while its events were in flight; none that was tried within the last `round`.
    ///
    /// # Errors
    /// Any, with the connection dropped and so nothing claimed.
    pub async fn claim_suspect(
        self,
        round: Duration,
        limits: ClaimLimits,
    ) -> Result<(OpenDrain, Option<Suspect>), StoreError> {
        answered(async {
            let round = millis(round);
            let parameters: [&(dyn ToSql + Sync); 1] = [&round];
            let (begun, locked) =
                tokio::join!(self.begin(), self.query(Statement::LockSuspect, &parameters));
            begun?;
            let locked = locked?;
            let Some(row) = locked.first() else {
                return Ok((OpenDrain { session: self }, None));
            };
            let tenant: String = row.try_get(0)?;
            let runs = self.runs(std::slice::from_ref(&tenant), limits).await?;
            let owner = LockOwner(row.try_get(1)?);
            let suspect = Suspect {
                crashes: row.try_get(2)?,
                ids_forgotten: row.try_get(3)?,
                claim: Claim {
                    runs,
                    tenants: vec![TenantId::new(tenant)],
                    owner,
                    locked: HashSet::new(),
                    paused: None,
                    lone_first: None,
                },
            };
            Ok((OpenDrain { session: self }, Some(suspect)))
        })
        .await
    }

    /// Opens a drain transaction and claims what is to be claimed, if that is one event or nothing; nothing when
    /// it is not so simple, with the transaction open.
    async fn claim_lone(&self, except: &[&str], bytes: i64) -> Result<Option<Claim>, StoreError> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&except, &bytes];
        let (begun, rows) =
            tokio::join!(self.command(BEGIN), self.query(Statement::ClaimLone, &parameters));
        begun?;
        let rows = rows?;
        let row = rows.first().ok_or_else(|| StoreError::Unexpected("no answer".into()))?;
        let Some(found) = row.try_get::<_, Option<i32>>("events")? else { return Ok(None) };
        let (runs, owner) = match found {
            0 => (Vec::new(), LockOwner::default()),
            _ => (vec![new_run(row, claimed(row)?)?], LockOwner(row.try_get("owner")?)),
        };
        let tenants = runs.iter().map(|run| run.tenant_id.clone()).collect();
        let locked = runs.iter().flat_map(|run| &run.events).map(|c| c.event.seq).collect();
        Ok(Some(Claim { runs, tenants, owner, locked, paused: None, lone_first: Some(true) }))
    }

    async fn begin_unless(&self, begun: bool) -> Result<(), StoreError> {
        if begun { Ok(()) } else { self.begin().await }
    }

    /// Two statements without a round trip between them.
    async fn begin(&self) -> Result<(), StoreError> {
        let (begun, set) =
            tokio::join!(self.command(BEGIN), self.run(Statement::DrainSettings, &[]));
        begun.and(set)
    }

    async fn lock_lone(&self, wanted: bool, floor: i64) -> Result<HashSet<Seq>, StoreError> {
        if !wanted {
            return Ok(HashSet::new());
        }
        seqs_of(&self.query(Statement::LockLone, &[&floor]).await?)
    }

    async fn runs(&self, tenants: &[String], limits: ClaimLimits) -> Result<Vec<Run>, StoreError> {
        let ClaimLimits { rows_per_tenant, bytes_per_tenant, traceparents, .. } = limits;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&tenants, &rows_per_tenant, &bytes_per_tenant, &0_i64, &traceparents];
        runs(&self.query(Statement::ReadRuns, &parameters).await?)
    }
}

impl OpenDrain {
    /// Locks the rows that are about to be sent and returns those that could be had.
    ///
    /// # Errors
    /// Any; drop the drain then.
    pub async fn lock_rows(&self, seqs: &[Seq]) -> Result<HashSet<Seq>, StoreError> {
        let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        seqs_of(&answered(self.session.query(Statement::LockRows, &[&seqs])).await?)
    }

    /// Forgets the recorded groups of these tenants that can no longer be repeated as they were, and
    /// returns the tenants concerned.
    ///
    /// # Errors
    /// Any; drop the drain then.
    pub async fn abandon_groups(&self, tenants: &[TenantId]) -> Result<Vec<TenantId>, StoreError> {
        let tenants = texts(tenants);
        let rows = answered(self.session.query(Statement::AbandonGroups, &[&tenants])).await?;
        rows.iter().map(|row| Ok(TenantId::new(row.try_get::<_, String>(0)?))).collect()
    }

    /// Gives everything back unchanged.
    ///
    /// # Errors
    /// Any, with the connection dropped, which has the same effect.
    pub async fn roll_back(self) -> Result<Session, StoreError> {
        answered(self.session.command("rollback")).await?;
        Ok(self.session)
    }
}

fn seqs_of(rows: &[Row]) -> Result<HashSet<Seq>, StoreError> {
    rows.iter().map(|row| Ok(Seq(row.try_get(0)?))).collect()
}

/// Groups the rows of read_runs, which come in the order of their tenants. A run ends before an event of a
/// paused type: what stands behind it waits with it.
fn runs(rows: &[Row]) -> Result<Vec<Run>, StoreError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut ended: Option<&str> = None;
    for row in rows {
        let tenant: &str = row.try_get("tenant_id")?;
        if ended == Some(tenant) || row.try_get("paused")? {
            ended = Some(tenant);
            continue;
        }
        let claimed = claimed(row)?;
        match runs.last_mut() {
            Some(run) if run.tenant_id == claimed.event.tenant_id => run.events.push(claimed),
            _ => runs.push(new_run(row, claimed)?),
        }
    }
    Ok(runs)
}

fn new_run(row: &Row, first: Claimed) -> Result<Run, StoreError> {
    let base_id: Option<String> = row.try_get("base_id")?;
    let events: Option<i32> = row.try_get("group_events")?;
    let group = base_id.zip(events).map(|(base_id, events)| RecordedGroup {
        base_id,
        events: usize::try_from(events).unwrap_or_default(),
    });
    let on_failed: Option<&str> = row.try_get("on_failed")?;
    Ok(Run {
        tenant_id: first.event.tenant_id.clone(),
        group,
        hold_failures: row.try_get("hold_failures")?,
        on_failed: on_failed.and_then(OnFailed::named),
        events: vec![first],
    })
}

fn claimed(row: &Row) -> Result<Claimed, StoreError> {
    let payload: Option<String> = row.try_get("payload")?;
    let bytes: i64 = row.try_get("bytes")?;
    Ok(Claimed {
        lock_trace: row.try_get("lock_trace")?,
        oversize: payload.is_none().then_some(bytes),
        waited: waited(row.try_get("waited_ms")?),
        invalid: None,
        event: Event {
            seq: Seq(row.try_get("seq")?),
            id: row.try_get("id")?,
            tenant_id: TenantId::new(row.try_get::<_, String>("tenant_id")?),
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            event_type: row.try_get("event_type")?,
            payload: payload.unwrap_or_default(),
            headers: row.try_get("headers")?,
            traceparent: row.try_get("traceparent")?,
            occurred_at: row.try_get("occurred_at")?,
            payload_occurred_at: row.try_get("payload_occurred_at")?,
            created_at: row.try_get("created_at")?,
            attempts: row.try_get("attempts")?,
            generation: row.try_get("generation")?,
        },
    })
}

fn waited(ms: Option<f64>) -> Option<Duration> {
    Duration::try_from_secs_f64(ms?.max(0.0) / 1_000.0).ok()
}

pub(super) fn texts(tenants: &[TenantId]) -> Vec<&str> {
    tenants.iter().map(TenantId::as_str).collect()
}

pub(super) fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
