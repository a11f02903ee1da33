//! What can be changed of a relay while it runs: its key and its rate per channel. Whatever else it does rests on
//! settings that are the same from its start to its end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ably::{AblyError, ApiKey, Client};

/// Changes a relay, from outside and from any thread. Of no use, and no harm, once the relay has ended.
#[derive(Debug, Clone)]
pub struct Adjust {
    ably: Arc<Client>,
    values: watch::Sender<Values>,
}

/// Where the coordinator hears of it.
#[derive(Debug)]
pub(super) struct Adjusted {
    values: watch::Receiver<Values>,
    /// What was heard of last.
    seen: Values,
}

/// What the coordinator has to know.
#[derive(Debug, Clone, Copy)]
struct Values {
    channel_rate: u32,
    /// Keys so far: a new one ends the pause that the old one has led to.
    keys: u64,
}

/// What has changed since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) channel_rate: Option<u32>,
    pub(super) key: bool,
}

/// Both ends.
pub(super) fn channel(ably: Arc<Client>, channel_rate: u32) -> (Adjust, Adjusted) {
    let seen = Values { channel_rate, keys: 0 };
    let (sender, receiver) = watch::channel(seen);
    (Adjust { ably, values: sender }, Adjusted { values: receiver, seen })
}

impl Adjust {
    /// Sends later requests with this key, and tries it at once.
    ///
    /// # Errors
    /// When it does not fit into a header; the old one stays.
    pub fn key(&self, key: ApiKey) -> Result<(), AblyError> {
        self.ably.replace_key(key)?;
        self.values.send_modify(|values| values.keys += 1);
        Ok(())
    }

    /// Publishes a second to one channel from now on; 0 is no limit.
    pub fn channel_rate(&self, per_second: u32) {
        self.values.send_modify(|values| values.channel_rate = per_second);
    }
}

impl Adjusted {
    /// Waits for a change, for ever when there can be none any more.
    pub(super) async fn changed(&mut self) -> Change {
        if self.values.changed().await.is_err() {
            return std::future::pending().await;
        }
        let (now, before) = (*self.values.borrow_and_update(), self.seen);
        self.seen = now;
        Change {
            channel_rate: (now.channel_rate != before.channel_rate).then_some(now.channel_rate),
            key: now.keys != before.keys,
        }
    }
}
