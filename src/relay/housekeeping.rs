//! Walks through old events from the lowest position on and counts, deletes, archives or scrubs them: one
//! bounded transaction a batch, with a pause behind each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::archive_file::{ArchiveError, ArchiveWriter};
use crate::domain::event::Seq;
use crate::store::error::StoreError;
use crate::store::retention::{Batch, Found, Keeper, Selection, Table, Window};

/// Rows of one batch unless somebody asks for another number: some 10 ms of work.
pub const BATCH_DEFAULT: u32 = 1_000;

/// The most rows of one batch: locked together, and held in one array.
pub const BATCH_MAX: u32 = 10_000;

/// The fewest rows that a batch looks at. So many young rows in a row end a walk; a few rows whose `created_at`
/// somebody has set into the future do not.
const LOOK_AT_MIN: u32 = 1_000;

/// How far a window grows where there is nothing to do.
const LOOK_AT_FACTOR: u32 = 16;

/// Bytes of one batch in an archive's file before compression, but for the last row.
const ARCHIVE_BYTES: i64 = 8 * 1024 * 1024;

/// The pause behind a batch is as long as the batch took, within these: half of the time, and half of the
/// disk, stay with the writers; the slower the server, the more so.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is done with what is found.
#[derive(Debug, Clone)]
pub enum Work {
    /// Nothing: it is counted.
    Count(Table),
    /// It is deleted.
    Delete,
    /// It is moved into `event_archive`.
    Move,
    /// It is written to a file, and then deleted.
    Write(Arc<Mutex<ArchiveWriter>>),
    /// It loses payload and headers.
    Scrub(Table),
}

impl Work {
    fn table(&self) -> Table {
        match self {
            Self::Count(table) | Self::Scrub(table) => *table,
            Self::Delete | Self::Move | Self::Write(_) => Table::Event,
        }
    }
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows looked at.
    pub looked_at: u64,
    /// Rows that were meant.
    pub matched: u64,
    /// Rows that were deleted or scrubbed. 0 when only counting.
    pub changed: u64,
    /// Rows that somebody else had locked or changed; a later run takes them.
    pub passed_over: u64,
    /// Transactions.
    pub batches: u64,
}

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is left.
    Complete,
    /// As many rows or batches as were asked for.
    Limit,
    /// It was told to stop.
    Stopped,
    /// Another relay is at it.
    NotOurTurn,
}

impl End {
    /// For people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Limit => "limit",
            Self::Stopped => "stopped",
            Self::NotOurTurn => "not_our_turn",
        }
    }
}

/// Why a walk failed. The batch under way was rolled back; earlier ones stay done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HousekeepingError {
    /// PostgreSQL.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive's file.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Bounds of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Behind which position it begins.
    pub after: Seq,
    /// Before which it ends.
    pub before: Seq,
    /// Rows of one batch, at most [`BATCH_MAX`].
    pub batch: u32,
    /// Rows to change at most.
    pub rows: Option<u64>,
    /// Batches at most.
    pub batches: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            after: Seq(i64::MIN),
            before: Seq(i64::MAX),
            batch: BATCH_DEFAULT,
            rows: None,
            batches: None,
        }
    }
}

/// A walk.
#[derive(Debug)]
pub struct Housekeeping {
    keeper: Keeper,
    selection: Selection,
    work: Work,
    bounds: Bounds,
    /// Only while no other relay does the same.
    exclusive: bool,
    look_at: u32,
    kept_from: Option<Seq>,
    tally: Tally,
}

/// What became of one window.
struct Done {
    last: Option<Seq>,
    matched: u64,
    changed: u64,
    end: bool,
}

impl Housekeeping {
    /// A walk that has not begun.
    pub fn new(keeper: Keeper, selection: Selection, work: Work, bounds: Bounds) -> Self {
        let look_at = bounds.batch.max(LOOK_AT_MIN);
        let tally = Tally::default();
        Self { keeper, selection, work, bounds, exclusive: false, look_at, kept_from: None, tally }
    }

    /// Has it give way to another relay that does the same.
    pub(super) fn exclusive(self) -> Self {
        Self { exclusive: true, ..self }
    }

    /// What has been done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Behind which position the next walk may begin: nothing before it can come of age.
    pub(super) fn settled_until(&self) -> Seq {
        self.kept_from.map_or(self.bounds.after, |seq| Seq(seq.0 - 1))
    }

