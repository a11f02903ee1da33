//! Which user PostgreSQL runs as: it refuses to run as root, so root lends it another one.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

use super::postgres_error::PostgresError;

/// Users that may run the server when we are root, best first. `postgres` is the distributions' name,
/// `_postgres` macOS's; `nobody` exists everywhere and owns nothing.
const SERVER_USERS: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The user of PostgreSQL's processes and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerUser {
    uid: Uid,
    gid: Gid,
    /// We are root and become this user for the server's processes only.
    borrowed: bool,
}

impl ServerUser {
    /// Ourselves, or an ordinary user when we are root.
    pub(super) fn choose() -> Result<Self, PostgresError> {
        if !Uid::effective().is_root() {
            return Ok(Self::ourselves());
        }
        SERVER_USERS
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(|user| Self { uid: user.uid, gid: user.gid, borrowed: true })
            .ok_or(PostgresError::NoOrdinaryUser)
    }

    /// The user we are, root too.
    pub(super) fn ourselves() -> Self {
        Self { uid: Uid::effective(), gid: Gid::effective(), borrowed: false }
    }

    pub(super) fn uid(self) -> u32 {
        self.uid.as_raw()
    }

    /// Lets `command` run as this user; the supplementary groups of root are dropped with it.
    pub(super) fn apply(self, command: &mut Command) {
        if self.borrowed {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
    }

    /// Gives `path`, which we have made, to this user.
    pub(super) fn own(self, path: &Path) -> std::io::Result<()> {
        if self.borrowed {
            nix::unistd::chown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Whether this user can pass through `directory` and everything above it.
    ///
    /// Root's home is closed to others, so a checkout or a `TMPDIR` there is of no use to a borrowed
    /// user. Group rights are left out: a borrowed user is in no group of ours.
    pub(super) fn can_enter(self, directory: &Path) -> bool {
        !self.borrowed
            || directory.ancestors().all(|ancestor| {
                ancestor.as_os_str().is_empty()
                    || ancestor.metadata().is_ok_and(|found| {
                        let bit = if found.uid() == self.uid() { 0o100 } else { 0o001 };
                        found.mode() & bit != 0
                    })
            })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_borrowed_user_cannot_enter_a_directory_that_is_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let user =
            ServerUser { uid: Uid::from_raw(65_000), gid: Gid::from_raw(65_000), borrowed: true };
        let set = |mode| {
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode))
                .unwrap();
        };
        set(0o700);
        assert!(!user.can_enter(directory.path()));
        set(0o711);
        assert!(user.can_enter(directory.path()));
        assert!(ServerUser { borrowed: false, ..user }.can_enter(Path::new("/does/not/matter")));
    }
}
