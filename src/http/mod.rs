//! The relay over HTTP: health, metrics, and the request to publish now.
//!
//! Reading order: `routes` (which path does what), `access` (who may), `publish` (`/outbox/publish`), `payload` (what was too large for a message), `dashboard` (a page for people), `server` (bounds
//! on connections, bytes and time), `probe` (the other end, for the `health` command). Nothing here can
//! disturb the relay: a request reads what the relay has noted anyway, or is put into a short queue.

mod access;
mod dashboard;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod payload;
mod probe;
mod publish;
mod routes;
mod server;

pub use dashboard::DashboardConfig;
pub use probe::{ProbeError, Probed, probe};
pub use server::{HttpConfig, HttpError, HttpServer};
