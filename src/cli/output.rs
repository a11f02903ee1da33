//! Data on stdout, one line at a time.

use std::io::{ErrorKind, Write};

use super::failure::{Exit, Failure};

/// Writes one line to stdout and flushes it: whoever reads a stream waits for this line.
///
/// # Errors
/// [`Failure::output_closed`] when the reader has gone (`| head`), so that `?` ends the command
/// cleanly; a temporary failure when the disk behind stdout is full.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    write_line(&mut std::io::stdout().lock(), text)
}

fn write_line(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    // `println!` would panic on a closed pipe: Rust ignores SIGPIPE, and restoring it needs unsafe.
    let written = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Failure::output_closed();
        }
        let cause = format!("stdout cannot be written: {error}");
        Failure::new(Exit::Temporary, cause, "make room where the output goes, then try again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_a_clean_end_and_a_full_disk_is_not() {
        let closed = write_line(&mut Broken(ErrorKind::BrokenPipe), "x").unwrap_err();
        assert_eq!(closed.exit, Exit::Ok);
        let full = write_line(&mut Broken(ErrorKind::StorageFull), "x").unwrap_err();
        assert_eq!(full.exit, Exit::Temporary);
    }
}
