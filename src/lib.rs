//! outbox-relay publishes the rows of a transactional outbox in PostgreSQL to Ably: in order per
//! tenant, milliseconds after commit, without losing or repeating any.
//!
//! Applications use [`enqueue`] with [`NewEvent`], and [`parse_realtime_event`] where they subscribe; the binary is the rest.
//!
//! # Layers, in reading order
//! Imports go one way, from right to left; `tests/tidy.rs` fails when they do not.
//!
//! `domain <- registry <- {store | ably | telemetry} <- relay <- {config | doctor} <- http <- cli`, with `emulator` and `dev` beside them.
//!
//! - [`domain`]: events, channels, messages and failure classes. No I/O, no clock.
//! - [`registry`]: event types and the schemas of their payloads.
//! - [`store`]: PostgreSQL. Nobody else names `tokio_postgres`.
//! - [`ably`]: Ably's REST API. With the emulator's own client in `dev`, nobody else names `reqwest`.
//! - [`telemetry`]: spans of publishes, with the feature `otlp`. Nobody else names `opentelemetry`.
//! - [`relay`]: waking, claiming, publishing, settling.
//! - [`doctor`]: looks at everything that a relay depends on.
//! - [`http`]: health, metrics, publishing on request, the dashboard.
//! - [`emulator`]: a local Ably for development and tests.
//! - [`dev`]: a private PostgreSQL and sample traffic.
//! - [`config`]: flags, environment and file become typed settings.
//! - [`cli`]: the commands of the binary.

pub mod ably;
pub mod cli;
pub mod config;
pub mod dev;
pub mod doctor;
pub mod domain;
pub mod emulator;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod registry;
pub mod relay;
pub mod store;
pub mod telemetry;

pub use domain::message::ENVELOPE_VERSION;
pub use domain::new_event::NewEvent;
pub use registry::realtime_event::{RealtimeEvent, parse_realtime_event};
pub use store::producer::{Producer, enqueue, enqueue_many};
