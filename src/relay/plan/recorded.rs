//! What a record says about a group beside its events: the base of its ids and, where it is not its tenant's own
//! channel, the channel. A base is a UUID and a channel may hold blanks, so the first blank parts them.
//!
//! In the one column that there is, and no column of its own: most outboxes route nothing, and none needs a migration
//! for what they do not use. The price: a relay older than routing would repeat such a group in the tenant's channel,
//! so a template is set when all relays of an outbox know it.

use super::{Company, Part};
use crate::domain::channel::ChannelName;
use crate::store::session::NewGroup;

/// The record that a part needs before it is sent, if any.
pub(in crate::relay) fn record_of(part: &Part) -> Option<NewGroup> {
    let Company::Group { base_id, recorded: false } = &part.company else { return None };
    let channel = &part.spec.channel;
    let base_id = if channel.is_of_tenant(&part.tenant_id) {
        base_id.clone()
    } else {
        format!("{base_id} {channel}")
    };
    Some(NewGroup { tenant_id: part.tenant_id.clone(), base_id, seqs: part.seqs.clone() })
}

/// Base and channel of a recorded group: what may have been sent is sent there again, whatever the routing has become
/// since.
pub(super) fn read(recorded: String, tenants: ChannelName) -> (String, ChannelName) {
    match recorded.split_once(' ') {
        // A relay that routed has written it, so it is no channel of anybody else's.
        Some((base, channel)) => (base.to_owned(), ChannelName::recorded(channel)),
        None => (recorded, tenants),
    }
}
