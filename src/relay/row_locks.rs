//! The row locks of what is about to be sent: they keep operators' statements away, and leave the trace by which a lone
//! event that was in flight is known after a crash.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::plan::Part;
use super::traces::Traces;
use crate::domain::event::Seq;
use crate::store::claim::OpenDrain;
use crate::store::error::StoreError;
use crate::telemetry::Telemetry;

/// How old the locks of a claim may be when its request leaves; else they are taken again, which tells
/// that the transaction is still there.
const LOCK_AGE_MAX: Duration = Duration::from_secs(1);

/// Locks the rows of all parts; a part that lacks one waits: somebody else is changing it. Nothing when PostgreSQL
/// was not asked, because the claim has `locked` them all.
pub(super) async fn keep_lockable(
    open: &OpenDrain,
    telemetry: &Telemetry,
    parts: &mut Vec<Part>,
    locked: &HashSet<Seq>,
    begun: Instant,
) -> Result<Option<Traces>, StoreError> {
    let seqs: Vec<Seq> = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
    if begun.elapsed() < LOCK_AGE_MAX && seqs.iter().all(|seq| locked.contains(seq)) {
        return Ok(None);
    }
    let (locked, traces): (HashSet<Seq>, _) = if telemetry.is_on() {
        let rows = open.lock_traced_rows(&seqs).await?;
        (rows.iter().map(|(seq, _)| *seq).collect(), Traces::of(rows))
    } else {
        (open.lock_rows(&seqs).await?, Traces::default())
    };
    parts.retain(|part| {
        let whole = part.seqs.iter().all(|seq| locked.contains(seq));
        if !whole {
            debug!(tenant_id = %part.tenant_id, "a row of the tenant is locked by somebody else");
        }
        whole
    });
    Ok(Some(traces))
}
