//! An archive of pruned events: JSON lines, one Zstandard frame a batch, appended to a file. `zstd -dc` reads it.
//!
//! A batch is on disk, file and directory, before its rows are deleted. So whatever is interrupted loses
//! nothing; at worst a batch is in the archive although its rows are still in the table, and is there
//! twice after the next run. A frame that was cut off by a crash is moved aside when the file is opened
//! next: behind it nothing could be read.

mod frames;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use self::frames::{Tail, examine};

/// zstd's own default: a tenth of the size at several hundred MB a second.
const LEVEL: i32 = 3;

/// Payloads are personal data more often than not: nobody but the owner reads the file.
const MODE: u32 = 0o600;

/// Why events could not be archived. None of them has been deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be opened or made.
    #[error("the archive {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory, pipe or device: what is written there cannot be relied on to stay.
    #[error("the archive {path} is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error("another process writes to the archive {path}")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It holds something other than Zstandard frames.
    #[error("{path} is no archive: from byte {at} on it is not Zstandard")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Where it stops to be one.
        at: u64,
    },
    /// It cannot be written or made safe.
    #[error("the archive {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The writer itself failed.
    #[error("the archive's writer ended badly: {0}")]
    Internal(String),
}

impl ArchiveError {
    /// What to do about it, in one line.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Open { .. } => {
                "name a file in a directory that exists and that this user may write to"
            }
            Self::NotAFile { .. } => "name a regular file",
            Self::Busy { .. } => "wait until it has ended, or name another file",
            Self::Foreign { .. } => "name a file that does not exist yet, or an archive",
            Self::Write { .. } => {
                "make room or name another file; no event of this batch was deleted"
            }
            Self::Internal(_) => "please report this; no event of this batch was deleted",
        }
    }
}

/// A file as it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    device: u64,
    inode: u64,
    len: u64,
}

/// A place to archive to. The file is opened when there is something to write, and can be given up in between:
/// then it may be renamed, and others may write to it.
#[derive(Debug)]
pub struct ArchiveWriter {
    path: PathBuf,
    open: Option<ArchiveFile>,
    known: Option<Known>,
}

impl ArchiveWriter {
    /// Touches nothing yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None, known: None }
    }

    /// As [`ArchiveFile::append`], opening the file if need be. Blocks.
    ///
    /// # Errors
    /// As [`ArchiveFile::open`] and [`ArchiveFile::append`].
    pub fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), ArchiveError> {
        let mut archive = match self.open.take() {
            Some(archive) => archive,
            None => ArchiveFile::open_known(&self.path, self.known)?,
        };
        let appended = archive.append(lines);
        self.open = Some(archive);
        appended
    }

    /// Closes and unlocks the file, if it is open.
    pub fn close(&mut self) {
        if let Some(archive) = self.open.take() {
            self.known = archive.known().ok().filter(|known| known.len == archive.end);
        }
    }
}

/// An open archive, locked against other writers.
#[derive(Debug)]
pub struct ArchiveFile {
    file: File,
    path: PathBuf,
    /// Behind the last complete frame.
    end: u64,
}

