//! What is paused: as a claim sees it, and as operators set and end it.
//!
//! A pause is a row that every claim of every relay looks at; so it holds from the next claim on, and what was claimed
//! before is settled. Ending one rings the bell.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;

use super::decide::{Account, record, ring};
use super::error::StoreError;
use super::operator::Operator;
use super::operator_statement as sql;
use super::session::answered;

/// What is paused, as a claim saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paused {
    /// Everything is.
    pub everything: bool,
    /// So many tenants are.
    pub tenants: i64,
    /// So many event types are.
    pub types: i64,
    /// When the next pause ends by itself, from now on.
    pub ends_in: Option<Duration>,
}

impl Paused {
    /// From the rows of lock_tenants; the last has no tenant when there are pauses.
    pub(super) fn of(rows: &[Row]) -> Result<Option<Self>, StoreError> {
        let Some(row) = rows.last() else { return Ok(None) };
        if row.try_get::<_, Option<&str>>(0)?.is_some() {
            return Ok(None);
        }
        let ends_in: Option<i64> = row.try_get("ends_in_ms")?;
        Ok(Some(Self {
            everything: row.try_get("everything")?,
            tenants: row.try_get("tenants_paused")?,
            types: row.try_get("types_paused")?,
            ends_in: ends_in.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
        }))
    }
}

impl Paused {
    /// What is paused, in words; empty when nothing is.
    pub fn in_words(&self) -> String {
        let count = |n: i64, noun: &str| {
            (n > 0).then(|| format!("{n} {noun}{}", if n == 1 { "" } else { "s" }))
        };
        let parts = [
            self.everything.then(|| "everything".to_owned()),
            count(self.tenants, "tenant"),
            count(self.types, "event type"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// What a pause is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// One tenant.
    Tenant(String),
    /// The events of one type, and what stands behind them in their tenants' order.
    Type(String),
}

impl Scope {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::All => ("all", ""),
            Self::Tenant(name) => ("tenant", name),
            Self::Type(name) => ("type", name),
        }
    }

    /// For the audit: the tenant, which is empty when the pause is not about one, and what was asked for.
    fn audited(&self) -> (&str, String) {
        match self {
            Self::All => ("", serde_json::json!({"all": true}).to_string()),
            Self::Tenant(name) => (name, serde_json::json!({"tenant": name}).to_string()),
            Self::Type(name) => ("", serde_json::json!({"type": name}).to_string()),
        }
    }
}

/// A pause that is in force. Serialised it is one line of `holds list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// `all`, `tenant` or `type`.
    #[serde(rename = "paused")]
    pub scope: String,
    /// The tenant or the type; empty for `all`.
    pub target: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; `None` is until somebody resumes.
    pub until: Option<String>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

impl Operator {
    /// Pauses something from the next claims on, or changes the pause that is there.
    ///
    /// # Errors
    /// Any, with nothing changed.
    pub async fn pause(
        &mut self,
        scope: &Scope,
        time: Option<Duration>,
        account: &Account,
    ) -> Result<(), StoreError> {
        let (name, target) = scope.parts();
        let ms = time.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.noting("pause", scope, account, async |work| {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&name, &target, &ms, &account.actor, &account.reason];
            work.query(&sql::PAUSE, &parameters).await.map(|_| true)
        })
        .await
        .map(drop)
    }

    /// Ends a pause and wakes the relays. Returns whether there was one.
    ///
    /// # Errors
    /// Any, with nothing changed.
    pub async fn resume(&mut self, scope: &Scope, account: &Account) -> Result<bool, StoreError> {
        let (name, target) = scope.parts();
        self.noting("resume", scope, account, async |work| {
            let ended = work.query(&sql::RESUME, &[&name, &target]).await?;
            ended.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
        })
        .await
    }

    async fn noting(
        &mut self,
        action: &str,
        scope: &Scope,
        account: &Account,
        change: impl AsyncFnOnce(&super::operator::Work<'_>) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let schema = self.schema.clone();
        answered(async {
            let work = self.begin().await?;
            let changed = change(&work).await?;
            if changed {
                let (tenant, filter) = scope.audited();
                let account = Account { filter: Some(filter), ..account.clone() };
                record(&work, action, tenant, &[], &account).await?;
                ring(&work, schema.as_str()).await?;
            }
            work.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// The pauses in force, everything first; at most `limit`.
    ///
    /// # Errors
    /// Any.
    pub async fn pauses(&mut self, limit: i64) -> Result<Vec<Pause>, StoreError> {
        answered(async {
            let rows = self.begin().await?.query(&sql::READ_PAUSES, &[&limit]).await?;
            rows.iter().map(pause).collect()
        })
        .await
    }
}

fn pause(row: &Row) -> Result<Pause, StoreError> {
    Ok(Pause {
        scope: row.try_get("scope")?,
        target: row.try_get("target")?,
        since: row.try_get("since")?,
        until: row.try_get("until")?,
        actor: row.try_get("actor")?,
        reason: row.try_get("reason")?,
    })
}
