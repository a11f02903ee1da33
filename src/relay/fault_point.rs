//! Named steps of a drain at which a test can have the process die, stop or be asked to end. Only in
//! builds with debug assertions; in a release build a step is nothing.
//!
//! `FAILPOINT_CRASH_AT=after_claim:3` kills the process, as `kill -9` would, when it comes to that step
//! for the third time. `FAILPOINT_STOP_AT` stops it (SIGSTOP), `FAILPOINT_TERM_AT` sends it SIGTERM.
//! `FAILPOINT_CRASH_ON=a.type` kills it whenever an event of that type is about to be sent,
//! `FAILPOINT_PANIC_ON` has the encoding of such an event panic. `FAILPOINT_FLOOR` has claims begin at a floor from
//! the start, without the slow claims that are its reason.

/// A step between two effects that others can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is locked yet.
    BeforeClaim,
    /// Tenants are locked and their events read.
    AfterClaim,
    /// The composition of groups is committed.
    AfterRecord,
    /// The rows are locked; the request leaves next.
    BeforeRequest,
    /// Ably has answered; nothing is written.
    BeforeSettle,
    /// The outcome is committed.
    AfterSettle,
}

#[cfg(not(debug_assertions))]
mod unarmed {
    pub(in super::super) fn pass(_: super::Step) {}
    pub(in super::super) fn send(_: &str) {}
    pub(in super::super) fn encode(_: &str) {}
    pub(in super::super) fn floor_wanted() -> Option<std::time::Duration> {
        None
    }
}

#[cfg(not(debug_assertions))]
pub(super) use unarmed::{encode, floor_wanted, pass, send};

#[cfg(debug_assertions)]
pub(super) use armed::{encode, floor_wanted, pass, send};

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    use super::Step;

    /// Not names that begin with `OUTBOX_RELAY_`: those are settings, and checked.
    const POINTS: [(&str, Signal); 3] = [
        ("FAILPOINT_CRASH_AT", Signal::SIGKILL),
        ("FAILPOINT_STOP_AT", Signal::SIGSTOP),
        ("FAILPOINT_TERM_AT", Signal::SIGTERM),
    ];

    /// What happens at the `nth` pass of a step.
    #[derive(Debug)]
    struct Armed {
        step: &'static str,
        nth: u32,
        signal: Signal,
        passed: AtomicU32,
    }

    /// Tells that the drain has come to this step.
    pub(in super::super) fn pass(step: Step) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| {
            POINTS.iter().find_map(|(name, signal)| parse(&std::env::var(name).ok()?, *signal))
        });
        if let Some(armed) = armed
            && armed.step == name(step)
            && armed.passed.fetch_add(1, Ordering::Relaxed) + 1 == armed.nth
        {
            // Raising a signal that exists does not fail.
            _ = raise(armed.signal);
        }
    }

    /// Tells that an event of this type is about to be sent.
    pub(in super::super) fn send(event_type: &str) {
        static DEADLY: OnceLock<Option<String>> = OnceLock::new();
        let deadly = DEADLY.get_or_init(|| std::env::var("FAILPOINT_CRASH_ON").ok());
        if deadly.as_deref() == Some(event_type) {
            _ = raise(Signal::SIGKILL);
        }
    }

    /// Tells that an event of this type is being encoded.
    pub(in super::super) fn encode(event_type: &str) {
        static DEADLY: OnceLock<Option<String>> = OnceLock::new();
        let deadly = DEADLY.get_or_init(|| std::env::var("FAILPOINT_PANIC_ON").ok());
        assert!(deadly.as_deref() != Some(event_type), "a test asked for this");
    }

    /// For how long claims are to begin at a floor in any case.
    pub(in super::super) fn floor_wanted() -> Option<std::time::Duration> {
        std::env::var_os("FAILPOINT_FLOOR").map(|_| std::time::Duration::from_secs(86_400))
    }

    fn name(step: Step) -> &'static str {
        match step {
            Step::BeforeClaim => "before_claim",
            Step::AfterClaim => "after_claim",
            Step::AfterRecord => "after_record",
            Step::BeforeRequest => "before_request",
            Step::BeforeSettle => "before_settle",
            Step::AfterSettle => "after_settle",
        }
    }

    fn parse(text: &str, signal: Signal) -> Option<Armed> {
        use Step::{
            AfterClaim, AfterRecord, AfterSettle, BeforeClaim, BeforeRequest, BeforeSettle,
        };
        let (step, nth) = text.split_once(':')?;
        let all = [BeforeClaim, AfterClaim, AfterRecord, BeforeRequest, BeforeSettle, AfterSettle];
        let step = all.into_iter().map(name).find(|known| *known == step)?;
        Some(Armed { step, nth: nth.parse().ok()?, signal, passed: AtomicU32::new(0) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_is_a_step_and_a_count() {
            let armed = parse("before_settle:12", Signal::SIGKILL).unwrap();
            assert_eq!((armed.step, armed.nth), ("before_settle", 12));
            for bad in ["", "before_settle", "before_settle:x", "nowhere:1"] {
                assert!(parse(bad, Signal::SIGKILL).is_none(), "{bad}");
            }
        }
    }
}
