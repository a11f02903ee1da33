//! How far a long command is, on a terminal's stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two changes of the line: what people can follow.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line that is overwritten; nothing where there is no terminal.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    next: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let next = std::io::stderr().is_terminal().then(Instant::now);
        Self { shown: false, next }
    }

    /// Shows a text, unless the last one is too new.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            // To the start of the line, text, and clear what is left of the old one.
            _ = write!(std::io::stderr(), "\r{}\u{1b}[K", text());
            self.shown = true;
            self.next = Some(now + INTERVAL);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
