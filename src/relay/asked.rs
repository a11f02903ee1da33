//! A request to publish a number of events now, while the relay serves it. Its batches are the relay's
//! own, one at a time; it only limits them and adds up what they did.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::drain::BatchReport;
use super::monitor::Drained;
use crate::store::claim::Claim;

/// How long a request is served: in a pause, or behind batches that hang, it is answered with what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    left: usize,
    until: Instant,
    drained: Drained,
    /// Whether a batch of its own is under way.
    under_way: bool,
    reply: oneshot::Sender<Drained>,
}

impl Asked {
    pub(super) fn new(limit: usize, reply: oneshot::Sender<Drained>) -> Self {
        let drained = Drained::default();
        Self { left: limit, until: Instant::now() + PATIENCE, drained, under_way: false, reply }
    }

    /// The limit of the batch that starts now, unless one of its own is under way.
    pub(super) fn take(&mut self) -> Option<usize> {
        (!std::mem::replace(&mut self.under_way, true)).then_some(self.left)
    }

    /// Its batch has ended; `None` when PostgreSQL did not let it. Returns whether the request is done with.
    pub(super) fn ended(&mut self, report: Option<&BatchReport>) -> bool {
        self.under_way = false;
        let Some(report) = report else { return true };
        let settled = report.published + report.failed;
        self.drained.published += report.published;
        self.drained.failed += report.failed;
        self.drained.skipped += report.claimed.saturating_sub(settled);
        self.left = self.left.saturating_sub(settled);
        self.left == 0 || settled == 0
    }

    /// When it is answered, whatever there is.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Nobody may be waiting any more.
    pub(super) fn answer(self) {
        _ = self.reply.send(self.drained);
    }
}

/// Leaves out of a claim what is more than `limit` events: it stays pending, and unlocked once the drain has
/// ended. Returns whether anything was left out, and with it tenants that have nothing else. A recorded
/// group goes whole or not at all.
pub(super) fn cut(claim: &mut Claim, limit: usize) -> bool {
    let (mut left, mut was_cut) = (limit, false);
    let mut gone = HashSet::new();
    for run in &mut claim.runs {
        let take = match run.group {
            Some(_) if run.events.len() > left => 0,
            _ => run.events.len().min(left),
        };
        was_cut |= take < run.events.len();
        run.events.truncate(take);
        left -= take;
        if take == 0 {
            gone.insert(run.tenant_id.clone());
        }
    }
    claim.runs.retain(|run| !run.events.is_empty());
    // Nobody is to take them for tenants whose group has lost its events.
    claim.tenants.retain(|tenant| !gone.contains(tenant));
    was_cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Event, Seq, TenantId};
    use crate::store::claim::{Claimed, LockOwner, RecordedGroup, Run};

    fn report(claimed: usize, published: usize, failed: usize) -> BatchReport {
        BatchReport { claimed, published, failed, ..BatchReport::default() }
    }

    #[test]
    fn a_request_goes_on_until_its_limit_or_until_nothing_moves() {
        let (reply, mut answer) = oneshot::channel();
        let mut asked = Asked::new(5, reply);
        assert_eq!((asked.take(), asked.take()), (Some(5), None), "one batch at a time");
        assert!(!asked.ended(Some(&report(3, 2, 1))));
        assert_eq!(asked.take(), Some(2));
        assert!(asked.ended(Some(&report(2, 0, 0))), "nothing moved");
        asked.answer();
        let drained = answer.try_recv().unwrap();
        assert_eq!((drained.published, drained.failed, drained.skipped), (2, 1, 2));
        let mut asked = Asked::new(5, oneshot::channel().0);
        assert_eq!(asked.take(), Some(5));
        assert!(asked.ended(Some(&report(5, 5, 0))), "the limit");
        let mut asked = Asked::new(5, oneshot::channel().0);
        assert!(asked.take().is_some() && asked.ended(None));
    }

    #[test]
    fn a_claim_is_cut_to_the_limit_and_a_recorded_group_is_not_cut() {
        let event = |tenant: &str, seq| {
            let event = Event {
                seq: Seq(seq),
                id: seq.to_string(),
                tenant_id: TenantId::new(tenant),
                aggregate_type: "a".into(),
                aggregate_id: "b".into(),
                event_type: "c.d".into(),
                payload: "{}".into(),
                headers: None,
                occurred_at: None,
                traceparent: None,
                payload_occurred_at: None,
                created_at: "2026-01-23T10:30:00.000Z".into(),
                attempts: 0,
                generation: 0,
            };
            Claimed { event, lock_trace: false, oversize: None, waited: None, invalid: None }
        };
        let run = |tenant: &str, seqs: std::ops::Range<i64>, group: bool| Run {
            tenant_id: TenantId::new(tenant),
            group: group
                .then(|| RecordedGroup { base_id: "b".into(), events: seqs.clone().count() }),
            hold_failures: 0,
            on_failed: None,
            events: seqs.map(|seq| event(tenant, seq)).collect(),
        };
        let mut claim = Claim {
            runs: vec![run("a", 0..2, false), run("g", 2..5, true), run("z", 5..9, false)],
            // The last one has brought nothing.
            tenants: ["a", "g", "z", "empty"].map(TenantId::new).to_vec(),
            owner: LockOwner::default(),
            lone_first: None,
            paused: None,
            locked: HashSet::new(),
        };
        assert!(cut(&mut claim, 4));
        let left: Vec<(&str, usize)> =
            claim.runs.iter().map(|run| (run.tenant_id.as_str(), run.events.len())).collect();
        assert_eq!(left, [("a", 2), ("z", 2)]);
        assert_eq!(claim.tenants, ["a", "z", "empty"].map(TenantId::new));
        assert!(!cut(&mut claim, 4), "it fits");
    }
}
