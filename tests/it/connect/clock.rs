//! TLS by a clock that says 1970: no certificate is valid yet, and the clock is what to look at.

use std::process::Command;

use super::certificates::Files;
use super::cluster::{AUTHORITY, WITH_TLS};
use crate::support::clock;

#[test]
fn a_certificate_that_is_not_valid_yet_points_at_the_clock() {
    let files = Files::new();
    let root = files.write("root.pem", &AUTHORITY.pem);
    let dsn = WITH_TLS.dsn("writer", &format!("sslmode=verify-full sslrootcert={root}"));
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(["migrate", "status"])
        .env_clear()
        .env("DATABASE_URL", dsn)
        .env("LD_PRELOAD", clock::library())
        .env("CLOCK_SKEW_S", clock::to_1970())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    let [cause, remedy] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(cause.contains("not valid yet"), "{said}");
    assert!(remedy.contains("this machine's clock"), "{said}");
}
