//! Payloads against the schemas of their types, before anything is planned.

use std::panic::{self, AssertUnwindSafe};

use crate::domain::message::{ErrorCode, Refusal};
use crate::registry::problem::Problems;
use crate::registry::validation::Validation;
use crate::store::claim::{Claimed, Run};

/// Problems that the error of a row names; `events validate` tells all.
const PROBLEMS_TOLD: usize = 5;

/// Marks the events that must not be published.
///
/// What may have been sent before is passed over: it was admitted then, and to fail it now, by a schema that has
/// changed since, would break up a group that Ably may know, or call an event failed that subscribers have.
pub(super) fn inspect(validation: &Validation, runs: &mut [Run]) {
    if !validation.is_on() {
        return;
    }
    for run in runs.iter_mut().filter(|run| run.group.is_none()) {
        // Named where a link takes the payload's place, which nobody has looked at.
        let unseen = |c: &&mut Claimed| c.oversize.is_some() && !c.event.event_type.is_empty();
        for claimed in run.events.iter_mut().filter(unseen).filter(|_| validation.rejects()) {
            let message = "the payload is too large to be checked against its schema, and \
                           registry.validate is reject: make it smaller";
            claimed.invalid = Some(invalid(message.into()));
        }
        for claimed in run.events.iter_mut().filter(|c| !c.lock_trace && c.oversize.is_none()) {
            let event = &claimed.event;
            // A payload that the validator cannot bear fails alone, as one that cannot be encoded does.
            let admitted = panic::catch_unwind(AssertUnwindSafe(|| {
                validation.admit(&event.id, &event.event_type, &event.payload)
            }));
            claimed.invalid = match admitted {
                Ok(admitted) => admitted.err().map(|problems| refusal(&problems)),
                Err(_) => Some(invalid(
                    "outbox-relay panicked while it checked this event: a defect, please report it"
                        .into(),
                )),
            };
        }
    }
}

fn refusal(problems: &Problems) -> Refusal {
    let told = problems.as_slice().iter().take(PROBLEMS_TOLD);
    let told: Vec<String> = told.map(|p| format!("{} {}", p.path, p.message)).collect();
    let more = problems.as_slice().len().saturating_sub(PROBLEMS_TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    invalid(format!("the registry refuses the event: {}{more}", told.join("; ")))
}

fn invalid(message: String) -> Refusal {
    Refusal { code: ErrorCode::ValidationError, message, ably_code: None }
}
