//! The names of events whose payload was not fetched because no message can hold it: for messages with a link in
//! the payload's place. A statement of its own, so that the claim of everybody else costs nothing more.

use super::claim::{Claimed, OpenDrain, Run};
use super::error::StoreError;
use super::session::answered;
use super::statement::Statement;

impl OpenDrain {
    /// Fills in the names and headers of the events that are too large to fetch. Those whose names alone are larger
    /// than `bytes_max` are left without.
    ///
    /// # Errors
    /// Any; drop the drain then.
    pub async fn name_oversize(
        &self,
        runs: &mut [Run],
        bytes_max: usize,
    ) -> Result<(), StoreError> {
        let oversize =
            || runs.iter().flat_map(|run| &run.events).filter(|claimed| claimed.oversize.is_some());
        let seqs: Vec<i64> = oversize().map(|claimed| claimed.event.seq.0).collect();
        if seqs.is_empty() {
            return Ok(());
        }
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let rows =
            answered(self.session.query(Statement::ReadOversize, &[&seqs, &bytes_max])).await?;
        let mut unnamed: Vec<&mut Claimed> = runs
            .iter_mut()
            .flat_map(|run| &mut run.events)
            .filter(|claimed| claimed.oversize.is_some())
            .collect();
        for row in rows {
            let seq: i64 = row.try_get("seq")?;
            let Some(claimed) = unnamed.iter_mut().find(|claimed| claimed.event.seq.0 == seq)
            else {
                continue;
            };
            let event = &mut claimed.event;
            event.aggregate_type = row.try_get("aggregate_type")?;
            event.aggregate_id = row.try_get("aggregate_id")?;
            event.event_type = row.try_get("event_type")?;
            event.headers = row.try_get("headers")?;
            event.traceparent = row.try_get("traceparent")?;
        }
        Ok(())
    }
}
