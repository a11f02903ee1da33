//! Ruby with Active Record, where it is installed.

use std::path::Path;
use std::process::Command;

/// Whether what `tests/ruby` needs is there.
pub(crate) fn has_active_record() -> bool {
    let asked = Command::new("ruby").args(["-e", "require 'active_record'; require 'pg'"]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// Runs a script of `tests/ruby` on a database and a directory; panics with what it says when it fails.
pub(crate) fn run(script: &str, url: &str, directory: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ruby").join(script);
    let ran = Command::new("ruby").arg(script).arg(url).arg(directory).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
