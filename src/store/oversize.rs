//! The names of events whose payload was not fetched because no message can hold it: for messages with a link in
//! the payload's place. A statement of its own, so that the claim of everybody else costs nothing more.

use tokio_postgres::Row;

use super::claim::{Claimed, OpenDrain, Run};
use super::error::StoreError;
use super::session::answered;
use super::statement::Statement;
use crate::domain::event::Seq;

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
        let rows = self.read_oversize(runs, bytes_max).await?;
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

    /// The types of the same events, for whoever counts what fails. The events stay without: what is failed for its
    /// size is not judged by its names as well.
    ///
    /// # Errors
    /// Any; drop the drain then.
    pub async fn oversize_types(
        &self,
        runs: &[Run],
        bytes_max: usize,
    ) -> Result<Vec<(Seq, String)>, StoreError> {
        let rows = self.read_oversize(runs, bytes_max).await?;
        rows.iter().map(|row| Ok((Seq(row.try_get("seq")?), row.try_get("event_type")?))).collect()
    }

    async fn read_oversize(&self, runs: &[Run], bytes_max: usize) -> Result<Vec<Row>, StoreError> {
        let events = runs.iter().flat_map(|run| &run.events);
        let unnamed = events.filter(|c| c.oversize.is_some() && c.event.event_type.is_empty());
        let seqs: Vec<i64> = unnamed.map(|claimed| claimed.event.seq.0).collect();
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        answered(self.session.query(Statement::ReadOversize, &[&seqs, &bytes_max])).await
    }
}
