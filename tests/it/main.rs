//! Tests of the whole: the real binary and real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod cli;
