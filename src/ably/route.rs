//! Which host is asked next: Ably's fallback rules (RSC15, TO3l) without socket, clock or dice.
//!
//! The primary comes first, then up to three fallbacks in random order. A fallback that answered is
//! asked first for the next ten minutes, so that a dead primary costs its time-out once and not
//! with every request.

use std::time::{Duration, Instant};

/// Most fallback hosts that one request is sent to (`httpMaxRetryCount`, TO3l5).
const FALLBACKS_MAX: usize = 3;

/// The host that is asked first, if it is not the primary.
#[derive(Debug)]
pub(super) struct Route {
    /// How many hosts there are; the primary is 0.
    hosts: usize,
    /// How long a fallback that answered is preferred (`fallbackRetryTimeout`, TO3l10).
    sticky_for: Duration,
    /// A fallback that answered, and until when it is preferred.
    sticky: Option<(usize, Instant)>,
}

impl Route {
    /// A route over `hosts` hosts, of which the first is the primary.
    pub(super) fn new(hosts: usize, sticky_for: Duration) -> Self {
        Self { hosts, sticky_for, sticky: None }
    }

    /// The hosts to ask, in order. `shuffle` puts the fallbacks into random order.
    pub(super) fn plan(&mut self, now: Instant, shuffle: impl FnOnce(&mut [usize])) -> Vec<usize> {
        if self.sticky.is_some_and(|(_, until)| until <= now) {
            self.sticky = None;
        }
        let first = self.sticky.map(|(host, _)| host);
        let mut fallbacks: Vec<usize> = (1..self.hosts).filter(|h| Some(*h) != first).collect();
        shuffle(&mut fallbacks);
        fallbacks.truncate(FALLBACKS_MAX);
        first.into_iter().chain([0]).chain(fallbacks).collect()
    }

    /// A host gave an answer that stands. The time of a preferred fallback is not extended: the
    /// primary is nearer, and must get its chance. Returns whether it is newly preferred.
    pub(super) fn answered(&mut self, host: usize, now: Instant) -> bool {
        if host == 0 || self.sticky.is_some_and(|(sticky, until)| sticky == host && until > now) {
            return false;
        }
        self.sticky = Some((host, now + self.sticky_for));
        true
    }

    /// A host failed in a way that another may not: the preferred one is preferred no longer.
    pub(super) fn failed(&mut self, host: usize) {
        if self.sticky.is_some_and(|(sticky, _)| sticky == host) {
            self.sticky = None;
        }
    }
}

/// Whether an answer calls for another host: 500 to 504, and what the edge answered instead of Ably.
///
/// Never 429: the limits are the account's everywhere, and the edge's own (42922) is per address, so
/// that asking three more hosts would only feed it.
pub(super) fn another_host_may_do_better(status: u16, from_cloudfront: bool) -> bool {
    matches!(status, 500..=504) || (from_cloudfront && status >= 400 && status != 429)
}

/// How long the next attempt may take, or `None` when the time for all of them is over.
pub(super) fn attempt_time(elapsed: Duration, one: Duration, all: Duration) -> Option<Duration> {
    let left = all.checked_sub(elapsed)?;
    (!left.is_zero()).then(|| left.min(one))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STICKY: Duration = Duration::from_secs(600);

    fn plan(route: &mut Route, now: Instant) -> Vec<usize> {
        route.plan(now, <[usize]>::reverse)
    }

    #[test]
    fn the_primary_is_first_and_three_fallbacks_follow_in_the_order_of_the_dice() {
        let now = Instant::now();
        assert_eq!(plan(&mut Route::new(6, STICKY), now), [0, 5, 4, 3]);
        assert_eq!(plan(&mut Route::new(2, STICKY), now), [0, 1]);
        assert_eq!(plan(&mut Route::new(1, STICKY), now), [0]);
    }

    #[test]
    fn a_fallback_that_answered_is_first_for_ten_minutes_and_no_longer() {
        let now = Instant::now();
        let mut route = Route::new(6, STICKY);
        assert!(route.answered(4, now));
        assert_eq!(plan(&mut route, now), [4, 0, 5, 3, 2]);
        // Answering again does not prolong it, nor does the primary's answer to another request.
        assert!(!route.answered(4, now + STICKY / 2));
        assert!(!route.answered(0, now + STICKY / 2));
        let last = STICKY - Duration::from_nanos(1);
        assert_eq!(plan(&mut route, now + last), [4, 0, 5, 3, 2]);
        assert_eq!(plan(&mut route, now + STICKY), [0, 5, 4, 3]);
    }

    #[test]
    fn a_preferred_fallback_that_fails_is_preferred_no_longer() {
        let now = Instant::now();
        let mut route = Route::new(6, STICKY);
        route.answered(4, now);
        route.failed(5);
        route.failed(0);
        assert_eq!(plan(&mut route, now)[0], 4);
        route.failed(4);
        assert_eq!(plan(&mut route, now)[0], 0);
    }

    #[test]
    fn only_server_errors_and_the_edge_call_for_another_host() {
        for status in [500, 501, 502, 503, 504] {
            assert!(another_host_may_do_better(status, false), "{status}");
        }
        for status in [200, 201, 302, 400, 401, 403, 404, 408, 413, 429, 505] {
            assert!(!another_host_may_do_better(status, false), "{status}");
        }
        for (status, another) in [(403, true), (404, true), (505, true), (201, false), (429, false)]
        {
            assert_eq!(another_host_may_do_better(status, true), another, "{status}");
        }
    }

    #[test]
    fn attempts_share_the_time_of_the_whole() {
        let seconds = Duration::from_secs;
        assert_eq!(attempt_time(seconds(0), seconds(10), seconds(15)), Some(seconds(10)));
        assert_eq!(attempt_time(seconds(10), seconds(10), seconds(15)), Some(seconds(5)));
        assert_eq!(attempt_time(seconds(15), seconds(10), seconds(15)), None);
        assert_eq!(attempt_time(seconds(16), seconds(10), seconds(15)), None);
    }

    proptest! {
        #[test]
        fn a_plan_has_the_primary_and_names_no_host_twice(
            hosts in 1_usize..9, sticky in 0_usize..9, seed in any::<u64>(),
        ) {
            let now = Instant::now();
            let mut route = Route::new(hosts, STICKY);
            if sticky < hosts {
                route.answered(sticky, now);
            }
            let mut plan = route.plan(now, |all| fastrand::Rng::with_seed(seed).shuffle(all));
            prop_assert!(plan.contains(&0));
            prop_assert!(plan.iter().all(|host| *host < hosts));
            prop_assert!(plan.len() <= 2 + FALLBACKS_MAX);
            plan.sort_unstable();
            prop_assert!(plan.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
