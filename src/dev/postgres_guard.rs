//! The shell that outlives us by a moment: it runs a program and, when we end, ends it and removes
//! its directory.
//!
//! Its standard input is a pipe that only we hold. The kernel closes it however we end, SIGKILL
//! included, so there is nothing to forget. Rejected: `PR_SET_PDEATHSIG` (fires when the *thread* that
//! spawned the child ends, which a runtime does at will, and removes no directory), `pg_ctl start`
//! (detaches), `Drop` alone (does not run on signals).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::privileges::ServerUser;

/// How often a child or a file is looked at while we wait for it: far below what a person notices,
/// and 200 cheap system calls a second.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// What the guard does; each is preceded by `postgres_guard.sh`, which defines `run` and `finish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// `initdb`, then `postgres` until it ends; removes the directory.
    Serve,
    /// npm; removes the directory when it fails.
    Install,
}

impl Duty {
    fn script(self) -> &'static str {
        match self {
            Self::Serve => {
                concat!(include_str!("postgres_guard.sh"), include_str!("postgres_serve.sh"))
            }
            Self::Install => {
                concat!(include_str!("postgres_guard.sh"), include_str!("postgres_install.sh"))
            }
        }
    }
}

/// A running guard. Dropping it ends what it runs, without waiting for that.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    /// The only write end; `None` once we have asked for the end.
    lifeline: Option<ChildStdin>,
}

impl Guard {
    /// Starts a guard in `directory`, which becomes its working directory and its first argument.
    ///
    /// Everything the program prints goes to `log`: a file, never a pipe, because a pipe that nobody
    /// drains stops the server when it is full.
    pub(super) fn spawn(
        duty: Duty,
        directory: &Path,
        arguments: &[&OsStr],
        environment: &[(&str, &OsStr)],
        user: ServerUser,
        log: &File,
    ) -> std::io::Result<Self> {
        // As a file, so that a process list shows one short line and not the whole script.
        let script = directory.join("guard.sh");
        std::fs::write(&script, duty.script())?;
        user.own(&script)?;
        let mut command = Command::new("/bin/sh");
        command
            .arg(script)
            .arg(directory)
            .args(arguments)
            // The caller's directory may be closed to the server's user.
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            // Ctrl-C goes to the terminal's foreground group: it must reach us, who then drain, and not
            // the server, which would shut down under us.
            .process_group(0);
        if duty == Duty::Serve {
            clean_environment(&mut command);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        user.apply(&mut command);
        let mut child = command.spawn()?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline })
    }

    /// The exit status, once it has ended.
    pub(super) fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Lets a guard that holds its data start the server again.
    pub(super) fn start_again(&mut self) -> std::io::Result<()> {
        match &mut self.lifeline {
            Some(lifeline) => lifeline.write_all(b"start\n"),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Asks for the end; [`Guard::wait`] tells when it has come.
    pub(super) fn release(&mut self) {
        self.lifeline = None;
    }

    /// Waits for the end; `None` when it has not come within `limit`.
    pub(super) async fn wait(&mut self, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Keeps the caller's PostgreSQL settings (`PGDATA`, `PGPORT`, `PGOPTIONS`, …) and locale away from the
/// cluster: with a `LANG` that is not installed, `initdb` fails.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"PG") || bytes.starts_with(b"LC_") || bytes == b"LANGUAGE" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C");
}

#[cfg(test)]
mod tests {
    use super::super::postgres_directory::PrivateDirectory;
    use super::*;

    #[tokio::test]
    async fn a_guard_whose_program_fails_at_once_ends_and_removes_its_directory() {
        let base = tempfile::tempdir().unwrap();
        let us = ServerUser::ourselves();
        // Many times: a shell that was just forked once lost the signal that ends it.
        for attempt in 0..200 {
            let directory = PrivateDirectory::create(base.path(), "guard-", us).unwrap();
            let program = [OsStr::new("false")];
            let mut guard =
                Guard::spawn(Duty::Install, &directory.path, &program, &[], us, &directory.log)
                    .unwrap();
            let status = guard.wait(Duration::from_secs(20)).await.unwrap();
            assert!(status.is_some_and(|status| !status.success()), "{attempt}: {status:?}");
            assert!(!directory.path.exists(), "{attempt}");
        }
    }
}
