//! Everything that needs a real PostgreSQL, as one binary: one link, one cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

mod private_postgres;
mod support;
