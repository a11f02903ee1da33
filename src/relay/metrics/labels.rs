//! Labels, each with a bounded number of values, and never a tenant.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;

use crate::domain::failure::FailureClass;

/// Values of an open label before the rest is `other`.
const NAMES_MAX: usize = 100;

/// The longest value in bytes; what is longer is `other`.
const NAME_BYTES_MAX: usize = 128;

const OTHER: &str = "other";

/// The values of one open label that have been seen. Each costs the relay a few hundred bytes, and Prometheus
/// far more.
#[derive(Debug, Default)]
pub(super) struct NameBook(Mutex<HashSet<String>>);

impl NameBook {
    /// The value to count under.
    pub(super) fn name(&self, name: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name.to_owned();
        }
        // What has no name is an event whose names alone are larger than a message.
        if name.is_empty() || known.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
            return OTHER.to_owned();
        }
        known.insert(name.to_owned());
        name.to_owned()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TypeLabels {
    pub(super) event_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailedLabels {
    pub(super) event_type: String,
    pub(super) code: &'static str,
    /// Empty when Ably was not asked.
    pub(super) ably_code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabels {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ScopeLabels {
    pub(super) scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WakeLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BreakerLabels {
    class: &'static str,
}

impl From<FailureClass> for BreakerLabels {
    fn from(class: FailureClass) -> Self {
        Self { class: class.as_str() }
    }
}

/// A stage of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum Stage {
    /// From the commit of a batch's oldest event until the claim has read it.
    Wait,
    /// Locking tenants and reading their events.
    Claim,
    /// Making messages of events.
    Encode,
    /// Committing the composition of groups.
    Record,
    /// Locking the rows.
    Lock,
    /// Ably.
    Publish,
    /// Writing the outcome.
    Settle,
}

impl From<Stage> for StageLabels {
    fn from(stage: Stage) -> Self {
        let stage = match stage {
            Stage::Wait => "wait",
            Stage::Encode => "encode",
            Stage::Claim => "claim",
            Stage::Record => "record",
            Stage::Lock => "lock",
            Stage::Publish => "publish",
            Stage::Settle => "settle",
        };
        Self { stage }
    }
}

/// A reason to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) enum WokenBy {
    /// The bell.
    Notification,
    /// The clock.
    Sweep,
    /// LISTEN is in force (again).
    ListenerUp,
    /// A hold, or a channel's rate, lets a tenant go on.
    Due,
    /// A claim stopped at its limit, or a batch changed something.
    More,
    /// Somebody asked over HTTP.
    Request,
}

impl WokenBy {
    pub(super) const ALL: [Self; 6] =
        [Self::Notification, Self::Sweep, Self::ListenerUp, Self::Due, Self::More, Self::Request];

    /// Its place in [`WAKE_REASONS`].
    pub(super) fn place(self) -> usize {
        self as usize
    }

    /// The reason in a word.
    pub(in crate::relay) fn as_str(self) -> &'static str {
        WAKE_REASONS[self.place()]
    }
}

/// The names of the reasons, in the order of their counters.
pub const WAKE_REASONS: [&str; 6] =
    ["notification", "sweep", "listener_up", "due", "more", "request"];

impl From<WokenBy> for WakeLabels {
    fn from(by: WokenBy) -> Self {
        Self { reason: by.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name() {
        assert_eq!(WokenBy::ALL.map(WokenBy::place), [0, 1, 2, 3, 4, 5]);
        assert_eq!(WokenBy::Due.as_str(), "due");
    }

    #[test]
    fn an_open_label_has_a_bounded_number_of_values() {
        let book = NameBook::default();
        assert_eq!(
            (book.name(&"x".repeat(NAME_BYTES_MAX + 1)), book.name("")),
            (OTHER.into(), OTHER.into())
        );
        for n in 0..NAMES_MAX {
            assert_eq!(book.name(&n.to_string()), n.to_string());
        }
        assert_eq!((book.name("new"), book.name("7")), (OTHER.to_owned(), "7".to_owned()));
    }
}
