//! Tests over real sockets, one binary.

mod ably_client;
