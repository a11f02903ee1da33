//! What a floor is made of: a position below which nothing waits. Why it may be believed is in `relay::floor`.

use super::error::StoreError;
use super::session::{Session, answered};
use super::statement::{BEGIN, Statement};

/// Positions that one look goes on over at most.
const STEP: i64 = 50_000;

/// Tenants at whose first event a first look looks at most: beyond, it would take longer than the floor is worth.
const TENANTS_MAX: i64 = 10_000;

/// What one look has seen, each by a statement of its own and in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FloorLook {
    /// The highest position given out; none when positions do not come in order, or may not be asked for.
    pub issued: Option<i64>,
    /// Transactions that had written to the table and were not over, by their virtual ids.
    pub writers: Vec<String>,
    /// No event that is visible and waits has a position from the last floor to below this one.
    pub clear_below: i64,
}

impl Session {
    /// Looks how far nothing waits, from position `from` on, or anywhere at all when that is 0.
    ///
    /// # Errors
    /// When PostgreSQL does not answer; drop the session then, it may be inside a transaction.
    pub async fn look_for_floor(&self, from: i64) -> Result<FloorLook, StoreError> {
        let until = from.saturating_add(STEP);
        answered(async {
            // In the claim's kind of transaction for its planner settings. One round trip, each statement with a
            // snapshot of its own.
            let (begun, issued, writers, lowest, committed) = tokio::join!(
                self.command(BEGIN),
                self.query(Statement::IssuedPositions, &[]),
                self.query(Statement::ReadWriters, &[&None::<&[String]>]),
                async {
                    if from == 0 {
                        self.query(Statement::LowestPending, &[&TENANTS_MAX]).await
                    } else {
                        self.query(Statement::NextPending, &[&from, &until]).await
                    }
                },
                self.command("commit"),
            );
            begun?;
            let issued = issued?.first().map(|row| row.try_get(0)).transpose()?.flatten();
            let writers = writers?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            let lowest = lowest?;
            let first = lowest.first();
            let clear_below = if from == 0 {
                let tenants = first.map(|row| row.try_get(1)).transpose()?.unwrap_or(i64::MAX);
                let lowest: Option<i64> = first.map(|row| row.try_get(0)).transpose()?.flatten();
                if tenants > TENANTS_MAX { 0 } else { lowest.unwrap_or(i64::MAX) }
            } else {
                first.map(|row| row.try_get(0)).transpose()?.unwrap_or(until)
            };
            committed?;
            Ok(FloorLook { issued, writers, clear_below })
        })
        .await
    }

    /// Whether anything waits below `floor`.
    ///
    /// # Errors
    /// When PostgreSQL does not answer; drop the session then, it may be inside a transaction.
    pub async fn waits_below(&self, floor: i64) -> Result<bool, StoreError> {
        answered(async {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&floor];
            let (begun, found, committed) = tokio::join!(
                self.command(BEGIN),
                self.query(Statement::PendingBelow, &parameters),
                self.command("commit"),
            );
            begun?;
            let found = found?.first().map(|row| row.try_get(0)).transpose()?;
            committed?;
            Ok(found.unwrap_or(true))
        })
        .await
    }
}
