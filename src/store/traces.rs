//! Locking rows together with the traces that they were written in, for relays whose publishes are traced.

use super::claim::OpenDrain;
use super::error::StoreError;
use super::session::answered;
use super::statement::Statement;
use crate::domain::event::Seq;
use crate::domain::traceparent::TraceParent;

impl OpenDrain {
    /// [`OpenDrain::lock_rows`], each row with its trace. What is no traceparent counts as none.
    ///
    /// # Errors
    /// Any; drop the drain then.
    pub async fn lock_traced_rows(
        &self,
        seqs: &[Seq],
    ) -> Result<Vec<(Seq, Option<TraceParent>)>, StoreError> {
        let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        let rows = answered(self.session.query(Statement::LockTracedRows, &[&seqs])).await?;
        let traced = rows.iter().map(|row| {
            let text: Option<&str> = row.try_get(1)?;
            Ok((Seq(row.try_get(0)?), text.and_then(TraceParent::parse)))
        });
        traced.collect()
    }
}
