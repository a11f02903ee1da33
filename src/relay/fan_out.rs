//! Parts that go to several channels: what is still to be sent of them, and their common result.
//!
//! A part is settled when all its channels have accepted. While one of them fails, the part is repeated under the same
//! ids, and Ably drops what the others have, for two minutes. A channel may fail for longer (a key that may not
//! publish to it): so this relay remembers which have accepted. Another relay, or this one after a restart, does not: then
//! subscribers of those channels get the part once more, under its envelopes' ids.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::plan::Part;
use crate::ably::SpecResult;
use crate::domain::channel::ChannelName;
use crate::domain::event::TenantId;
use crate::domain::failure::{FailureClass, PublishFailure};
use crate::domain::message::Spec;

/// Tenants of whom this is remembered; of more, Ably has to.
const TENANTS_MAX: usize = 1_000;

/// What has been accepted of parts that are not settled.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    partly: Mutex<HashMap<TenantId, Partly>>,
}

#[derive(Debug)]
struct Partly {
    /// The first message id: with it the composition is known.
    first_id: String,
    accepted: Vec<ChannelName>,
}

impl FanOut {
    /// The specs of a part that are still to be sent.
    pub(super) fn open_specs<'p>(
        &self,
        part: &'p Part,
    ) -> impl Iterator<Item = &'p Spec> + use<'p> {
        let accepted = if part.also.is_empty() { Vec::new() } else { self.accepted(part) };
        let all = std::iter::once(&part.spec).chain(&part.also);
        all.filter(move |spec| !accepted.contains(&spec.channel))
    }

    fn accepted(&self, part: &Part) -> Vec<ChannelName> {
        let partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
        let known = partly.get(&part.tenant_id);
        let same = known.filter(|known| first_id(part) == Some(&known.first_id));
        same.map(|known| known.accepted.clone()).unwrap_or_default()
    }

    /// One result a part, from those of its specs as [`FanOut::open_specs`] gave them.
    pub(super) fn together(&self, parts: &[Part], results: Vec<SpecResult>) -> Vec<SpecResult> {
        if parts.iter().all(|part| part.also.is_empty()) {
            return results;
        }
        let mut results = results.into_iter();
        parts.iter().map(|part| self.of_part(part, &mut results)).collect()
    }

    fn of_part(&self, part: &Part, results: &mut impl Iterator<Item = SpecResult>) -> SpecResult {
        let specs: Vec<&Spec> = self.open_specs(part).collect();
        let own: Vec<SpecResult> = results.by_ref().take(specs.len()).collect();
        let accepted = specs.iter().zip(&own).filter(|(_, result)| result.is_ok());
        let accepted: Vec<ChannelName> = accepted.map(|(spec, _)| spec.channel.clone()).collect();
        // What is not decided goes before what is: a refusal by one channel would dissolve a group that another may have.
        let failed = own.iter().position(|result| result.as_ref().is_err_and(|f| !is_decided(f)));
        let failed = failed.or_else(|| own.iter().position(Result::is_err));
        let together = own.into_iter().nth(failed.unwrap_or_default()).unwrap_or_else(missing);
        if !part.also.is_empty() {
            self.remember(part, accepted, &together);
        }
        together
    }

    fn remember(&self, part: &Part, accepted: Vec<ChannelName>, together: &SpecResult) {
        let mut partly = self.partly.lock().unwrap_or_else(PoisonError::into_inner);
        let known = partly.remove(&part.tenant_id);
        let Some(first_id) = first_id(part) else { return };
        if together.is_ok() || together.as_ref().is_err_and(is_decided) {
            return;
        }
        let mut known = known
            .filter(|known| known.first_id == *first_id)
            .unwrap_or_else(|| Partly { first_id: first_id.clone(), accepted: Vec::new() });
        known.accepted.extend(accepted);
        if !known.accepted.is_empty() && partly.len() < TENANTS_MAX {
            partly.insert(part.tenant_id.clone(), known);
        }
    }
}

fn first_id(part: &Part) -> Option<&String> {
    part.spec.messages.first().map(|message| &message.id)
}

/// Whether Ably has looked at the messages and refused them.
fn is_decided(failure: &PublishFailure) -> bool {
    matches!(failure.class, FailureClass::Content | FailureClass::Unknown)
}

/// The client gives one result a spec.
fn missing() -> SpecResult {
    Err(PublishFailure {
        class: FailureClass::Outage,
        status: None,
        code: None,
        message: "no result for a channel".into(),
        retry_after: None,
    })
}
