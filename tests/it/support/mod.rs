//! What the integration tests stand on.

pub(crate) mod clock;
pub(crate) mod command;
pub(crate) mod local_ably;
pub(crate) mod npm_workspace;
pub(crate) mod outbox;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod recipe_page;
pub(crate) mod relay;
pub(crate) mod ruby;
pub(crate) mod server_process;
