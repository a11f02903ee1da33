//! Tests on real parts: PostgreSQL, sockets, the binary, the official Ably client.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod ably_client;
mod bad_answers;
mod bad_data;
mod bell;
mod cli;
mod connect;
mod crash;
mod crash_budget;
mod dead_letters;
mod dev;
mod doctor;
mod drain;
mod emulator_client;
mod http;
mod in_flight;
mod migrations;
mod outage;
mod packaging;
mod private_postgres;
mod producers;
mod readme;
mod registry;
mod retention;
mod secrets;
mod sql;
mod startup;
mod subscribers;
mod support;
mod tail;
