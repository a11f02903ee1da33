//! Tests on real parts: PostgreSQL, sockets, the binary, the official Ably client.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod ably_client;
mod adopt;
mod bad_answers;
mod bad_data;
mod bell;
mod capture;
mod cli;
mod configure;
mod connect;
mod cost;
mod crash;
mod crash_budget;
mod dashboard;
mod dead_letters;
mod dev;
mod doctor;
mod drain;
mod emulator_client;
mod floor;
mod http;
mod in_flight;
mod logs;
mod lone;
mod migration_files;
mod migrations;
mod outage;
mod packaging;
mod pages;
mod parity;
mod partitions;
mod pause;
mod prisma;
mod private_postgres;
mod producers;
mod readme;
mod recipes;
mod registry;
mod reload;
mod retention;
mod routing;
mod secrets;
mod sources;
mod sql;
mod startup;
mod subscribers;
mod support;
mod tail;
mod takeover;
mod top;
mod traceparent;
mod typescript;
