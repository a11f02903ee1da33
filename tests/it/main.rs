//! Tests over real sockets, one binary.

mod emulator_client;
