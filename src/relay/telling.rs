//! Log lines about single events and tenants: so many of a kind in a while, for a producer that writes
//! nothing but bad events must not write the relay's log full.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::domain::event::TenantId;
use crate::domain::failure::{FailureClass, HoldReason};
use crate::store::settle::Settlement;

/// Lines of a kind in one [`WINDOW`]: more than anybody reads, and 2 MB a day if it never ends. All of them are in
/// the table anyway, and metrics count them.
const LINES_MAX: u32 = 20;

/// Time after which a kind may speak again.
const WINDOW: Duration = Duration::from_secs(30);

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Blocking,
    Hold,
    Large,
    Regrouped,
}

const KINDS: usize = 5;

/// What has been told lately.
#[derive(Debug, Default)]
pub(super) struct Telling(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    windows: [Option<(Instant, u32)>; KINDS],
    untold: u64,
}

impl Told {
    fn may(&mut self, kind: Kind, now: Instant) -> bool {
        let Some(window) = self.windows.get_mut(kind as usize) else { return true };
        let (begun, lines) = window.filter(|(at, _)| now - *at < WINDOW).unwrap_or((now, 0));
        let may = lines < LINES_MAX;
        *window = Some((begun, lines.saturating_add(1)));
        self.untold += u64::from(!may);
        may
    }
}

impl Telling {
    fn may(&self, kind: Kind) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).may(kind, Instant::now())
    }

    /// Lines that were left out since the last call.
    pub(super) fn take_untold(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).untold)
    }

    /// Tells of a message that is nearly too large.
    pub(super) fn large(&self, id: &str, bytes: usize) {
        if self.may(Kind::Large) {
            warn!(event_id = %id, bytes, "event {id} makes a message of {bytes} bytes; the limit is near");
        }
    }

    /// Tells of a group that cannot be repeated as it was.
    pub(super) fn regrouped(&self, tenant: &TenantId) {
        if self.may(Kind::Regrouped) {
            warn!(
                tenant_id = %tenant,
                "somebody changed an event that was in flight in a group; the rest of the group goes in \
                 a new one, and a subscriber may have to dedupe by the envelope's id"
            );
        }
    }

    /// Tells what was committed: whoever acts on it finds it in the table.
    pub(super) fn settled(&self, settlement: &Settlement) {
        for (seq, refusal) in settlement.failed.iter().filter(|_| self.may(Kind::Failed)) {
            warn!(
                seq = seq.0,
                code = ?refusal.code,
                ably_code = refusal.ably_code,
                "event at position {seq} failed: {refusal}"
            );
        }
        for seq in settlement.blocking.iter().filter(|_| self.may(Kind::Blocking)) {
            warn!(
                seq = seq.0,
                remedy = "see `outbox-relay holds list`; then `events requeue` or `events discard`",
                "the later events of its tenant wait until somebody decides about the event at position {seq}"
            );
        }
        for hold in &settlement.holds {
            let (tenant, reason) = (&hold.tenant_id, hold.reason.as_str());
            let wait_ms = u64::try_from(hold.wait.as_millis()).unwrap_or(u64::MAX);
            // Being slowed down is routine, and the table `hold` shows who still waits: a line each time a tenant
            // is put on hold again would bury the first.
            let routine = hold.reason == HoldReason::Failure(FailureClass::ThrottledChannel);
            if hold.first && !routine && self.may(Kind::Hold) {
                let remedy = hold.reason.remedy();
                warn!(tenant_id = %tenant, reason, wait_ms, remedy, "tenant {tenant} is on hold: {}", hold.message);
            } else {
                debug!(tenant_id = %tenant, reason, wait_ms, "tenant {tenant} is on hold: {}", hold.message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_one_kind_is_cut_counted_and_silences_no_other() {
        let (mut told, now) = (Told::default(), Instant::now());
        let lines = (0..1_000).filter(|_| told.may(Kind::Failed, now)).count();
        assert_eq!((lines, told.untold), (20, 980));
        assert!(told.may(Kind::Hold, now));
        assert!(!told.may(Kind::Failed, now + WINDOW - Duration::from_millis(1)));
        assert!(told.may(Kind::Failed, now + WINDOW));
    }

    #[test]
    fn what_was_left_out_is_said_once() {
        let telling = Telling::default();
        (0..LINES_MAX + 3).for_each(|n| telling.large(&n.to_string(), 60_000));
        assert_eq!((telling.take_untold(), telling.take_untold()), (3, 0));
    }
}
