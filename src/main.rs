//! The `outbox-relay` binary: parse, call, map to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    outbox_relay::cli::main()
}
