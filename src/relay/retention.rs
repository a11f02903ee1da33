//! The built-in schedule: a running relay deletes what has been published long enough ago.
//!
//! It has a connection of its own and only while it works, does a bounded amount at a time, gives way to
//! another relay that is at it, and never disturbs publishing: whatever goes wrong here is said in the log.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::archive_file::ArchiveWriter;
use super::housekeeping::{Bounds, End, Housekeeping, HousekeepingError, Tally, Work};
use super::partitions;
use crate::domain::event::Seq;
use crate::store::retention::{Purpose, Selection};
use crate::store::session::Store;

/// Batches of one round: 200,000 rows. Then another relay may have its turn.
const ROUND_BATCHES: u64 = 200;

/// Pause before the next round when there is more to do.
const MORE_PAUSE: Duration = Duration::from_secs(1);

/// How often a round begins at the very start. The others begin at the first row that can still come of age:
/// failed rows stay for ever, and a million of them should not be read every minute. What this misses (a
/// failed event that was tried again, a transaction that was open for long) waits this long.
const FULL_ROUND_INTERVAL: Duration = Duration::from_secs(3_600);

/// Time between two log lines about the same trouble.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);

/// What becomes of an event before it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveTo {
    /// Nothing.
    Off,
    /// It is moved into `event_archive`.
    Table,
    /// It is appended to a file.
    File(PathBuf),
}

/// The schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Events that were published longer ago than this are deleted.
    pub published: Duration,
    /// Time between two rounds.
    pub interval: Duration,
    /// What becomes of them before.
    pub archive: ArchiveTo,
}

/// The task of a relay.
#[derive(Debug, Clone)]
pub(super) struct Retention {
    store: Store,
    selection: Selection,
    interval: Duration,
    purpose: Purpose,
    work: Work,
}

/// What a round did.
struct Round {
    tally: Tally,
    end: End,
    settled_until: Seq,
}

impl Retention {
    pub(super) fn new(store: Store, config: RetentionConfig) -> Self {
        let selection = Selection { older_than: config.published, ..Selection::default() };
        let (purpose, work) = match config.archive {
            ArchiveTo::Off => (Purpose::Prune, Work::Delete),
            ArchiveTo::Table => (Purpose::Move, Work::Move),
            ArchiveTo::File(path) => {
                let writer = Arc::new(Mutex::new(ArchiveWriter::new(path)));
                (Purpose::Prune, Work::Write(writer))
            }
        };
        Self { store, selection, interval: config.interval, purpose, work }
    }

    /// Works until it is dropped.
    pub(super) async fn run(self) {
        // Relays that start together do not prune together.
        sleep(self.interval.mul_f64(fastrand::f64())).await;
        let mut trouble = Trouble::default();
        let mut after = Bounds::default().after;
        let mut full_round_at = Instant::now() + FULL_ROUND_INTERVAL;
        loop {
            if Instant::now() >= full_round_at {
                after = Bounds::default().after;
                full_round_at = Instant::now() + FULL_ROUND_INTERVAL;
            }
            // A task of its own: a panic in here is a line in the log, and not the end of the relay.
            let mut round = JoinSet::new();
            round.spawn(self.clone().round(after));
            let mut wait = self.interval;
            match round.join_next().await {
                Some(Ok(Ok(round))) => {
                    trouble.over();
                    after = round.settled_until;
                    if round.end == End::Limit {
                        wait = wait.min(MORE_PAUSE);
                    }
                    self.say(&round);
                }
                Some(Ok(Err(error))) => trouble.say(&error, Instant::now()),
                Some(Err(error)) => error!(%error, "pruning ended badly: {error}"),
                None => {}
            }
            sleep(wait).await;
        }
    }

    async fn round(self, after: Seq) -> Result<Round, HousekeepingError> {
        let mut keeper = self.store.keeper(self.purpose).await?;
        let only_empty = !matches!(self.work, Work::Delete);
        let (age, stop) = (self.selection.older_than, CancellationToken::new());
        let dropped = partitions::drop_old(&mut keeper, age, only_empty, &stop).await?;
        let mut bounds = Bounds { after, batches: Some(ROUND_BATCHES), ..Bounds::default() };
        bounds.before = dropped.walk_below.unwrap_or(bounds.before);
        let mut walk = Housekeeping::new(keeper, self.selection.clone(), self.work.clone(), bounds)
            .exclusive();
        // Whoever ends the relay drops this.
        let end = walk.run(&CancellationToken::new(), |_| {}).await;
        if let Work::Write(archive) = &self.work {
            archive.lock().unwrap_or_else(PoisonError::into_inner).close();
        }
        Ok(Round { tally: walk.tally(), end: end?, settled_until: walk.settled_until() })
    }

    fn say(&self, round: &Round) {
        let Tally { looked_at, changed, passed_over, .. } = round.tally;
        if changed > 0 {
            let hours = self.selection.older_than.as_secs() / 3_600;
            info!(
                deleted = changed,
                passed_over, looked_at, hours, "pruned {changed} published events"
            );
        } else {
            debug!(looked_at, passed_over, end = round.end.as_str(), "nothing to prune");
        }
    }
}

/// What has gone wrong and was said.
#[derive(Debug, Default)]
struct Trouble {
    said: Option<(String, Instant)>,
}

impl Trouble {
    /// Whether to say this now: at once when it is new, and again from time to time.
    fn is_news(&mut self, cause: String, now: Instant) -> bool {
        let told = self.said.as_ref();
        let news = told.is_none_or(|(told, at)| *told != cause || now - *at >= REPEAT_INTERVAL);
        if news {
            self.said = Some((cause, now));
        }
        news
    }

    fn say(&mut self, error: &HousekeepingError, now: Instant) {
        if !self.is_news(error.to_string(), now) {
            debug!(%error, "still cannot prune");
            return;
        }
        let remedy = match error {
            HousekeepingError::Store(error) => error.remedy(),
            HousekeepingError::Archive(error) => error.remedy().to_owned(),
        };
        warn!(%error, remedy, "published events cannot be pruned, publishing goes on: {error}");
    }

    fn over(&mut self) {
        if self.said.take().is_some() {
            info!("published events can be pruned again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_said_once_in_a_while() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        assert!(trouble.is_news("a".into(), now));
        assert!(!trouble.is_news("a".into(), now + Duration::from_secs(60)));
        assert!(trouble.is_news("b".into(), now + Duration::from_secs(60)));
        assert!(trouble.is_news("b".into(), now + Duration::from_secs(60) + REPEAT_INTERVAL));
    }
}
