//! Whether a trouble is worth a line in the log: each cause once, and again while it lasts.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two log lines with the same cause.
const REPEAT_INTERVAL: Duration = Duration::from_secs(30);

/// The most causes told in one [`REPEAT_INTERVAL`]: a failover shows two or three (the end of the
/// connection, nobody listens, starting up); what changes at every attempt must not flood the log.
const CAUSES_MAX: usize = 4;

/// What has been told lately.
#[derive(Debug, Default)]
pub(super) struct News {
    told: Vec<(String, Instant)>,
}

impl News {
    /// Whether to tell this cause now. A cause that has changed is told at once: the first failure is often
    /// only the end of a connection, and the next one says why there is no other.
    pub(super) fn is_new(&mut self, cause: &str, now: Instant) -> bool {
        self.told.retain(|(_, at)| now - *at < REPEAT_INTERVAL);
        if self.told.len() >= CAUSES_MAX || self.told.iter().any(|(told, _)| told == cause) {
            return false;
        }
        self.told.push((cause.to_owned(), now));
        true
    }

    /// The trouble is over: the next one is news whatever it is.
    pub(super) fn clear(&mut self) {
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_an_interval() {
        let now = Instant::now();
        let mut news = News::default();
        assert!(news.is_new("ended", now) && !news.is_new("ended", now));
        assert!(news.is_new("refused", now + Duration::from_secs(1)));
        assert!(!news.is_new("refused", now + REPEAT_INTERVAL));
        assert!(news.is_new("ended", now + REPEAT_INTERVAL));
        news.clear();
        assert!(news.is_new("ended", now + REPEAT_INTERVAL));
    }

    #[test]
    fn causes_that_always_change_are_no_flood() {
        let now = Instant::now();
        let mut news = News::default();
        let told = (0..1_000).filter(|n| news.is_new(&n.to_string(), now)).count();
        assert_eq!(told, CAUSES_MAX);
    }
}
