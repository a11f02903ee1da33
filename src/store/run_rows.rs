//! The rows of `read_runs` as runs of tenants.

use std::time::Duration;

use tokio_postgres::Row;

use super::claim::{Claimed, RecordedGroup, Run};
use super::error::StoreError;
use crate::domain::event::{Event, Seq, TenantId};
use crate::domain::policy::OnFailed;

/// Groups the rows of read_runs, which come in the order of their tenants. A run ends before an event of a
/// paused type: what stands behind it waits with it.
pub(super) fn runs(rows: &[Row]) -> Result<Vec<Run>, StoreError> {
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
