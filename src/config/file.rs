//! The configuration file: TOML with one table a section, where every key is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::suggestion::{nearest, same};
use super::table::{CONFIG_FILE, SETTINGS, Setting};
use super::value::{Kind, Raw};

/// The largest configuration file, in bytes. Ours has about 20 keys; a larger one is the wrong file.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Syntax errors that are reported at once; the later ones mostly follow from the first.
const SYNTAX_PROBLEMS_MAX: usize = 3;

/// Which file to read.
#[derive(Debug, Clone)]
pub(super) enum FileChoice {
    /// This one, which must exist.
    Named {
        /// The file.
        path: PathBuf,
        /// What named it.
        named_by: Origin,
    },
    /// `outbox-relay.toml` in this directory, if there is one.
    Discovered {
        /// Where to look; empty is the working directory.
        dir: PathBuf,
    },
}

/// A value with its line.
pub(super) struct Entry {
    pub(super) raw: Raw,
    pub(super) line: usize,
}

/// What a file says, by dotted key; only known keys.
#[derive(Default)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) problems: Vec<Problem>,
    /// Whether nothing can be said about what the file holds.
    pub(super) unreadable: bool,
}

impl ConfigFile {
    /// Reads the file of a choice; `None` when there is none to be found.
    pub(super) fn read(choice: &FileChoice) -> Option<Self> {
        let (path, named_by) = match choice {
            FileChoice::Named { path, named_by } => (path.clone(), Some(named_by)),
            FileChoice::Discovered { dir } => (dir.join(CONFIG_FILE), None),
        };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named_by.is_none() => return None,
            Err(error) => {
                let what = format!("{}: cannot be read: {error}", path.display());
                let remedy = "name a TOML file that this user can read";
                let problem = match named_by {
                    Some(origin) => Problem::at(what, origin.clone(), remedy),
                    None => Problem::missing(what, remedy),
                };
                return Some(Self {
                    path,
                    problems: vec![problem],
                    unreadable: true,
                    ..Self::default()
                });
            }
        };
        Some(Self::parse(path, &text))
    }

    /// Parses the text of a file.
    pub(super) fn parse(path: PathBuf, text: &str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut file = Self { path, ..Self::default() };
        if !errors.is_empty() {
            for error in errors.iter().take(SYNTAX_PROBLEMS_MAX) {
                // The message alone: the error's own text would show the line, which may be a secret.
                let origin = file.origin(line_of(text, error.span().unwrap_or_default()));
                let what = format!("not TOML: {}", error.message());
                file.problems.push(Problem::at(what, origin, "mend the syntax of this line"));
            }
            file.unreadable = true;
            return file;
        }
        for (section, value) in document.get_ref() {
            let line = line_of(text, section.span());
            match value.get_ref() {
                DeValue::Table(keys) if is_section(section.get_ref()) => {
                    file.add_section(text, section.get_ref(), keys);
                }
                DeValue::Table(_) => file.refuse_section(section.get_ref(), line),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => file.refuse_key("", section.get_ref(), line),
            }
        }
        // The parser sorts by name; people read their file from top to bottom.
        file.problems.sort_by_key(Problem::line);
        file
    }

    /// The origin of a line of this file.
    pub(super) fn origin(&self, line: usize) -> Origin {
        Origin::File { path: self.path.clone(), line }
    }

    fn add_section(&mut self, text: &str, section: &str, keys: &DeTable<'_>) {
        for (leaf, value) in keys {
            let line = line_of(text, leaf.span());
            let key = format!("{section}.{}", leaf.get_ref());
            if file_keys().any(|known| known == key) {
                self.entries.insert(key, Entry { raw: raw(value.get_ref()), line });
            } else {
                self.refuse_key(section, leaf.get_ref(), line);
            }
        }
    }

    fn refuse_section(&mut self, section: &str, line: usize) {
        let remedy = match nearest(section, sections()) {
            Some(known) => format!("did you mean [{known}]?"),
            None => format!("the sections are {}", sections().collect::<Vec<_>>().join(", ")),
        };
        let problem =
            Problem::at(format!("unknown section [{section}]"), self.origin(line), remedy);
        self.problems.push(problem);
    }

    fn refuse_key(&mut self, section: &str, leaf: &str, line: usize) {
        let key = if section.is_empty() { leaf.to_owned() } else { format!("{section}.{leaf}") };
        let secret = SETTINGS.iter().find(|setting| setting.key == key && setting.kind.is_secret());
        let problem = match secret {
            Some(secret) => Problem::at(
                format!("{key}: a secret does not belong into this file"),
                self.origin(line),
                format!("write {}_file = \"…\" or set {}", secret.leaf(), secret.env[0]),
            ),
            None => Problem::at(
                format!("unknown key {key}"),
                self.origin(line),
                remedy_for_key(section, leaf),
            ),
        };
        self.problems.push(problem);
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Every key that a file may hold.
fn file_keys() -> impl Iterator<Item = String> {
    SETTINGS.iter().flat_map(|setting| {
        let [plain, file] = keys_of(setting);
        plain.into_iter().chain(file)
    })
}

fn keys_of(setting: &Setting) -> [Option<String>; 2] {
    match setting.kind {
        Kind::Secret { plain_in_file, .. } => {
            [plain_in_file.then(|| setting.key.to_owned()), Some(format!("{}_file", setting.key))]
        }
        Kind::Text { .. }
        | Kind::Duration { .. }
        | Kind::Count { .. }
        | Kind::Size { .. }
        | Kind::Choice { .. }
        | Kind::Hosts { .. } => [Some(setting.key.to_owned()), None],
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut sections: Vec<_> = SETTINGS.iter().map(Setting::section).collect();
    sections.dedup();
    sections.into_iter()
}

fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

/// A slip within the section is likeliest, then the right key under the wrong section.
fn remedy_for_key(section: &str, leaf: &str) -> String {
    let keys: Vec<String> = file_keys().collect();
    let split: Vec<(&str, &str)> = keys.iter().filter_map(|key| key.split_once('.')).collect();
    let inside: Vec<&str> =
        split.iter().filter(|(s, _)| *s == section).map(|(_, leaf)| *leaf).collect();
    if let Some(known) = nearest(leaf, inside.iter().copied()) {
        return format!("did you mean {known}?");
    }
    if let Some((elsewhere, known)) = split.iter().find(|(_, known)| same(known, leaf)) {
        return format!("did you mean {known} under [{elsewhere}]?");
    }
    match nearest(leaf, split.iter().map(|(_, known)| *known)) {
        Some(known) if inside.is_empty() => match split.iter().find(|(_, leaf)| *leaf == known) {
            Some((section, _)) => format!("did you mean {known} under [{section}]?"),
            None => "remove it".to_owned(),
        },
        _ if inside.is_empty() => "remove it".to_owned(),
        _ => format!("remove it; [{section}] has {}", inside.join(", ")),
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            // Underscores and prefixes are gone; what does not fit is not one of our numbers.
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Other("a huge integer"), Raw::Integer)
        }
        DeValue::Float(_) => Raw::Other("a float"),
        DeValue::Boolean(_) => Raw::Other("a boolean"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .map_or(Raw::Other("an array of other things than strings"), Raw::List),
    }
}

/// The line of a place in the text, counted from 1.
fn line_of(text: &str, span: Range<usize>) -> usize {
    text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = ConfigFile::parse("x.toml".into(), text);
        file.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_and_sections_get_a_suggestion_and_their_line() {
        let text = "level = 1\n[relay]\nmax_inflight = 3\ngrace = \"1s\"\nxyzzy = 1\n[realy]\n";
        assert_eq!(
            problems(text),
            [
                "unknown key level (x.toml:1); did you mean level under [log]?",
                "unknown key relay.max_inflight (x.toml:3); did you mean max_in_flight?",
                "unknown key relay.grace (x.toml:4); did you mean grace under [shutdown]?",
                "unknown key relay.xyzzy (x.toml:5); remove it; [relay] has max_in_flight, batch_tenants, rows_per_tenant, channel_rate, sweep_interval, poll_interval, canary_interval, max_message_bytes, on_failed",
                "unknown section [realy] (x.toml:6); did you mean [relay]?",
            ]
        );
    }

    #[test]
    fn dotted_keys_and_sections_are_the_same() {
        let file = ConfigFile::parse("x".into(), "relay.max_in_flight = 0x10\n");
        assert!(file.problems.is_empty());
        let entry = &file.entries["relay.max_in_flight"];
        assert!(matches!(entry.raw, Raw::Integer(16)) && entry.line == 1);
    }

    #[test]
    fn a_key_in_plain_text_is_refused_and_not_shown() {
        let problems = problems("[ably]\napi_key = \"app.key:hunter2\"\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("api_key_file") && !problems[0].contains("hunter2"));
    }

    #[test]
    fn broken_syntax_names_its_line_and_shows_none_of_it() {
        let problems = problems("[ably]\nendpoint = \"main\"\napi_key_file = hunter2 x\n");
        assert!(problems[0].contains("(x.toml:3)"), "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
    }

    #[test]
    fn a_missing_file_is_wrong_only_when_it_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let discovered = FileChoice::Discovered { dir: dir.path().into() };
        assert!(ConfigFile::read(&discovered).is_none());
        let named_by = Origin::Flag("--config".into());
        let named = FileChoice::Named { path: dir.path().join("x.toml"), named_by };
        let file = ConfigFile::read(&named).unwrap();
        assert!(file.problems[0].to_string().contains("flag --config"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\]=\\.a-z0-9\" \n#_,{}]{0,80}") {
            let _ = problems(&text);
        }
    }
}
