//! Does what the wake machine says about the flag that silences the bell: one operation at a time, on the
//! connection beside the drain transactions. No policy here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::drain::Drain;
use super::wake::{FlagAnswer, FlagOp};
use crate::store::bell::{Flag, Writers};
use crate::store::error::StoreError;

/// The operation under way, and what the last one that looked for writers has found.
#[derive(Debug)]
pub(super) struct FlagWork {
    drain: Arc<Drain>,
    /// For how long the flag is raised.
    term: Duration,
    under_way: JoinSet<Result<Done, StoreError>>,
    writers: Writers,
    /// Whether it has been said that the bell cannot be silenced.
    said: bool,
}

/// How an operation ended.
#[derive(Debug)]
struct Done {
    answer: FlagAnswer,
    /// Whom a later check is about, if that has changed.
    writers: Option<Writers>,
    /// Why the flag cannot be raised.
    lacks: Option<StoreError>,
}

impl FlagWork {
    pub(super) fn new(drain: Arc<Drain>, term: Duration) -> Self {
        let writers = Writers::default();
        Self { drain, term, under_way: JoinSet::new(), writers, said: false }
    }

    /// Begins an operation.
    pub(super) fn start(&mut self, op: FlagOp) {
        match op {
            FlagOp::Raise | FlagOp::Lower => debug!(?op, "the flag that silences the bell"),
            FlagOp::Look | FlagOp::Fence | FlagOp::Check | FlagOp::Ring => {}
        }
        let (drain, term) = (Arc::clone(&self.drain), self.term);
        let among = if op == FlagOp::Check { self.writers.clone() } else { Writers::default() };
        self.under_way.spawn(async move {
            let done = perform(&drain, op, term, &among).await;
            if done.as_ref().is_err_and(|error| !error.is_lasting()) {
                drain.side.forget().await;
            }
            done
        });
    }

    /// Waits for the end of the operation, for ever when there is none. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> FlagAnswer {
        match self.under_way.join_next().await {
            Some(end) => self.note(end),
            None => std::future::pending().await,
        }
    }

    fn note(&mut self, end: Result<Result<Done, StoreError>, JoinError>) -> FlagAnswer {
        match end {
            Ok(Ok(done)) => {
                if let Some(writers) = done.writers {
                    self.writers = writers;
                }
                if let Some(lacks) = done.lacks {
                    self.say(&lacks);
                }
                done.answer
            }
            Ok(Err(error)) => {
                let lasting = error.is_lasting();
                if lasting {
                    self.say(&error);
                } else {
                    debug!(%error, "the flag that silences the bell cannot be worked with");
                }
                FlagAnswer::Failed { lasting }
            }
            Err(_) => FlagAnswer::Failed { lasting: false },
        }
    }

    /// Once a process: nothing is lost by it but writers' speed.
    fn say(&mut self, cause: &StoreError) {
        if !self.said {
            warn!(
                error = %cause,
                remedy = cause.remedy(),
                "the bell cannot be silenced: {cause}; each transaction that inserts events notifies"
            );
        }
        self.said = true;
    }
}

async fn perform(
    drain: &Drain,
    op: FlagOp,
    term: Duration,
    among: &Writers,
) -> Result<Done, StoreError> {
    let session = drain.side.get().await?;
    let done = |answer, writers| Done { answer, writers, lacks: None };
    let fenced =
        |writers: Writers| done(FlagAnswer::Fenced { open: writers.count() }, Some(writers));
    Ok(match op {
        FlagOp::Raise => done(FlagAnswer::Raised { until: session.raise_flag(term).await? }, None),
        FlagOp::Lower => {
            let (until, writers) = session.lower_flag().await?;
            done(FlagAnswer::Lowered { until, open: writers.count() }, Some(writers))
        }
        FlagOp::Look => {
            let from = drain.floor.with(|floor| floor.pending_from(Instant::now()));
            let flag = session.read_flag(from).await?;
            let Flag { until, ahead_ms, pending, lacks } = flag;
            let answer = FlagAnswer::Seen { until, ahead_ms, raisable: lacks.is_none(), pending };
            Done { answer, writers: None, lacks }
        }
        FlagOp::Fence => fenced(session.writers().await?),
        FlagOp::Check => fenced(session.still_writing(among).await?),
        FlagOp::Ring => {
            session.notify(drain.store.schema().as_str(), "").await?;
            done(FlagAnswer::Rung, None)
        }
    })
}
