//! What the integration tests stand on.

pub(crate) mod outbox;
pub(crate) mod postgres;
