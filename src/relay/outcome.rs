//! From Ably's answer to what is written: one function, one table (see `domain::failure`). Pure.

use std::time::Duration;

use super::plan::{Company, Part};
use crate::domain::backoff::Backoff;
use crate::domain::failure::{FailureClass, HoldReason, PublishFailure, UNKNOWN_ATTEMPTS_MAX};
use crate::domain::message::{ErrorCode, Refusal};
use crate::domain::policy::OnFailed;
use crate::store::settle::{Hold, Settlement};

/// A tenant over its channel's rate: Ably's window is a second.
const THROTTLED: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// A tenant whose channel the key may not publish to: somebody must act, a minute is soon enough.
const CAPABILITY: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));

/// A tenant whose channel alone has an outage.
const SICK_CHANNEL: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

/// A refusal of unknown meaning; with five attempts an event is failed after about ten seconds.
const UNKNOWN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Writes the outcome of one part into the settlement. Returns the failure when it concerns the
/// whole publisher and not this tenant: then the part stays pending, with no attempt consumed.
pub fn apply<'f, A>(
    settlement: &mut Settlement,
    part: &Part,
    result: &'f Result<A, PublishFailure>,
    random: u64,
) -> Option<&'f PublishFailure> {
    let Err(failure) = result else {
        settlement.published.extend(&part.seqs);
        forget_group(settlement, part);
        if part.hold_failures > 0 {
            settlement.release.push(part.tenant_id.clone());
        }
        return None;
    };
    match failure.class {
        FailureClass::Outage | FailureClass::ThrottledAccount | FailureClass::Configuration => {
            return Some(failure);
        }
        FailureClass::ThrottledChannel => hold(settlement, part, failure, THROTTLED, random),
        FailureClass::Capability => hold(settlement, part, failure, CAPABILITY, random),
        FailureClass::Content => refuse(settlement, part, failure, part.seqs.len() == 1),
        FailureClass::Unknown => {
            let last = part.seqs.len() == 1 && part.attempts + 1 >= UNKNOWN_ATTEMPTS_MAX;
            refuse(settlement, part, failure, last);
            if !last {
                hold(settlement, part, failure, UNKNOWN, random);
            }
        }
    }
    None
}

/// Whether a failure of one part can be the part's own trouble when others went through: rates of the
/// account concern all, whoever was refused.
pub fn may_be_local(failure: &PublishFailure) -> bool {
    match failure.class {
        FailureClass::Outage | FailureClass::Configuration => true,
        FailureClass::ThrottledAccount
        | FailureClass::ThrottledChannel
        | FailureClass::Capability
        | FailureClass::Content
        | FailureClass::Unknown => false,
    }
}

/// Ends the count of crashes of a part that had been in flight before: by its outcome, or, when there is none
/// yet, by taking this time back.
pub fn answer_crashes<A>(
    settlement: &mut Settlement,
    part: &Part,
    result: &Result<A, PublishFailure>,
) {
    let decided = match result {
        Ok(_) => true,
        Err(failure) => matches!(failure.class, FailureClass::Content | FailureClass::Unknown),
    };
    let list =
        if decided { &mut settlement.forget_crashes } else { &mut settlement.uncount_crashes };
    list.push(part.tenant_id.clone());
}

/// Holds the tenant of a part that failed while others went through, so that one sick channel does
/// not stop the publisher. Consumes no attempts.
pub fn hold_back(settlement: &mut Settlement, part: &Part, failure: &PublishFailure, random: u64) {
    hold(settlement, part, failure, SICK_CHANNEL, random);
}

/// Ably has decided against these messages, so none of them was accepted: the group is dissolved, and
/// its events may go in another composition.
fn refuse(settlement: &mut Settlement, part: &Part, failure: &PublishFailure, for_good: bool) {
    let refusal = Refusal {
        code: ErrorCode::AblyError,
        message: failure.message.clone(),
        ably_code: failure.code,
    };
    if for_good && part.on_failed == OnFailed::Block {
        settlement.blocking.extend(&part.seqs);
    }
    let list = if for_good { &mut settlement.failed } else { &mut settlement.refused };
    list.extend(part.seqs.iter().map(|seq| (*seq, refusal.clone())));
    forget_group(settlement, part);
}

fn forget_group(settlement: &mut Settlement, part: &Part) {
    if matches!(part.company, Company::Group { .. }) {
        settlement.forget_groups.push(part.tenant_id.clone());
    }
}

