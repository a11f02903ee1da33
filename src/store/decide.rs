//! What an operator's command changes: failed events are requeued or discarded, holds released. One
//! transaction a tenant, under the very lock that a drain takes, with a row of audit in each.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::error::StoreError;
use super::operator::{Operator, Work};
use super::operator_statement as sql;
use super::session::answered;
use crate::domain::event::{Seq, TenantId};

/// How often a tenant's lock is waited for, 15 s each: a drain has it for 30 s at most.
const LOCK_TRIES: u32 = 3;

/// What to do with failed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Publish them once more, under a new message id.
    Requeue {
        /// Those that were discarded, too.
        discarded: bool,
    },
    /// Never publish them; they stay as they are, with the decision noted.
    Discard,
}

impl Decision {
    fn action(self) -> &'static str {
        match self {
            Self::Requeue { .. } => "requeue",
            Self::Discard => "discard",
        }
    }
}

/// On whose account something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub actor: String,
    /// The same for everything that one command does.
    pub operation: String,
    /// What was asked for, as JSON text, when it was not single ids.
    pub filter: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What a decision changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// Events changed, in order; fewer than asked for when somebody else was faster.
    pub changed: Vec<Seq>,
    /// The tenant was blocked, and goes on.
    pub released: bool,
    /// The tenant is blocked, for other failed events of it are left to decide about.
    pub still_blocked: bool,
}

/// A tenant on hold. Serialised it is one line of `holds list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldTenant {
    /// Who.
    pub tenant_id: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; `None` is until somebody acts.
    pub until: Option<String>,
    /// Whether that is still to come; otherwise its next event is being tried.
    pub waiting: bool,
    /// Why, in a word.
    pub reason: String,
    /// How often in a row.
    pub failures: i32,
    /// Pending events, counted up to the limit asked for.
    pub backlog: i64,
    /// Why, in words.
    pub message: String,
}

impl Operator {
    /// Carries out a decision about failed events of one tenant, and ends the tenant's block when none
    /// is left to decide about.
    ///
    /// # Errors
    /// Any, with nothing changed.
    pub async fn decide(
        &mut self,
        decision: Decision,
        tenant: &TenantId,
        seqs: &[Seq],
        account: &Account,
    ) -> Result<Decided, StoreError> {
        let mut tries = 1;
        loop {
            match self.decide_once(decision, tenant, seqs, account).await {
                Err(StoreError::Database(error))
                    if error.code() == &SqlState::LOCK_NOT_AVAILABLE && tries < LOCK_TRIES =>
                {
                    tries += 1;
                    tracing::info!(tenant_id = %tenant, "waiting until tenant {tenant} is not being published to");
                }
                result => return result,
            }
        }
    }

    async fn decide_once(
        &mut self,
        decision: Decision,
        tenant: &TenantId,
        seqs: &[Seq],
        account: &Account,
    ) -> Result<Decided, StoreError> {
        let (name, schema) = (tenant.as_str(), self.schema.clone());
        let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        let work = answered(self.begin()).await?;
        answered(work.query(&sql::LOCK_TENANT, &[&name])).await?;
        answered(async {
            let changed = match decision {
                Decision::Requeue { discarded } => {
                    work.query(&sql::REQUEUE_ROWS, &[&name, &seqs, &discarded]).await?
                }
                Decision::Discard => {
                    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                        [&name, &seqs, &account.actor, &account.reason];
                    work.query(&sql::DISCARD_ROWS, &parameters).await?
                }
            };
            let changed: Vec<i64> =
                changed.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?;
            let block = work.query(&sql::RELEASE_BLOCKED, &[&name]).await?;
            let block = block.first().ok_or_else(|| StoreError::Unexpected("no block".into()))?;
            let decided = Decided {
                released: block.try_get("released")?,
                still_blocked: block.try_get("still_blocked")?,
                changed: changed.iter().copied().map(Seq).collect(),
            };
            if !changed.is_empty() {
                record(&work, decision.action(), name, &changed, account).await?;
            }
            ring(&work, schema.as_str()).await?;
            work.commit().await?;
            Ok(decided)
        })
        .await
    }

    /// Tenants on hold after tenant `after`, or one tenant only, with their backlogs counted up to a limit.
    ///
    /// # Errors
    /// Any.
    pub async fn holds(
        &mut self,
        after: &str,
        tenant: Option<&str>,
        limit: i64,
        backlog_max: i64,
    ) -> Result<Vec<HeldTenant>, StoreError> {
        answered(async {
            let work = self.begin().await?;
            let rows =
                work.query(&sql::READ_HOLDS, &[&after, &tenant, &limit, &backlog_max]).await?;
            rows.iter().map(held_tenant).collect()
        })
        .await
    }

    /// Ends a tenant's hold, whatever its reason. Returns whether there was one.
    ///
    /// # Errors
    /// Any, with nothing changed.
    pub async fn release_hold(
        &mut self,
        tenant: &str,
        account: &Account,
    ) -> Result<bool, StoreError> {
        let schema = self.schema.clone();
        answered(async {
            let work = self.begin().await?;
            let released = !work.query(&sql::RELEASE_HOLD, &[&tenant]).await?.is_empty();
            if released {
                record(&work, "release_hold", tenant, &[], account).await?;
                ring(&work, schema.as_str()).await?;
            }
            work.commit().await?;
            Ok(released)
        })
        .await
    }
}

pub(super) async fn record(
    work: &Work<'_>,
    action: &str,
    tenant: &str,
    seqs: &[i64],
    account: &Account,
) -> Result<(), StoreError> {
    // A release concerns one tenant, and no event.
    let count = i64::try_from(seqs.len().max(1)).unwrap_or(i64::MAX);
    let Account { actor, operation, filter, reason } = account;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [actor, &action, operation, &tenant, &seqs, &count, filter, reason];
    work.query(&sql::RECORD_AUDIT, &parameters).await.map(drop)
}

/// Wakes the relays: an update does not ring by itself.
pub(super) async fn ring(work: &Work<'_>, schema: &str) -> Result<(), StoreError> {
    work.query(&sql::RING, &[&schema, &""]).await.map(drop)
}

fn held_tenant(row: &Row) -> Result<HeldTenant, StoreError> {
    Ok(HeldTenant {
        tenant_id: row.try_get("tenant_id")?,
        since: row.try_get("since")?,
        until: row.try_get("until")?,
        waiting: row.try_get("waiting")?,
        reason: row.try_get("reason")?,
        failures: row.try_get("failures")?,
        backlog: row.try_get("backlog")?,
        message: row.try_get("message")?,
    })
}
