//! How a command ends: an exit code, a one-line cause and a one-line remedy.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{Problem, Problems};

/// The exit codes: those of `sysexits.h`, and 128 + signal. All are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or stopped as asked.
    Ok = 0,
    /// `doctor` has found something critical.
    Critical = 1,
    /// `doctor --strict` has found something to warn of.
    Warnings = 3,
    /// Wrong usage, as clap has it.
    Usage = 2,
    /// Bad data (`EX_DATAERR`).
    BadData = 65,
    /// A dependency is unavailable (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A defect of this program (`EX_SOFTWARE`).
    Internal = 70,
    /// Worth another try (`EX_TEMPFAIL`).
    Temporary = 75,
    /// Permission denied (`EX_NOPERM`).
    Permission = 77,
    /// Wrong configuration (`EX_CONFIG`).
    Config = 78,
    /// Forced by a second SIGINT.
    Interrupted = 130,
    /// Forced by a second SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The code as the operating system has it.
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the process exits with.
    pub(super) exit: Exit,
    /// What went wrong, one line each; almost always one.
    causes: Vec<String>,
    /// What to do about it, in one line.
    remedy: String,
}

impl Failure {
    /// A failure with one cause. Neither text may hold a secret; line breaks become blanks.
    pub(super) fn new(exit: Exit, cause: impl Display, remedy: impl Display) -> Self {
        Self { exit, causes: vec![cause.to_string()], remedy: remedy.to_string() }
    }

    /// A failure with several causes, one line each.
    pub(super) fn several(exit: Exit, causes: Vec<String>, remedy: impl Display) -> Self {
        Self { exit, causes, remedy: remedy.to_string() }
    }

    /// A failure whose text says cause and remedy in one line, `cause; remedy`; `otherwise` is the remedy
    /// when it has none.
    pub(super) fn of_line(exit: Exit, line: impl Display, otherwise: &str) -> Self {
        let line = line.to_string();
        let (cause, remedy) = line.split_once("; ").unwrap_or((&line, otherwise));
        Self::new(exit, cause, remedy)
    }

    /// Something that should not happen.
    pub(super) fn internal(cause: impl Display) -> Self {
        Self::new(Exit::Internal, cause, "please report this with the lines above")
    }

    /// Whoever read our output has gone: a clean end, nothing to say.
    pub(super) fn output_closed() -> Self {
        Self { exit: Exit::Ok, causes: Vec::new(), remedy: String::new() }
    }

    /// The causes in one line, and the remedy.
    pub(super) fn parts(&self) -> (String, String) {
        (self.causes.join("; "), self.remedy.clone())
    }

    /// Writes the failure to stderr and says what to exit with.
    pub(super) fn report(&self) -> Exit {
        // Somebody may have closed stderr as well; the exit code is left.
        let _ = std::io::stderr().write_all(self.text().as_bytes());
        self.exit
    }

    /// `error: …` and `remedy: …`; one `error:` line a cause where there are several.
    fn text(&self) -> String {
        if self.causes.is_empty() {
            return String::new();
        }
        let causes = self.causes.iter().map(|cause| format!("error: {}\n", one_line(cause)));
        causes.collect::<String>() + &format!("remedy: {}\n", one_line(&self.remedy))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(Exit::Config, problem.cause(), problem.remedy())
    }
}

impl From<Problems> for Failure {
    fn from(Problems(problems): Problems) -> Self {
        match &problems[..] {
            [problem] => problem.clone().into(),
            several => Self {
                exit: Exit::Config,
                causes: several.iter().map(ToString::to_string).collect(),
                remedy: format!("mend these {} lines; nothing was started", several.len()),
            },
        }
    }
}

/// Writes a `remedy:` line after a cause that was written elsewhere.
pub(super) fn write_remedy(remedy: &str) {
    let _ = writeln!(std::io::stderr(), "remedy: {remedy}");
}

/// A panic becomes one `error:` line. The standard report, with its backtrace, is for those who ask
/// by `RUST_BACKTRACE`.
pub(super) fn report_panics_in_one_line() {
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let what = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let _ = writeln!(std::io::stderr(), "error: internal: {} ({place})", one_line(what));
    }));
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_exactly_two_lines() {
        let failure = Failure::new(Exit::Unavailable, "no\nanswer\r\n", "start\u{1b}[31m it");
        assert_eq!(failure.text(), "error: no answer\nremedy: start [31m it\n");
    }

    #[test]
    fn one_problem_is_two_lines_and_several_are_one_line_each() {
        let problem = |n: u8| Problem::missing(format!("p{n}"), format!("r{n}"));
        let one = Failure::from(Problems(vec![problem(1)]));
        assert_eq!(one.text(), "error: p1\nremedy: r1\n");
        let two = Failure::from(Problems(vec![problem(1), problem(2)]));
        let text =
            "error: p1; r1\nerror: p2; r2\nremedy: mend these 2 lines; nothing was started\n";
        assert_eq!(two.text(), text);
        assert_eq!(two.exit, Exit::Config);
    }

    #[test]
    fn a_closed_output_is_silent_and_clean() {
        assert_eq!(Failure::output_closed().text(), "");
        assert_eq!(Failure::output_closed().exit, Exit::Ok);
    }
}