    /// Walks to the end, or until told to stop or out of bounds; `told` hears of each batch.
    ///
    /// # Errors
    /// [`HousekeepingError`]; [`Housekeeping::tally`] says what was done before.
    pub async fn run(
        &mut self,
        stop: &CancellationToken,
        mut told: impl FnMut(Tally),
    ) -> Result<End, HousekeepingError> {
        loop {
            let spent = |bound: Option<u64>, used| bound.is_some_and(|bound| used >= bound);
            if stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            if spent(self.bounds.rows, self.tally.changed)
                || spent(self.bounds.batches, self.tally.batches)
            {
                return Ok(End::Limit);
            }
            let begun = Instant::now();
            match self.batch().await? {
                None => return Ok(End::NotOurTurn),
                Some(true) => return Ok(End::Complete),
                Some(false) => told(self.tally),
            }
            let pause = begun.elapsed().clamp(PAUSE_MIN, PAUSE_MAX);
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// One transaction. Whether it was the last; `None` when it is another's turn.
    async fn batch(&mut self) -> Result<Option<bool>, HousekeepingError> {
        let left =
            self.bounds.rows.map_or(u64::MAX, |rows| rows.saturating_sub(self.tally.changed));
        let take = self.bounds.batch.min(u32::try_from(left).unwrap_or(u32::MAX));
        let window = Window {
            after: self.bounds.after,
            look_at: self.look_at,
            take,
            before: self.bounds.before,
        };
        let batch = self.keeper.begin().await?;
        if self.exclusive && !batch.take_turn().await? {
            return Ok(None);
        }
        let found = batch.find(self.work.table(), &self.selection, window).await?;
        let done = if found.seqs.is_empty() {
            drop(batch);
            Done { last: found.last, matched: 0, changed: 0, end: found.end }
        } else {
            let done = carry_out(&batch, &self.work, &self.selection, &found).await?;
            batch.commit().await?;
            done
        };
        self.account(&found, &done);
        Ok(Some(done.end || done.last.is_none()))
    }

    fn account(&mut self, found: &Found, done: &Done) {
        let counting = matches!(self.work, Work::Count(_));
        let passed_over = if counting { 0 } else { done.matched.saturating_sub(done.changed) };
        self.tally.looked_at += found.looked_at;
        self.tally.matched += done.matched;
        self.tally.changed += done.changed;
        self.tally.passed_over += passed_over;
        self.tally.batches += 1;
        let kept = if passed_over > 0 { found.seqs.first().copied() } else { None };
        let kept = kept.into_iter().chain(found.kept_from).min_by_key(|seq| seq.0);
        self.kept_from = self.kept_from.or(kept);
        self.bounds.after = done.last.unwrap_or(self.bounds.after);
        let smallest = self.bounds.batch.max(LOOK_AT_MIN);
        // Where little is found, most of a batch is its round trips.
        self.look_at = if found.seqs.len() * 4 < smallest as usize {
            (self.look_at * 2).min(smallest * LOOK_AT_FACTOR)
        } else {
            smallest
        };
    }
}

async fn carry_out(
    batch: &Batch<'_>,
    work: &Work,
    selection: &Selection,
    found: &Found,
) -> Result<Done, HousekeepingError> {
    let seqs = &found.seqs;
    let changed = match work {
        Work::Count(_) => 0,
        Work::Delete => batch.delete(seqs, selection).await?,
        Work::Move => batch.move_to_archive(seqs, selection).await?,
        Work::Scrub(table) => batch.scrub(*table, seqs, selection).await?,
        Work::Write(archive) => return write_down(batch, archive, selection, found).await,
    };
    Ok(Done { last: found.last, matched: seqs.len() as u64, changed, end: found.end })
}

/// Lock, write, make safe, and only then delete.
async fn write_down(
    batch: &Batch<'_>,
    archive: &Arc<Mutex<ArchiveWriter>>,
    selection: &Selection,
    found: &Found,
) -> Result<Done, HousekeepingError> {
    let lines = batch.lines(&found.seqs, selection, ARCHIVE_BYTES).await?;
    let seqs: Vec<Seq> = lines.iter().map(|(seq, _)| *seq).collect();
    let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
    // Then there may be more in the window than fitted.
    let cut = i64::try_from(bytes).unwrap_or(i64::MAX) >= ARCHIVE_BYTES;
    let (last, end) = if cut { (seqs.last().copied(), false) } else { (found.last, found.end) };
    let matched = found.seqs.iter().filter(|seq| last.is_none_or(|last| seq.0 <= last.0)).count();
    let mut changed = 0;
    if !lines.is_empty() {
        let archive = Arc::clone(archive);
        let append = move || {
            let mut writer = archive.lock().unwrap_or_else(PoisonError::into_inner);
            writer.append(lines.iter().map(|(_, line)| line.as_str()))
        };
        // Not a detached task: it is waited for, and whoever stops waiting rolls back.
        tokio::task::spawn_blocking(append)
            .await
            .map_err(|error| ArchiveError::Internal(error.to_string()))??;
        changed = batch.delete(&seqs, selection).await?;
    }
    Ok(Done { last, matched: matched as u64, changed, end })
}
