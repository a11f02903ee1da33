//! The end of an interruption for a relay that has nothing left to publish: other relays were faster, or an
//! operator has decided. Without it such a relay would say until its next event that Ably is away, and with
//! a refused key be unready.

use super::drain::{BatchReport, ClaimFrom, Drain};
use crate::store::error::StoreError;
use crate::store::session::Session;

impl Drain {
    /// What a batch without events does: nothing, but after an interruption, once nothing waits any more, it
    /// asks Ably for a token as `doctor` does. While events wait, publishing them shows how Ably is.
    pub(super) async fn nothing_claimed(
        &self,
        session: Session,
        from: &ClaimFrom,
    ) -> Result<(Session, BatchReport), StoreError> {
        let mut report = BatchReport::default();
        if from.interrupted && session.backlog(1).await?.pending == 0 {
            // Asking for all resources would show no more: what a key may not do is told tenant by tenant.
            let resource = self.publication.routing.resources().into_iter().next();
            match self.ably.may_publish(&resource.unwrap_or_default()).await {
                Err(failure) if failure.class.interrupts() => report.failure = Some(failure),
                // A key that is taken and may not publish there is the tenants' trouble, and told with them.
                Ok(()) | Err(_) => report.accepted = true,
            }
        }
        Ok((session, report))
    }
}
