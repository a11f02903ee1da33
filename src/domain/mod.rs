//! What an event is, and what becomes of it. No I/O, no async, no clock.
//!
//! Reading order: [`event`] (a row of the outbox), [`channel`] and [`routing`] (where it goes), [`message`] (what Ably
//! and the subscriber receive), [`envelope`] and [`payload_link`] (its parts), [`new_event`] (what an application writes), [`failure`] (what can go wrong, and what is done about it),
//! [`policy`] (who waits for a failed event), [`backoff`] (how long to wait), [`traceparent`] (in which trace it was written).

pub mod backoff;
pub mod channel;
pub mod envelope;
pub mod event;
pub mod failure;
mod headers;
pub mod message;
pub mod new_event;
pub mod payload_link;
pub mod policy;
pub mod routing;
pub mod traceparent;
