//! The version before the last change of the schema, as `scripts/older-version` builds it.

use std::path::Path;
use std::sync::OnceLock;

/// Its program.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<Option<&Path>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/older/outbox-relay"));
        path.is_file().then_some(path)
    });
    found.expect("no older version to run beside this one: build it with `scripts/older-version`")
}
