//! What can go wrong with the private PostgreSQL: each a cause and a remedy in one line.

use std::path::PathBuf;

/// Why there is no private PostgreSQL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No `initdb` and `postgres` on this machine, and none could be installed.
    #[error(
        "PostgreSQL was not found on this machine and {why}; install PostgreSQL {oldest} or later, set \
         PG_BIN to the directory of initdb and postgres, or use a database of your own with \
         --database-url",
        oldest = super::postgres_find::MAJOR_MIN
    )]
    NotFound {
        /// Why it was not installed through npm either.
        why: String,
    },
    /// `PG_BIN` was given and is of no use.
    #[error("PG_BIN={}: {why}; point it to a directory with initdb and postgres, or unset it", .directory.display())]
    BadBinDirectory {
        /// The value of `PG_BIN`.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// npm was asked for the binaries and did not deliver.
    #[error(
        "npm could not install PostgreSQL: {why}; check npm's registry and proxy settings, install \
         PostgreSQL yourself, or use --database-url"
    )]
    Npm {
        /// npm's own error line.
        why: String,
    },
    /// The binaries came, and are of no use here.
    #[error(
        "PostgreSQL from npm does not run here: {why}; install PostgreSQL, or use --database-url"
    )]
    NpmUnusable {
        /// What was tried and failed.
        why: String,
    },
    /// We are root, and there is no other user to run as.
    #[error(
        "PostgreSQL refuses to run as root and none of the users postgres, _postgres and nobody \
         exists; run as an ordinary user, or use --database-url"
    )]
    NoOrdinaryUser,
    /// Our user id has no entry in the user database (`docker run -u 12345`).
    #[error(
        "initdb cannot work for user id {uid}, which has no name (no passwd entry); run as a named \
         user, or use --database-url"
    )]
    NamelessUser {
        /// The id in question.
        uid: u32,
    },
    /// No directory for the cluster.
    #[error(
        "no directory for PostgreSQL's files: {why}; set TMPDIR to a writable directory with a short path"
    )]
    Directory {
        /// What failed for each candidate.
        why: String,
    },
    /// A file operation in a directory that we do have.
    #[error("{}: {source}; check that it is writable", .path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What.
        source: std::io::Error,
    },
    /// The file system is full.
    #[error("no space left in {} for PostgreSQL's files (about 50 MB); free some, or set TMPDIR to another place", .directory.display())]
    DiskFull {
        /// Where the files were to go.
        directory: PathBuf,
    },
    /// The guard's shell could not be started, or not as the other user.
    #[error(
        "starting PostgreSQL's processes as user id {uid} failed: {source}; run as an ordinary user, or \
         use --database-url"
    )]
    Spawn {
        /// The user they should have run as.
        uid: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// `initdb` or `postgres` gave up.
    #[error("PostgreSQL did not start: {why}; use --database-url if this machine cannot run one")]
    Start {
        /// The decisive line of its log.
        why: String,
    },
    /// Nothing failed, and nothing became ready.
    #[error(
        "PostgreSQL was not {what} within {seconds} s; is the machine overloaded? use --database-url to do without"
    )]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// It was asked for something that only a running server can do.
    #[error("the private PostgreSQL has ended: {why}; start another one")]
    Ended {
        /// The decisive line of its log.
        why: String,
    },
}

impl PostgresError {
    /// Makes the best of a log whose program has failed: the known causes by name, else the line that
    /// says most.
    pub(super) fn from_log(log: &str, directory: PathBuf, uid: u32) -> Self {
        if log.contains("No space left on device") {
            Self::DiskFull { directory }
        } else if log.contains("could not look up effective user ID") {
            Self::NamelessUser { uid }
        } else {
            Self::Start { why: decisive_line(log) }
        }
    }
}

/// The line of a PostgreSQL log that names the cause: the last fatal one, else the last one at all.
pub(super) fn decisive_line(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rfind(|line| ["FATAL:", "PANIC:", "error:"].iter().any(|mark| line.contains(mark)))
        .or_else(|| lines().next_back())
        .unwrap_or("it said nothing")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_decides_which_error_it_is() {
        let error =
            |log: &str| PostgresError::from_log(log, PathBuf::from("/d"), 12_345).to_string();
        let full = error("initdb: error: could not write file \"x\": No space left on device\n");
        assert!(full.contains("no space left in /d"), "{full}");
        let nameless = error(
            "initdb: error: could not look up effective user ID 12345: user does not exist\n",
        );
        assert!(nameless.contains("user id 12345, which has no name"), "{nameless}");
        let other = error(
            "LOG:  starting\nFATAL:  could not map anonymous shared memory\nLOG:  database system is shut down\n",
        );
        assert!(other.contains("did not start: FATAL:  could not map"), "{other}");
        assert!(error("").contains("it said nothing"));
    }

    #[test]
    fn every_error_is_one_line_with_a_remedy() {
        let io = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let directory = || PathBuf::from("/d");
        let why = || "why".to_owned();
        for error in [
            PostgresError::NotFound { why: why() },
            PostgresError::BadBinDirectory { directory: directory(), why: why() },
            PostgresError::Npm { why: why() },
            PostgresError::NpmUnusable { why: why() },
            PostgresError::NoOrdinaryUser,
            PostgresError::NamelessUser { uid: 1 },
            PostgresError::Directory { why: why() },
            PostgresError::File { path: directory(), source: io() },
            PostgresError::DiskFull { directory: directory() },
            PostgresError::Spawn { uid: 1, source: io() },
            PostgresError::Start { why: why() },
            PostgresError::Timeout { what: "ready", seconds: 60 },
            PostgresError::Ended { why: why() },
        ] {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains("; "), "{text}");
        }
    }
}
