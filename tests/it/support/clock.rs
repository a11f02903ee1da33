//! A wrong wall clock for one process, or clocks that run faster: a library that is preloaded, made with the C compiler that Rust
//! needs for linking anyway.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Path of the library; made on first use.
pub(crate) fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path =
            format!("{}/clock_skew_{}.so", env!("CARGO_TARGET_TMPDIR"), env!("CARGO_CRATE_NAME"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock_skew.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o", &path, source])
            .status()
            .expect("cc starts");
        assert!(made.success(), "cc could not make the library that shifts clocks");
        path
    })
}

/// `CLOCK_SKEW_S` for a clock as far back as clocks go, a minute short of it.
pub(crate) fn to_1970() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    format!("-{}", now - 60)
}
