//! Does what the wake machine says about the flag that silences the bell: one operation at a time, on the
//! connection beside the drain transactions. No policy here.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tracing::{debug, warn};

use super::drain::Drain;
use super::wake::{FlagAnswer, FlagOp};
use crate::store::bell::Writers;
use crate::store::error::StoreError;

const GRANT: &str =
    "run as the outbox's owner: GRANT UPDATE ON SEQUENCE outbox.awake_until TO the relay's role";

/// The operation under way, and what the last one that looked for writers has found.
#[derive(Debug)]
pub(super) struct FlagWork {
    drain: Arc<Drain>,
    /// For how long the flag is raised.
    term: Duration,
    under_way: JoinSet<Done>,
    writers: Writers,
    /// Whether it has been said that the bell cannot be silenced.
    said: bool,
}

/// How an operation ended.
#[derive(Debug)]
struct Done {
    answer: Result<FlagAnswer, StoreError>,
    /// Whom a later check is about, if that has changed.
    writers: Option<Writers>,
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
            let mut done = Done { answer: Ok(FlagAnswer::Rung), writers: None };
            match perform(&drain, op, term, &among).await {
                Ok((answer, writers)) => (done.answer, done.writers) = (Ok(answer), writers),
                Err(error) => {
                    if !error.is_lasting() {
                        drain.side.forget().await;
                    }
                    done.answer = Err(error);
                }
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

    fn note(&mut self, end: Result<Done, JoinError>) -> FlagAnswer {
        let Ok(done) = end else { return FlagAnswer::Failed { lasting: false } };
        if let Some(writers) = done.writers {
            self.writers = writers;
        }
        match done.answer {
            Ok(answer) => {
                if matches!(answer, FlagAnswer::Seen { raisable: false, .. }) {
                    self.say("the role lacks UPDATE on the sequence awake_until", GRANT);
                }
                answer
            }
            Err(error) => {
                let lasting = error.is_lasting();
                if lasting {
                    self.say(&error.to_string(), &error.remedy());
                } else {
                    debug!(%error, "the flag that silences the bell cannot be worked with");
                }
                FlagAnswer::Failed { lasting }
            }
        }
    }

    /// Once a process: nothing is lost by it but writers' speed.
    fn say(&mut self, cause: &str, remedy: &str) {
        if !self.said {
            warn!(
                cause,
                remedy,
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
) -> Result<(FlagAnswer, Option<Writers>), StoreError> {
    let session = drain.side.get().await?;
    let fenced = |writers: Writers| {
        let open = writers.count();
        (FlagAnswer::Fenced { open }, Some(writers))
    };
    Ok(match op {
        FlagOp::Raise => (FlagAnswer::Raised { until: session.raise_flag(term).await? }, None),
        FlagOp::Lower => {
            let (until, writers) = session.lower_flag().await?;
            (FlagAnswer::Lowered { until, open: writers.count() }, Some(writers))
        }
        FlagOp::Look => {
            let flag = session.read_flag().await?;
            let (until, ahead_ms, raisable) = (flag.until, flag.ahead_ms, flag.raisable);
            (FlagAnswer::Seen { until, ahead_ms, raisable }, None)
        }
        FlagOp::Fence => fenced(session.writers().await?),
        FlagOp::Check => fenced(session.still_writing(among).await?),
        FlagOp::Ring => {
            session.notify(drain.store.schema().as_str(), "").await?;
            (FlagAnswer::Rung, None)
        }
    })
}
