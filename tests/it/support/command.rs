//! A command of the program, run to its end with nobody at the terminal.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed when it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The objects of NDJSON.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Succeeded and said this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert!(self.stdout.contains(text), "{text:?} is not in {}", self.stdout);
    }

    /// Failed with this code, said all these, and nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, texts: &[&str]) {
        self.fails_in_the_end(code, texts);
        assert_eq!(self.stdout, "");
    }

    /// Failed with this code and said all these, after it had shown what it was about to do.
    #[track_caller]
    pub(crate) fn fails_in_the_end(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in {}", self.stderr);
        }
    }
}

/// Runs a command on a database.
pub(crate) fn run(url: &str, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