fn hold(
    settlement: &mut Settlement,
    part: &Part,
    failure: &PublishFailure,
    backoff: Backoff,
    random: u64,
) {
    let failures = u32::try_from(part.hold_failures).unwrap_or(0).saturating_add(1);
    let wait = backoff.wait(failures, random).max(failure.retry_after.unwrap_or_default());
    settlement.holds.push(Hold {
        tenant_id: part.tenant_id.clone(),
        wait,
        first: part.hold_failures == 0,
        reason: HoldReason::Failure(failure.class),
        message: failure.to_string(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::ChannelName;
    use crate::domain::event::{Seq, TenantId};
    use crate::domain::message::Spec;

    fn part(events: i64, attempts: i32) -> Part {
        let tenant_id = TenantId::new("a");
        let channel = ChannelName::for_tenant(&tenant_id).unwrap();
        let company = if events > 1 {
            Company::Group { base_id: "b".into(), recorded: false }
        } else {
            Company::Alone
        };
        Part {
            seqs: (1..=events).map(Seq).collect(),
            company,
            hold_failures: 0,
            attempts,
            on_failed: OnFailed::Skip,
            repeated: false,
            spec: Spec { channel, messages: Vec::new() },
            also: Vec::new(),
            tenant_id,
        }
    }

    fn settled(part: &Part, class: FailureClass) -> (Settlement, bool) {
        let failure = PublishFailure {
            class,
            status: Some(400),
            code: Some(40_000),
            message: "no".into(),
            retry_after: None,
        };
        let mut settlement = Settlement::default();
        let result: Result<(), _> = Err(failure);
        let global = apply(&mut settlement, part, &result, 0).is_some();
        (settlement, global)
    }

    #[test]
    fn outages_throttling_and_credentials_never_consume_attempts() {
        for class in
            [FailureClass::Outage, FailureClass::ThrottledAccount, FailureClass::Configuration]
        {
            for events in [1, 3] {
                let (settlement, global) = settled(&part(events, 100), class);
                assert!(global && settlement.is_empty(), "{class:?}");
            }
        }
        for class in [FailureClass::ThrottledChannel, FailureClass::Capability] {
            let (settlement, global) = settled(&part(3, 100), class);
            assert!(!global && settlement.holds.len() == 1, "{class:?}");
            assert!(settlement.failed.is_empty() && settlement.refused.is_empty());
            assert!(settlement.forget_groups.is_empty(), "the same group goes again");
        }
    }

    #[test]
    fn content_fails_an_event_alone_and_dissolves_a_group() {
        let (alone, _) = settled(&part(1, 0), FailureClass::Content);
        assert_eq!((alone.failed.len(), alone.refused.len()), (1, 0));
        assert_eq!(alone.failed[0].1.ably_code, Some(40_000));
        let (group, _) = settled(&part(3, 0), FailureClass::Content);
        assert_eq!((group.failed.len(), group.refused.len()), (0, 3));
        assert_eq!(group.forget_groups.len(), 1);
        assert!(group.holds.is_empty(), "smaller company goes at once");
    }

    #[test]
    fn the_unknown_is_tried_and_then_fails() {
        let (early, _) = settled(&part(1, 0), FailureClass::Unknown);
        assert_eq!((early.failed.len(), early.refused.len(), early.holds.len()), (0, 1, 1));
        let (last, _) = settled(&part(1, UNKNOWN_ATTEMPTS_MAX - 1), FailureClass::Unknown);
        assert_eq!((last.failed.len(), last.refused.len(), last.holds.len()), (1, 0, 0));
        let (group, _) = settled(&part(2, 100), FailureClass::Unknown);
        assert_eq!(
            (group.failed.len(), group.refused.len()),
            (0, 2),
            "innocents never fail together"
        );
    }

    #[test]
    fn only_an_event_that_has_failed_for_good_blocks_its_tenant() {
        let strict = |part| Part { on_failed: OnFailed::Block, ..part };
        let (alone, _) = settled(&strict(part(1, 0)), FailureClass::Content);
        assert_eq!((alone.blocking, alone.failed.len()), (vec![Seq(1)], 1));
        let (last, _) = settled(&strict(part(1, UNKNOWN_ATTEMPTS_MAX - 1)), FailureClass::Unknown);
        assert_eq!(last.blocking, [Seq(1)]);
        for (part, class) in [
            (strict(part(3, 0)), FailureClass::Content),
            (strict(part(1, 0)), FailureClass::Unknown),
            (strict(part(1, 100)), FailureClass::Outage),
            (strict(part(1, 100)), FailureClass::ThrottledChannel),
            (part(1, 0), FailureClass::Content),
        ] {
            assert_eq!(settled(&part, class).0.blocking, [], "{class:?}");
        }
    }

    #[test]
    fn success_releases_a_hold_and_forgets_the_group() {
        let mut settlement = Settlement::default();
        let part = Part { hold_failures: 2, ..part(2, 0) };
        assert!(apply(&mut settlement, &part, &Ok::<(), _>(()), 0).is_none());
        assert_eq!(settlement.published, [Seq(1), Seq(2)]);
        assert_eq!((settlement.release.len(), settlement.forget_groups.len()), (1, 1));
    }
}
