//! Which ids a channel has taken lately, and when they are forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::serial::Serial;

/// The first publish under an id: what a repetition is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    /// Its position.
    pub(super) serial: Serial,
    /// How many messages it had.
    pub(super) count: usize,
}

/// The ids of one channel, each remembered for a fixed time after its *first* publish: a repetition
/// does not prolong it, because Ably documents "2 minutes after the original publish".
#[derive(Debug, Default)]
pub(super) struct DedupWindow {
    seen: HashMap<Arc<str>, First>,
    order: VecDeque<(u64, Arc<str>)>,
}

impl DedupWindow {
    /// Forgets what is older than `window_ms` and says how many that were.
    pub(super) fn expire(&mut self, now_ms: u64, window_ms: u64) -> usize {
        let mut forgotten = 0;
        while self.order.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= window_ms) {
            if let Some((_, key)) = self.order.pop_front() {
                self.seen.remove(&key);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// The first publish under this id, if it is remembered.
    pub(super) fn first(&self, key: &str) -> Option<First> {
        self.seen.get(key).copied()
    }

    /// Remembers an id that [`Self::first`] does not know.
    pub(super) fn remember(&mut self, key: &str, first: First, now_ms: u64) {
        let key: Arc<str> = key.into();
        self.order.push_back((now_ms, Arc::clone(&key)));
        self.seen.insert(key, first);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: First = First { serial: Serial::START, count: 1 };

    #[test]
    fn an_id_is_known_for_the_window_after_its_first_publish() {
        let mut window = DedupWindow::default();
        assert_eq!(window.first("a"), None);
        window.remember("a", FIRST, 1_000);
        window.remember("b", FIRST, 2_000);
        assert_eq!(window.expire(120_999, 120_000), 0);
        assert_eq!(window.first("a"), Some(FIRST));
        assert_eq!(window.expire(121_000, 120_000), 1);
        assert_eq!((window.first("a"), window.first("b")), (None, Some(FIRST)));
        assert_eq!(window.expire(u64::MAX, 120_000), 1);
        assert!(window.is_empty());
    }
}
