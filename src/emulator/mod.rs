//! A local Ably for development and tests: REST, SSE and WebSocket, with Ably's rules and faults on
//! demand. The unmodified official JavaScript client works with it.
//!
//! In reading order: `group` (what may be published), `dedup`, `rate` and `serial` (the rules
//! with time in them), `frame` (a publish once accepted), `hub` (the channels), `attach` and
//! `history` (reading back), `mailbox` (what waits for a subscriber). Around them `publish`,
//! `batch`, `sse`, `websocket` and `admin` speak HTTP, `faults` breaks it, and
//! `connection` lets an accepted publish go without an answer.
//!
//! What it leaves out: tokens, msgpack, presence beyond an acknowledgement, message edits, and
//! limits per account.

mod admin;
mod attach;
mod batch;
mod config;
mod connection;
mod credentials;
mod dedup;
mod error;
mod faults;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod group;
mod history;
mod hub;
mod mailbox;
mod protocol;
mod publish;
mod rate;
mod routes;
mod serial;
mod server;
mod shared;
mod sse;
mod stats;
mod token;
mod websocket;

pub use config::{API_KEY_DEFAULT, EmulatorConfig};
pub use error::EmulatorError;
pub use server::Emulator;
