//! Whether a session with `--exit-after` has shown what it was to show. Pure.

use crate::cli::failure::{Exit, Failure};
use crate::dev::report::Counts;
use crate::store::application::Outcome;

/// Exactly the events that were wanted, each once, in order, and settled.
pub(super) fn verdict(
    wanted: u64,
    complete: bool,
    outcome: &Outcome,
    counts: Counts,
) -> Result<(), Failure> {
    if !complete || outcome.published != wanted || counts.delivered != wanted {
        let Outcome { published, pending, failed, error } = outcome;
        let why = error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(Failure::new(
            Exit::Temporary,
            format!(
                "of {wanted} events {} were delivered; the outbox says {published} published, {pending} \
                 pending, {failed} failed{why}",
                counts.delivered
            ),
            "see the warnings above; --log-level debug says more",
        ));
    }
    if counts.duplicates + counts.out_of_order > 0 {
        return Err(Failure::internal(format!(
            "{} events arrived twice and {} out of order",
            counts.duplicates, counts.out_of_order
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(delivered: u64, duplicates: u64, out_of_order: u64) -> Counts {
        Counts { delivered, duplicates, out_of_order }
    }

    fn outcome(published: u64, pending: u64, failed: u64) -> Outcome {
        Outcome { published, pending, failed, error: None }
    }

    #[test]
    fn all_delivered_once_in_order_and_settled_is_what_was_wanted() {
        assert_eq!(verdict(5, true, &outcome(5, 0, 0), counts(5, 0, 0)), Ok(()));
    }

    #[test]
    fn anything_missing_is_a_temporary_failure_that_says_what() {
        for (complete, outcome, counts) in [
            (false, outcome(3, 1, 1), counts(3, 0, 0)),
            (true, outcome(4, 1, 0), counts(5, 0, 0)),
            (true, outcome(5, 0, 0), counts(4, 0, 0)),
        ] {
            let failure = verdict(5, complete, &outcome, counts).unwrap_err();
            assert_eq!(failure.exit, Exit::Temporary, "{failure:?}");
        }
        let why = Outcome { error: Some("too large".to_owned()), ..outcome(3, 1, 1) };
        let failure = format!("{:?}", verdict(5, false, &why, counts(3, 0, 0)).unwrap_err());
        assert!(
            failure.contains(
                "of 5 events 3 were delivered; the outbox says 3 published, 1 pending, 1 failed (too large)"
            ),
            "{failure}"
        );
    }

    #[test]
    fn a_duplicate_or_disorder_is_a_defect() {
        for counts in [counts(5, 1, 0), counts(5, 0, 1)] {
            let failure = verdict(5, true, &outcome(5, 0, 0), counts).unwrap_err();
            assert_eq!(failure.exit, Exit::Internal, "{failure:?}");
        }
    }
}
