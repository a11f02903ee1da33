//! Ably's REST API: publishing specs, and what became of each of them.
//!
//! Reading order: `key` and `endpoint` (who we are, where Ably is), `request` (a spec as bytes,
//! written once), `answer` (what Ably said, spec by spec), `route` (which host is asked next),
//! `transport` (one request to one host), `client` (all of it together). Only `transport` and
//! `client` do I/O; the others decide, and are tested without a socket.
//!
//! Facts about Ably in this layer are from its documentation and client specification (protocol
//! version 6, read 2026-08).

mod answer;
mod client;
mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod key;
mod request;
mod route;
mod text;
mod tls;
mod transport;

pub use answer::{Accepted, SpecResult};
pub use client::{AblyError, Client, ClientConfig};
pub use endpoint::{Endpoint, EndpointError, Fallback};
pub use key::{ApiKey, KeyError};
pub use request::{
    BatchMode, EncodedSpec, REQUEST_BYTES_MAX, REQUEST_CHANNELS_MAX, SPEC_MESSAGES_MAX,
    request_bytes,
};
pub use tls::TlsError;
