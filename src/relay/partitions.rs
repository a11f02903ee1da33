//! A partitioned outbox while a relay runs: partitions are made ahead of writers, and old ones go as a whole.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::domain::event::Seq;
use crate::store::error::StoreError;
use crate::store::retention::Keeper;
use crate::store::session::Store;

/// Time between two looks whether partitions are to be made. Two are ahead, each made for a day or more.
const INTERVAL: Duration = Duration::from_secs(300);

/// The same when claims were at work with the default partition, as during an outage of Ably, when they last for long.
const INTERVAL_BUSY: Duration = Duration::from_secs(10);

/// The same for an outbox that is one table: somebody may partition it while the relay runs.
const INTERVAL_PLAIN: Duration = Duration::from_secs(3_600);

/// Time between two log lines about the same trouble.
const REPEAT_INTERVAL: Duration = Duration::from_secs(3_600);

/// How often a partition is tried that others are at work with, and the pause between. Each try may stop writers for
/// 0.2 s, so there is four times as much between.
const TRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(800);

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Names of partitions.
    pub names: Vec<String>,
    /// Rows are to be deleted singly only below this position; `None` when the outbox is not partitioned.
    pub walk_below: Option<Seq>,
}

/// Drops all partitions that hold nothing but what was published longer ago than `age`; only empty ones with
/// `only_empty`, when events are archived before they go.
///
/// # Errors
/// When PostgreSQL does not answer or refuses; what was dropped before stays so.
pub async fn drop_old(
    keeper: &mut Keeper,
    age: Duration,
    only_empty: bool,
    stop: &CancellationToken,
) -> Result<Dropped, StoreError> {
    let mut all = Dropped::default();
    if !keeper.is_partitioned().await? {
        return Ok(all);
    }
    let mut tries = 0;
    while !stop.is_cancelled() {
        let drop = keeper.drop_partition(age, only_empty).await?;
        // What is to be archived is walked through wherever it is.
        all.walk_below = (!only_empty).then_some(Seq(drop.walk_below));
        if let Some(name) = drop.dropped {
            info!(partition = name, "dropped partition {name}: all of it was published long ago");
            all.names.push(name);
            tries = 0;
            continue;
        }
        tries += 1;
        if !drop.busy || tries >= TRIES {
            break;
        }
        tokio::select! {
            () = sleep(BUSY_PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(all)
}

/// Makes partitions ahead, until it is dropped. Whatever goes wrong disturbs nobody: writers go on in the default one.
pub(super) async fn keep_ahead(store: Store) {
    let mut said: Option<Instant> = None;
    loop {
        let mut wait = INTERVAL;
        match store.make_partitions().await {
            Ok(None) => wait = INTERVAL_PLAIN,
            Ok(Some(..0)) => wait = INTERVAL_BUSY,
            Ok(Some(0)) => said = None,
            Ok(Some(made)) => {
                said = None;
                info!(made, "made {made} partitions ahead of the last position");
            }
            Err(error) if said.is_none_or(|at| at.elapsed() >= REPEAT_INTERVAL) => {
                said = Some(Instant::now());
                let remedy = "as the outbox's owner: outbox-relay migrate grants --relay ROLE --apply; events go on in the default partition";
                warn!(%error, remedy, "partitions cannot be made ahead: {error}");
            }
            Err(error) => debug!(%error, "still cannot make partitions"),
        }
        // Relays that start together do not ask together.
        sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
