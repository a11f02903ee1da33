//! The flag that silences the bell: the sequence `awake_until`, and the transactions that may have seen it up.

use std::time::Duration;

use super::error::StoreError;
use super::session::{Session, answered};
use super::statement::Statement;

/// What the flag says, in milliseconds since 1970 by the server's clock.
#[derive(Debug)]
pub struct Flag {
    /// Until when a relay is awake; 0 when none ever was.
    pub until: i64,
    /// How far ahead that lies; negative when it has passed.
    pub ahead_ms: i64,
    /// Whether any event is pending.
    pub pending: bool,
    /// What keeps this role from setting it.
    pub lacks: Option<StoreError>,
}

/// Transactions that had written to the outbox and were not over when they were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers(Vec<String>);

impl Writers {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Session {
    /// Raises the flag for this long from now on, outside any transaction; returns its value.
    ///
    /// # Errors
    /// When it cannot be set; it may have been all the same.
    pub async fn raise_flag(&self, ahead: Duration) -> Result<i64, StoreError> {
        let ahead = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        answered(self.set_flag(ahead)).await
    }

    /// Lowers the flag, and then, in a snapshot of its own, finds the transactions that may have seen it
    /// up and cannot be seen yet.
    ///
    /// # Errors
    /// When either was not answered; the flag may be down all the same.
    pub async fn lower_flag(&self) -> Result<(i64, Writers), StoreError> {
        answered(async {
            // One round trip; the server takes them one after the other, also behind a pooler.
            let (until, writers) = tokio::join!(self.set_flag(0), self.find_writers(None));
            Ok((until?, writers?))
        })
        .await
    }

    /// Reads the flag as it is now, whatever any snapshot says; and whether anything is pending from the position
    /// `floor` on, which is cheap under a held snapshot. 0 is everything.
    ///
    /// # Errors
    /// When PostgreSQL does not answer, or there is no flag.
    pub async fn read_flag(&self, floor: i64) -> Result<Flag, StoreError> {
        let rows = answered(self.query(Statement::ReadFlag, &[&floor])).await?;
        let row = rows.first().ok_or_else(no_flag)?;
        let raisable: Option<bool> = row.try_get("raisable")?;
        let lacks = if raisable.ok_or_else(no_flag)? {
            None
        } else {
            let lacking = vec![format!("UPDATE ON SEQUENCE {}", row.try_get::<_, &str>("name")?)];
            Some(StoreError::Privileges { role: row.try_get("role")?, lacking })
        };
        let until: Option<i64> = row.try_get("until")?;
        let ahead: Option<i64> = row.try_get("ahead")?;
        let (until, ahead_ms) = (until.unwrap_or_default(), ahead.unwrap_or(i64::MIN));
        Ok(Flag { until, ahead_ms, pending: row.try_get("pending")?, lacks })
    }

    /// The transactions that have written to the outbox and are not over.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn writers(&self) -> Result<Writers, StoreError> {
        answered(self.find_writers(None)).await
    }

    /// Those of `writers` that are not over yet.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn still_writing(&self, writers: &Writers) -> Result<Writers, StoreError> {
        answered(self.find_writers(Some(&writers.0))).await
    }

    async fn set_flag(&self, ahead_ms: i64) -> Result<i64, StoreError> {
        let rows = self.query(Statement::RaiseFlag, &[&ahead_ms]).await?;
        let until: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        until.ok_or_else(no_flag)
    }

    async fn find_writers(&self, among: Option<&[String]>) -> Result<Writers, StoreError> {
        let rows = self.query(Statement::ReadWriters, &[&among]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_, _>>().map(Writers)
    }
}

fn no_flag() -> StoreError {
    StoreError::FlagMissing
}
