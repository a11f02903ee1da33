//! Where a cluster lives: a directory that nobody else can enter, on tmpfs when there is room.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::postgres_error::PostgresError;
use super::privileges::ServerUser;

/// Every directory of ours begins with this, so that leftovers can be told from other people's.
const NAME: &str = "outbox-relay-pg-";
/// `/dev/shm` is used from this much free space on: a cluster needs 50 MB, its WAL is capped at 64 MB,
/// and a container's default of 64 MB in all would fill up. A database copy is 5-25 times faster
/// there than on ext4.
const SHM_FREE_MIN: u64 = 1 << 30;
/// Longest path of a unix socket, without the final zero byte: `sun_path` in Linux and in the BSDs.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// The socket's name with the longest port.
const SOCKET_NAME: &str = "/.s.PGSQL.65535";
/// A directory younger than this may be one whose owner has not locked its log yet.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(60);
/// As much of the log's end is read, in bytes.
const LOG_TAIL_BYTES: u64 = 8 * 1024;

/// A directory with a log, both ours alone.
///
/// The log is locked through the file description that the guard and the server inherit, so the lock
/// is free exactly when all of them have gone. That is how [`sweep`] knows a leftover.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    pub(super) path: PathBuf,
    pub(super) log: File,
}

impl PrivateDirectory {
    /// Makes one for a cluster of `user`, in `base` or else in the best place there is.
    pub(super) fn for_cluster(
        user: ServerUser,
        base: Option<&Path>,
    ) -> Result<Self, PostgresError> {
        let shm = Path::new("/dev/shm");
        let shm = has_room(shm).then(|| shm.to_owned());
        let best = shm.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]);
        let bases: Vec<PathBuf> = base.map_or_else(|| best.collect(), |base| vec![base.to_owned()]);
        let mut refused = Vec::new();
        for base in bases {
            match Self::in_base(&base, user) {
                Ok(directory) => {
                    sweep(&base, NAME, user.uid());
                    return Ok(directory);
                }
                Err(why) => refused.push(format!("{}: {why}", base.display())),
            }
        }
        refused.dedup();
        Err(PostgresError::Directory { why: refused.join(", ") })
    }

    fn in_base(base: &Path, user: ServerUser) -> Result<Self, String> {
        let length = base.as_os_str().as_bytes().len() + 1 + NAME.len() + 8 + SOCKET_NAME.len();
        if length > SOCKET_PATH_MAX {
            return Err(format!("a socket's path would be {length} bytes, over {SOCKET_PATH_MAX}"));
        }
        if !user.can_enter(base) {
            return Err(format!("user id {} cannot enter it", user.uid()));
        }
        Self::create(base, NAME, user).map_err(|error| error.to_string())
    }

    /// Makes `base/name…` with mode 0700 and gives it to `user`.
    pub(super) fn create(base: &Path, name: &str, user: ServerUser) -> std::io::Result<Self> {
        let path = base.join(format!("{name}{:08x}", fastrand::u32(..)));
        // Fails when it exists, even as somebody's symbolic link: never a directory we have not made.
        DirBuilder::new().mode(0o700).create(&path)?;
        let fill = || {
            let log = OpenOptions::new()
                .read(true)
                .append(true)
                .create_new(true)
                .open(path.join("log"))?;
            log.lock()?;
            user.own(&path)?;
            Ok(log)
        };
        match fill() {
            Ok(log) => Ok(Self { path, log }),
            Err(error) => {
                remove(&path);
                Err(error)
            }
        }
    }

    /// The end of the log, whole lines; readable even when the guard has removed the directory.
    pub(super) fn log_tail(&self) -> String {
        let length = self.log.metadata().map_or(0, |found| found.len());
        let start = length.saturating_sub(LOG_TAIL_BYTES);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
        let read = self.log.read_at(&mut bytes, start).unwrap_or(0);
        bytes.truncate(read);
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once('\n') {
            Some((_, whole_lines)) if start > 0 => whole_lines.to_owned(),
            _ => text.into_owned(),
        }
    }
}

fn has_room(directory: &Path) -> bool {
    nix::sys::statvfs::statvfs(directory).is_ok_and(|found| {
        #[expect(clippy::useless_conversion, reason = "the counts are u32 on macOS")]
        let free =
            u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size()));
        free >= SHM_FREE_MIN
    })
}

/// Removes the leftovers of runs whose every process was killed at once, guard included (a container
/// out of memory, a machine that lost power): on tmpfs they would occupy memory for good.
pub(super) fn sweep(base: &Path, name: &str, uid: u32) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(name.as_bytes())
            && is_leftover(&path, uid)
        {
            tracing::debug!(directory = %path.display(), "removing what a killed run has left");
            remove(&path);
        }
    }
}

fn is_leftover(path: &Path, uid: u32) -> bool {
    let Ok(found) = path.symlink_metadata() else { return false };
    let old =
        found.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= LEFTOVER_AGE_MIN));
    let unused = || match File::open(path.join("log")) {
        Ok(log) => log.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    found.is_dir() && found.uid() == uid && old && unused()
}

/// Removes a directory of ours as far as that is possible: there is nobody to tell.
pub(super) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::debug!(directory = %path.display(), %error, "could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::SystemTime;

    use super::*;

    fn age(path: &Path) {
        let past = SystemTime::now() - 2 * LEFTOVER_AGE_MIN;
        File::open(path).unwrap().set_modified(past).unwrap();
    }

    #[test]
    fn a_sweep_takes_old_unlocked_directories_of_ours_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let user = ServerUser::choose().unwrap();
        let make = |name| PrivateDirectory::create(base.path(), name, user).unwrap();
        let (used, left, young, foreign) =
            (make(NAME), make(NAME), make(NAME), make("something-else-"));
        for directory in [&used, &left, &foreign] {
            age(&directory.path);
        }
        let [left, young, foreign] = [left, young, foreign].map(|directory| directory.path);
        sweep(base.path(), NAME, user.uid() + 1);
        assert!(left.exists(), "somebody else's");
        sweep(base.path(), NAME, user.uid());
        assert!(!left.exists(), "a leftover");
        assert!(used.path.exists(), "locked");
        assert!(young.exists(), "too young to tell");
        assert!(foreign.exists(), "another name");
    }

    #[test]
    fn the_tail_of_a_long_log_is_whole_lines_and_outlives_the_directory() {
        let base = tempfile::tempdir().unwrap();
        let directory =
            PrivateDirectory::create(base.path(), NAME, ServerUser::choose().unwrap()).unwrap();
        for line in 0..2_000 {
            writeln!(&directory.log, "line number {line}").unwrap();
        }
        remove(&directory.path);
        let tail = directory.log_tail();
        assert!(tail.starts_with("line number ") && tail.ends_with("line number 1999\n"), "{tail}");
        assert!(tail.len() as u64 <= LOG_TAIL_BYTES);
    }

    #[test]
    fn a_base_whose_sockets_would_have_too_long_a_path_is_refused() {
        let base = PathBuf::from(format!("/{}", "x".repeat(SOCKET_PATH_MAX)));
        let error = PrivateDirectory::in_base(&base, ServerUser::choose().unwrap()).unwrap_err();
        assert!(error.contains("a socket's path would be"), "{error}");
    }
}
