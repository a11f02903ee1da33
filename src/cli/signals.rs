//! SIGTERM and SIGINT: the first asks, the second forces. And SIGHUP.

use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};

/// Signals this soon after the first are the same one: nobody asks twice on purpose so quickly.
const ECHO_TIME: Duration = Duration::from_millis(300);

/// Watches for signals in `tasks`: the first cancels `stop`, a second one that is no echo of it ends the process at once with
/// 130 (SIGINT) or 143 (SIGTERM).
///
/// # Errors
/// When the operating system refuses a signal handler.
pub(super) fn watch(tasks: &mut JoinSet<()>, stop: CancellationToken) -> Result<(), Failure> {
    let refused = |error| Failure::internal(format!("signals cannot be watched: {error}"));
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate()).map_err(refused)?,
        interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
    };
    tasks.spawn(async move {
        let first = signals.next().await;
        tracing::info!(signal = first.name(), "stopping; a second signal ends at once");
        stop.cancel();
        signals.forget_echoes().await;
        end_at_once(signals.next().await);
    });
    Ok(())
}

/// SIGHUP: read the settings again. Until this is called it ends the process, as it does everywhere.
///
/// # Errors
/// When the operating system refuses a signal handler.
pub(super) fn hang_up() -> Result<Signal, Failure> {
    signal(SignalKind::hangup())
        .map_err(|error| Failure::internal(format!("signals cannot be watched: {error}")))
}

#[expect(clippy::exit, reason = "whoever asks twice does not want to wait for anything")]
fn end_at_once(asked: Asked) {
    tracing::warn!(signal = asked.name(), "ended at once; what was in flight is sent again");
    process::exit(i32::from(asked.exit().code()));
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Lets the first signal's echoes pass: `timeout` and some shells send it to the process and to its group.
    async fn forget_echoes(&mut self) {
        let over = tokio::time::sleep(ECHO_TIME);
        tokio::pin!(over);
        loop {
            tokio::select! {
                // In this order, so that what has come by then is an echo too.
                biased;
                _ = self.next() => {}
                () = &mut over => return,
            }
        }
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

#[derive(Clone, Copy)]
enum Asked {
    Terminate,
    Interrupt,
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Terminate => Exit::Terminated,
            Self::Interrupt => Exit::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    /// Tells the test binary, started once more by a test, to be the process that gets the signals.
    const CHILD: &str = "SIGNALS_TEST_CHILD";

    /// How long the child waits for a signal before it gives up.
    const CHILD_LIFE_MAX: Duration = Duration::from_secs(30);

    /// Watches signals until killed, and says on stderr what happens.
    fn be_the_child() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
            watch(&mut tasks, stop.clone()).unwrap();
            writeln!(std::io::stderr(), "watching").unwrap();
            tokio::time::timeout(CHILD_LIFE_MAX, stop.cancelled()).await.unwrap();
            writeln!(std::io::stderr(), "stopping").unwrap();
            // A drain that hangs; the parent's second signal ends it, or this ends the test red.
            tokio::time::sleep(CHILD_LIFE_MAX).await;
        });
    }

    fn await_line(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) {
        assert!(lines.any(|line| line.unwrap().contains(wanted)), "no line {wanted:?}");
    }

    fn exit_code_after(first: Signal, second: Signal, test: &str) -> Option<i32> {
        let mut child: Child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        await_line(&mut lines, "watching");
        kill(pid, first).unwrap();
        await_line(&mut lines, "stopping");
        // An echo, which must not end it.
        kill(pid, first).unwrap();
        std::thread::sleep(ECHO_TIME * 3);
        assert_eq!(child.try_wait().unwrap(), None, "an echo of the first signal is no second one");
        kill(pid, second).unwrap();
        child.wait().unwrap().code()
    }

    #[test]
    fn the_first_signal_asks_and_a_second_one_ends_at_once() {
        if std::env::var_os(CHILD).is_some() {
            return be_the_child();
        }
        let test = "cli::signals::tests::the_first_signal_asks_and_a_second_one_ends_at_once";
        assert_eq!(exit_code_after(Signal::SIGTERM, Signal::SIGTERM, test), Some(143));
        assert_eq!(exit_code_after(Signal::SIGTERM, Signal::SIGINT, test), Some(130));
    }
}
