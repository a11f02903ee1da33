//! Tests on real parts: PostgreSQL, sockets, the binary, the official Ably client.

mod ably_client;
mod private_postgres;
mod support;
