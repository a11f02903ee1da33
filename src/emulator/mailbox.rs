//! What waits for one subscriber: bounded, and whoever does not keep up is disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::Frame;

/// Frames that may wait for one subscriber; `EmulatorConfig::subscriber_bytes_max` bounds their bytes.
const FRAMES_MAX: usize = 65_536;

/// A frame on its way to a subscriber.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Which attachment it is for: what was queued before a detach must not appear after a re-attach.
    pub(super) attachment: u64,
    pub(super) frame: Arc<Frame>,
}

/// The sending side, one clone a channel.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    queue: mpsc::Sender<Delivery>,
    waiting: Arc<AtomicUsize>,
    bytes_max: usize,
    /// Resets the subscriber's connection.
    reset: CancellationToken,
    /// Frames of this connection are not sent back to it (`echo=false`).
    pub(super) no_echo: Option<Arc<str>>,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Receiver<Delivery>,
    waiting: Arc<AtomicUsize>,
}

/// A mailbox whose overflow cancels `reset`.
pub(super) fn mailbox(
    bytes_max: usize,
    reset: CancellationToken,
    no_echo: Option<Arc<str>>,
) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    let mailbox =
        Mailbox { queue: sender, waiting: Arc::clone(&waiting), bytes_max, reset, no_echo };
    (mailbox, Inbox { queue: receiver, waiting })
}

impl Mailbox {
    /// `false` when the subscriber is gone, or was disconnected just now because it is too slow.
    pub(super) fn push(&self, delivery: Delivery) -> bool {
        let bytes = delivery.frame.bytes;
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // One frame always fits, however large.
        if (before == 0 || before + bytes <= self.bytes_max)
            && self.queue.try_send(delivery).is_ok()
        {
            return true;
        }
        self.reset.cancel();
        false
    }

    /// Whether it was disconnected by somebody already.
    pub(super) fn is_gone(&self) -> bool {
        self.queue.is_closed() || self.reset.is_cancelled()
    }
}

impl Inbox {
    /// The next one; `None` when nobody can send any more. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.queue.recv().await?;
        self.waiting.fetch_sub(delivery.frame.bytes, Ordering::Relaxed);
        Some(delivery)
    }
}
