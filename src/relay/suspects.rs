//! Tenants whose events were in flight when a relay went down, several times in a row. One of their events
//! may be the reason (it exhausts the memory, it meets a defect), so they are sent one by one, after
//! everybody else, each in a transaction and a request of its own.
//!
//! A group that was in flight must be repeated whole as long as Ably may know its base: splitting it would
//! publish events twice. So only when that has brought relays down ten times the tenant waits until Ably has
//! forgotten, and then its events go one by one.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::drain::{BatchReport, Drain, With};
use super::plan::Part;
use crate::domain::event::TenantId;
use crate::domain::failure::HoldReason;
use crate::store::claim::{OpenDrain, Suspect};
use crate::store::error::StoreError;
use crate::store::session::Session;
use crate::store::settle::{Hold, Settlement};

/// Crashes in a row from which on a tenant is sent by itself. `lock_tenants.sql` and `lock_suspect.sql` say
/// the same number.
pub(super) const SUSPECT_CRASHES: i32 = 3;

/// Crashes in a row from which on a tenant waits between two tries, and a group is split.
const SPLIT_CRASHES: i32 = 10;

/// How long it waits then. Ably knows ids for 120 s; `lock_suspect.sql` asks for 150 s since the last try.
const SPLIT_WAIT: Duration = Duration::from_secs(160);

/// Tenants that one round sends at most; the next round begins with those that waited longest.
const ROUND_MAX: usize = 100;

impl Drain {
    /// Sends the tenants that are sent by themselves, those first that were not tried for longest.
    pub(super) async fn suspects(
        &self,
        mut session: Session,
        mut report: BatchReport,
    ) -> Result<(Session, BatchReport), StoreError> {
        let started = Instant::now();
        report.suspects_wait = false;
        for _ in 0..ROUND_MAX {
            let (open, found) =
                session.claim_suspect(started.elapsed(), self.appetite.limits()).await?;
            let Some(suspect) = found else {
                return Ok((open.roll_back().await?, report));
            };
            let one = if suspect.crashes >= SPLIT_CRASHES {
                self.hold_or_split(open, suspect).await?
            } else {
                self.publish_claim(open, suspect.claim, With::Nobody, Instant::now()).await?
            };
            session = one.0;
            // An outage: the rest would meet it too.
            if report.absorb(one.1) {
                break;
            }
        }
        Ok((session, report))
    }

    /// What has brought relays down so often is tried no more than every few minutes, and then alone.
    async fn hold_or_split(
        &self,
        open: OpenDrain,
        suspect: Suspect,
    ) -> Result<(Session, BatchReport), StoreError> {
        let Suspect { claim, crashes, ids_forgotten } = suspect;
        let (Some(tenant_id), Some(run)) = (claim.tenants.first().cloned(), claim.runs.first())
        else {
            return self.publish_claim(open, claim, With::Nobody, Instant::now()).await;
        };
        let mut settlement = Settlement::default();
        let mut report = BatchReport { progress: true, ..BatchReport::default() };
        if !ids_forgotten {
            let first =
                run.events.first().map(|claimed| claimed.event.id.as_str()).unwrap_or_default();
            let message = format!(
                "relays went down {crashes} times while events of this tenant were in flight; its first \
                 pending event is {first}"
            );
            warn!(tenant_id = %tenant_id, remedy = HoldReason::Crashes.remedy(), "tenant {tenant_id} is on hold: {message}");
            let (wait, reason) = (SPLIT_WAIT, HoldReason::Crashes);
            report.holds.push(wait);
            settlement.holds.push(Hold { tenant_id, wait, first: false, reason, message });
        } else if run.group.is_some() {
            warn!(
                tenant_id = %tenant_id,
                "the group of tenant {tenant_id} that was in flight at {crashes} crashes is split; if Ably had \
                 accepted it, subscribers have to dedupe by the envelope's id"
            );
            settlement.forget_groups.push(tenant_id);
        } else {
            return self.publish_claim(open, claim, With::Nobody, Instant::now()).await;
        }
        Ok((open.settle(&settlement).await?, report))
    }

    /// Counts the crashes of what is sent again, committed before it is. Parts that are to go by themselves
    /// are taken out, unless they do. Returns whether there were any.
    pub(super) async fn count_crashes(
        &self,
        parts: &mut Vec<Part>,
        with: With,
    ) -> Result<bool, StoreError> {
        let repeated: Vec<TenantId> =
            parts.iter().filter(|part| part.repeated).map(|part| part.tenant_id.clone()).collect();
        if repeated.is_empty() {
            return Ok(false);
        }
        let counts = match self.side.get().await?.count_crashes(&repeated).await {
            Ok(counts) => counts,
            Err(error) => {
                self.side.forget().await;
                return Err(error);
            }
        };
        if with == With::Nobody {
            return Ok(false);
        }
        let before = parts.len();
        parts.retain(|part| {
            let crashes = counts.get(&part.tenant_id).copied().unwrap_or_default();
            if part.repeated && crashes >= SUSPECT_CRASHES {
                warn!(
                    tenant_id = %part.tenant_id,
                    "relays went down {crashes} times while events of tenant {} were in flight; it is sent by \
                     itself until that has an outcome", part.tenant_id
                );
                return false;
            }
            true
        });
        Ok(parts.len() < before)
    }
}

impl BatchReport {
    /// Adds what another batch did on the same connection. Returns whether that met a failure of the whole
    /// publisher.
    fn absorb(&mut self, other: Self) -> bool {
        self.published += other.published;
        self.failed += other.failed;
        self.claimed += other.claimed;
        self.sent.extend(other.sent);
        self.progress |= other.progress;
        self.accepted |= other.accepted;
        self.holds.extend(other.holds);
        let failed = other.failure.is_some();
        self.failure = self.failure.take().or(other.failure);
        failed
    }
}