impl ArchiveFile {
    /// Opens an archive to append to it, or makes one. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`]; an existing file is unchanged then.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::open_known(path, None)
    }

    /// As [`ArchiveFile::open`]; a file that is as we left it is not looked through again.
    fn open_known(path: &Path, known: Option<Known>) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Open { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let file = options.open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ArchiveError::NotAFile { path: path.to_owned() });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ArchiveError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut archive = Self { file, path: path.to_owned(), end: 0 };
        // Asked again: who had the lock may just have written.
        let found = archive.known().map_err(failed)?;
        archive.end = match known {
            Some(known) if known == found => found.len,
            _ => archive.recover(found.len)?,
        };
        archive.make_name_durable().map_err(failed)?;
        Ok(archive)
    }

    /// Appends lines as one frame and waits until they are safe on disk. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError::Write`]; the archive ends where it ended before.
    pub fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), ArchiveError> {
        match self.write(lines) {
            Ok(end) => {
                self.end = end;
                Ok(())
            }
            Err(source) => {
                // Should this fail too, the next run finds the torn frame.
                _ = self.file.set_len(self.end);
                Err(ArchiveError::Write { path: self.path.clone(), source })
            }
        }
    }

    fn known(&self) -> io::Result<Known> {
        let metadata = self.file.metadata()?;
        Ok(Known { device: metadata.dev(), inode: metadata.ino(), len: metadata.len() })
    }

    fn write<'a>(&self, lines: impl Iterator<Item = &'a str>) -> io::Result<u64> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        for line in lines {
            encoder.write_all(line.as_bytes())?;
            encoder.write_all(b"\n")?;
        }
        let frame = encoder.finish()?;
        self.file.write_all_at(&frame, self.end)?;
        self.file.sync_all()?;
        Ok(self.end + frame.len() as u64)
    }

    /// Finds the end of the last complete frame, and moves aside what comes behind it.
    fn recover(&self, len: u64) -> Result<u64, ArchiveError> {
        let failed = |source| ArchiveError::Open { path: self.path.clone(), source };
        match examine(&mut &self.file, len).map_err(failed)? {
            Tail::Complete => Ok(len),
            Tail::Torn { from } => {
                let aside = self.move_aside(from, len).map_err(failed)?;
                tracing::warn!(
                    archive = %self.path.display(),
                    torn = %aside.display(),
                    "the archive ended in mid-batch; that batch's events were not deleted, and its remains were moved aside"
                );
                Ok(from)
            }
            Tail::Foreign { at } => Err(ArchiveError::Foreign { path: self.path.clone(), at }),
        }
    }

    /// Keeps what is cut off: if the file was damaged elsewhere, it may be all that is left of its rows.
    fn move_aside(&self, from: u64, len: u64) -> io::Result<PathBuf> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".torn-{from}"));
        let aside = PathBuf::from(name);
        let mut copy =
            OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&aside)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file.take(len - from), &mut copy)?;
        copy.sync_all()?;
        self.file.set_len(from)?;
        self.file.sync_all()?;
        Ok(aside)
    }

    /// A new file whose directory is not on disk is gone after a power failure, whatever it holds.
    fn make_name_durable(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap()
    }

    #[test]
    fn batches_are_appended_by_one_run_and_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl.zst");
        let mut archive = ArchiveFile::open(&path).unwrap();
        archive.append(["1", "2"].into_iter()).unwrap();
        archive.append(["3"].into_iter()).unwrap();
        assert!(matches!(ArchiveFile::open(&path), Err(ArchiveError::Busy { .. })));
        drop(archive);
        ArchiveFile::open(&path).unwrap().append(["4"].into_iter()).unwrap();
        assert_eq!(read(&path), "1\n2\n3\n4\n");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn an_archive_that_was_cut_anywhere_is_mended_and_keeps_what_was_complete() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        let mut archive = ArchiveFile::open(&whole).unwrap();
        archive.append(["first"].into_iter()).unwrap();
        let first = usize::try_from(archive.end).unwrap();
        archive.append(["second"].into_iter()).unwrap();
        let bytes = std::fs::read(&whole).unwrap();
        for cut in 0..bytes.len() {
            let path = dir.path().join(format!("cut-{cut}"));
            std::fs::write(&path, &bytes[..cut]).unwrap();
            ArchiveFile::open(&path).unwrap().append(["third"].into_iter()).unwrap();
            let kept = if cut < first { "third\n" } else { "first\nthird\n" };
            assert_eq!(read(&path), kept, "cut at {cut}");
            let from = if cut < first { 0 } else { first };
            let aside = dir.path().join(format!("cut-{cut}.torn-{from}"));
            let remains = std::fs::read(aside).unwrap_or_default();
            assert_eq!(remains, &bytes[from..cut], "cut at {cut}");
        }
    }

    #[test]
    fn a_last_batch_whose_bytes_never_reached_the_disk_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut archive = ArchiveFile::open(&path).unwrap();
        archive.append(["first"].into_iter()).unwrap();
        let first = archive.end;
        archive.append(["second"].into_iter()).unwrap();
        drop(archive);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = (usize::try_from(first).unwrap() + bytes.len()) / 2;
        bytes[middle] ^= 0xff;
        for (bytes, name) in [(&bytes[..], "flipped"), (&[&bytes[..9], &[0; 40]].concat(), "zeros")]
        {
            std::fs::write(&path, bytes).unwrap();
            ArchiveFile::open(&path).unwrap().append(["third"].into_iter()).unwrap();
            assert!(read(&path).ends_with("third\n"), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_archive_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        for content in ["my notes", "x", "my notes are longer than any header of a frame"] {
            std::fs::write(&path, content).unwrap();
            let error = ArchiveFile::open(&path).unwrap_err();
            assert!(matches!(error, ArchiveError::Foreign { at: 0, .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        for path in [Path::new("/dev/null"), dir.path(), &dir.path().join("none/a.zst")] {
            let error = ArchiveFile::open(path).unwrap_err();
            assert!(
                matches!(error, ArchiveError::NotAFile { .. } | ArchiveError::Open { .. }),
                "{error}"
            );
        }
    }
}
