//! A request to publish a number of events now, while the relay serves it. Its batches are the relay's
//! own, one at a time; it only limits them and adds up what they did.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::drain::BatchReport;
use super::monitor::Drained;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
