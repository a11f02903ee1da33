//! Tests on real parts: PostgreSQL, sockets, the binary, the official Ably client.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod ably_client;
mod bad_answers;
mod bad_data;
mod cli;
mod connect;
mod crash;
mod crash_budget;
mod dead_letters;
mod dev;
mod drain;
mod emulator_client;
mod in_flight;
mod migrations;
mod outage;
mod private_postgres;
mod readme;
mod recipes;
mod retention;
mod sql;
mod startup;
mod subscribers;
mod support;
mod typescript;
