//! A wrong wall clock for one process: a library that is preloaded, made with the C compiler that Rust
//! needs for linking anyway.

use std::process::Command;
use std::sync::OnceLock;

/// Path of the library; made on first use.
pub(crate) fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = format!("{}/clock_skew.so", env!("CARGO_TARGET_TMPDIR"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock_skew.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o", &path, source])
            .status()
            .expect("cc starts");
        assert!(made.success(), "cc could not make the library that shifts clocks");
        path
    })
}

#[test]
fn the_library_shifts_the_wall_clock_of_a_process() {
    let seconds = |skew: &str| {
        let mut date = Command::new("date");
        date.arg("+%s").env("LD_PRELOAD", library()).env("CLOCK_SKEW_S", skew);
        let out = String::from_utf8(date.output().expect("date").stdout).expect("text");
        out.trim().parse::<i64>().expect("seconds")
    };
    assert!((500..700).contains(&(seconds("600") - seconds("0"))));
    assert!((-700..-500).contains(&(seconds("-600") - seconds("0"))));
}
