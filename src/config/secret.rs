//! Secrets that live in files: Docker's, Kubernetes' and systemd's way.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::problem::{Origin, Problem};

/// The longest secret file, in bytes. A key has about 60 and a connection string a few hundred;
/// more than this is the wrong file.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// The bit of a file's mode that lets everybody read it.
const WORLD_READABLE: u32 = 0o004;

/// What was read, and what is worth a warning.
pub(super) struct SecretFile {
    /// The content without its trailing newline.
    pub(super) content: String,
    /// Set when everybody on the machine can read the file.
    pub(super) warning: Option<Problem>,
}

/// Reads a secret file for `key`.
///
/// # Errors
/// When the file cannot be read, is empty, too long, or not UTF-8. The content is in no message.
pub(super) fn read(key: &str, path: &Path, named_by: &Origin) -> Result<SecretFile, Problem> {
    let origin = || Origin::SecretFile { path: path.into(), named_by: Box::new(named_by.clone()) };
    let unreadable = |error: &std::io::Error| {
        let remedy = "name a file that this user can read, holding nothing but the value";
        Problem::at(format!("{key}: the file cannot be read: {error}"), origin(), remedy)
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    let mut limited = file.take(SECRET_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let wrong = |what: &str| {
        let remedy = "the file must hold the value and nothing else, as UTF-8 text";
        Problem::at(format!("{key}: the file {what}"), origin(), remedy)
    };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err(wrong("is longer than any such value"));
    }
    let mut content = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text"))?;
    let trimmed = content.trim_end_matches(['\n', '\r']).len();
    content.truncate(trimmed);
    if content.is_empty() {
        return Err(wrong("is empty"));
    }
    // A pipe (`<(…)`) has a mode too, but nobody else can open it.
    let exposed = metadata.is_file() && metadata.permissions().mode() & WORLD_READABLE != 0;
    let warning = exposed.then(|| {
        let what = format!("{key}: every user of this machine can read the file");
        Problem::at(what, origin(), format!("chmod 0400 {}", path.display()))
    });
    Ok(SecretFile { content, warning })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_file(content: &[u8], mode: u32) -> Result<SecretFile, Problem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read("ably.api_key", &path, &Origin::Environment("ABLY_API_KEY_FILE".into()))
    }

    #[test]
    fn the_trailing_newline_is_trimmed_and_nothing_else() {
        assert_eq!(read_file(b" a b \r\n", 0o400).unwrap().content, " a b ");
        assert_eq!(read_file(b"ab", 0o400).unwrap().content, "ab");
    }

    #[test]
    fn a_world_readable_file_is_worth_a_warning() {
        assert!(read_file(b"ab", 0o600).unwrap().warning.is_none());
        let warning = read_file(b"ab", 0o644).unwrap().warning.unwrap();
        assert!(warning.to_string().contains("every user"), "{warning}");
    }

    #[test]
    fn an_empty_long_or_binary_file_is_refused_without_its_content() {
        let long = b"hunter2".repeat(4_000);
        for content in [b"\n".as_slice(), long.as_slice(), b"hunter2\xff".as_slice()] {
            let problem = read_file(content, 0o400).err().unwrap().to_string();
            assert!(problem.contains("ABLY_API_KEY_FILE") && !problem.contains("hunter2"));
        }
    }

    #[test]
    fn a_directory_and_a_missing_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("missing")] {
            let problem = read("ably.api_key", &path, &Origin::Default).err().unwrap();
            assert!(problem.to_string().contains("cannot be read"), "{problem}");
        }
    }
}
