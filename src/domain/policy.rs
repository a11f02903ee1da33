//! What becomes of a tenant when one of its events fails for good.

/// Policy for the later events of a tenant, one of whose events can never be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailed {
    /// They go on; the failed one waits as a dead letter.
    Skip,
    /// They wait until an operator has requeued or discarded the failed one: strict order.
    Block,
}

impl OnFailed {
    /// The names, as settings and the outbox's `tenant_policy` have them.
    pub const NAMES: &[&str] = &["skip", "block"];

    /// The policy of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "skip" => Some(Self::Skip),
            "block" => Some(Self::Block),
            _ => None,
        }
    }
}

/// `hold.reason` of a tenant that waits for an operator.
pub const BLOCKED: &str = "blocked";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        assert!(OnFailed::NAMES.iter().all(|name| OnFailed::named(name).is_some()));
        assert_eq!(OnFailed::named("stop"), None);
    }
}
