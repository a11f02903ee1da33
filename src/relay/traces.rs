//! The span of a request, linked to the traces in which its events were written. Nothing is asked for and nothing kept
//! unless spans are exported.

use std::collections::HashMap;

use super::plan::Part;
use crate::ably::{EncodedSpec, request_bytes};
use crate::domain::event::Seq;
use crate::domain::message::Spec;
use crate::domain::traceparent::TraceParent;
use crate::telemetry::{PublishSpan, Request, Telemetry};

/// What a request carries: one of the specs of a part.
pub(super) type Carried<'p> = (&'p Part, &'p Spec);

/// In which traces the events of a batch were written, as far as they say.
#[derive(Debug, Default)]
pub(super) struct Traces(HashMap<Seq, TraceParent>);

impl Traces {
    /// Of rows as they were locked.
    pub(super) fn of(rows: impl IntoIterator<Item = (Seq, Option<TraceParent>)>) -> Self {
        Self(rows.into_iter().filter_map(|(seq, trace)| Some((seq, trace?))).collect())
    }

    /// Begins the span of a request that carries these parts.
    pub(super) fn span(
        &self,
        telemetry: &Telemetry,
        carried: &[Carried<'_>],
        request: &[EncodedSpec],
    ) -> Option<PublishSpan> {
        if !telemetry.is_on() {
            return None;
        }
        let events = carried.iter().map(|(_, spec)| spec.messages.len()).sum();
        let (alone, channel) = match carried {
            [(_, spec)] => (spec.messages.first(), Some(spec.channel.as_str())),
            _ => (None, None),
        };
        let what = Request {
            channels: carried.len(),
            channel,
            events,
            message_id: alone.filter(|_| events == 1).map(|message| message.id.as_str()),
            bytes: request_bytes(request),
        };
        // A channel beside the tenant's own has some of the events; the other span has the links of all.
        let whole = carried.iter().filter(|(part, spec)| part.seqs.len() == spec.messages.len());
        let each = whole.flat_map(|(part, spec)| part.seqs.iter().zip(&spec.messages));
        let traced =
            each.filter_map(|(seq, message)| Some((*self.0.get(seq)?, message.id.as_str())));
        telemetry.publish(&what, traced)
    }
}
