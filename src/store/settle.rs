//! The end of a drain: what it has come to, written in one round trip.

use std::time::Duration;

use futures_util::FutureExt;
use tokio_postgres::types::ToSql;

use super::claim::{OpenDrain, millis, texts};
use super::error::StoreError;
use super::session::{Session, answered};
use super::statement::Statement;
use crate::domain::event::{Seq, TenantId};
use crate::domain::failure::HoldReason;
use crate::domain::message::Refusal;

/// A tenant that has to wait.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Who.
    pub tenant_id: TenantId,
    /// From now on.
    pub wait: Duration,
    /// Whether it was not on hold before.
    pub first: bool,
    /// Why.
    pub reason: HoldReason,
    /// Why, in words.
    pub message: String,
}

/// The outcome of a drain, written in one transaction.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Accepted by Ably.
    pub published: Vec<Seq>,
    /// Never publishable.
    pub failed: Vec<(Seq, Refusal)>,
    /// Those of `failed` whose tenants wait for an operator from now on.
    pub blocking: Vec<Seq>,
    /// Refused on merits as part of a group, or for an unknown reason: to be tried in smaller company.
    pub refused: Vec<(Seq, Refusal)>,
    /// Tenants whose recorded group has an outcome.
    pub forget_groups: Vec<TenantId>,
    /// Tenants to hold.
    pub holds: Vec<Hold>,
    /// Tenants whose hold is over.
    pub release: Vec<TenantId>,
    /// Tenants whose counted crashes are answered by an outcome.
    pub forget_crashes: Vec<TenantId>,
    /// Tenants whose last counted crash was none: what was sent again came to an orderly end.
    pub uncount_crashes: Vec<TenantId>,
}

impl Settlement {
    /// Whether it changes nothing for any event. A crash that is taken back is not progress.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty()
            && self.failed.is_empty()
            && self.blocking.is_empty()
            && self.refused.is_empty()
            && self.forget_groups.is_empty()
            && self.holds.is_empty()
            && self.release.is_empty()
    }
}

impl OpenDrain {
    /// Writes the outcome and commits: one round trip.
    ///
    /// # Errors
    /// Any, with everything rolled back and the connection dropped.
    pub async fn settle(self, settlement: &Settlement) -> Result<Session, StoreError> {
        let s = settlement;
        let published: Vec<i64> = s.published.iter().map(|seq| seq.0).collect();
        let (failed, failures) = with_errors(&s.failed);
        let (refused, refusals) = with_errors(&s.refused);
        let blocking: Vec<i64> = s.blocking.iter().map(|seq| seq.0).collect();
        let forget = texts(&s.forget_groups);
        let release = texts(&s.release);
        let forget_crashes = texts(&s.forget_crashes);
        let uncount = texts(&s.uncount_crashes);
        let held: Vec<&str> = s.holds.iter().map(|h| h.tenant_id.as_str()).collect();
        let held_ms: Vec<i64> = s.holds.iter().map(|h| millis(h.wait)).collect();
        let reasons: Vec<&str> = s.holds.iter().map(|h| h.reason.as_str()).collect();
        let messages: Vec<&str> = s.holds.iter().map(|h| h.message.as_str()).collect();

        type Parameters<'p> = Vec<&'p (dyn ToSql + Sync)>;
        let all: [(bool, Statement, Parameters<'_>); 9] = [
            (published.is_empty(), Statement::PublishRows, vec![&published]),
            (failed.is_empty(), Statement::FailRows, vec![&failed, &failures]),
            (refused.is_empty(), Statement::CountAttempts, vec![&refused, &refusals]),
            (forget.is_empty(), Statement::ForgetGroups, vec![&forget]),
            (release.is_empty(), Statement::ReleaseTenants, vec![&release]),
            (held.is_empty(), Statement::HoldTenants, vec![&held, &held_ms, &reasons, &messages]),
            (forget_crashes.is_empty(), Statement::ForgetCrashes, vec![&forget_crashes]),
            (uncount.is_empty(), Statement::UncountCrashes, vec![&uncount]),
            // Behind the failures: it reads their errors.
            (blocking.is_empty(), Statement::BlockTenants, vec![&blocking]),
        ];
        answered(async {
            let mut writes = Vec::with_capacity(all.len());
            for (_, statement, parameters) in all.iter().filter(|(empty, ..)| !empty) {
                writes.push(self.session.run(*statement, parameters).boxed());
            }
            // Sent behind them without waiting: a COMMIT after a failed statement rolls back.
            let (written, committed) = tokio::join!(
                futures_util::future::join_all(writes),
                self.session.command("commit")
            );
            written.into_iter().collect::<Result<(), _>>()?;
            committed
        })
        .await?;
        Ok(self.session)
    }
}

fn with_errors(rows: &[(Seq, Refusal)]) -> (Vec<i64>, Vec<String>) {
    // A Refusal is strings and a number: it always serialises.
    rows.iter().map(|(seq, e)| (seq.0, serde_json::to_string(e).unwrap_or_default())).unzip()
}
