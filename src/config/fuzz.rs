//! Fuzz entry points: the configuration file, the environment, and quantities.

use std::path::PathBuf;

use super::file::ConfigFile;
use super::load::load_with;
use super::{
    Environment, Flags, Needs, Sources, format_duration, format_size, parse_duration, parse_size,
};

/// A secret that no message may repeat.
const SECRET: &str = "pw7Zq9xSECRETpw7Zq9xSECRET";

/// A file, and behind a form feed the environment as `NAME=value` lines.
pub(crate) fn file_and_environment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Files that are named are read, and fuzzing should read none. The word is ours.
    if text.to_ascii_lowercase().contains("_file") || text.contains("SECRET") {
        return;
    }
    let (file, variables) = text.split_once('\u{c}').unwrap_or((&text, ""));
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    let own = ("ABLY_API_KEY".to_owned(), format!("a.b:{SECRET}"));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).chain([own]);
    let sources = Sources {
        flags: Flags::default(),
        config: None,
        environment: pairs.collect::<Environment>(),
        dir: PathBuf::new(),
    };
    for needs in [Needs::Nothing, Needs::Database, Needs::DatabaseAndAbly, Needs::Whatever] {
        let file = ConfigFile::parse(PathBuf::from("outbox-relay.toml"), file);
        let said = match load_with(&sources, needs, &file) {
            Ok(configuration) => format!("{configuration:?}"),
            Err(problems) => {
                let said = problems.to_string();
                assert_eq!(said.lines().count(), problems.0.len(), "a line each: {said:?}");
                said
            }
        };
        assert!(!said.contains(SECRET), "the key is repeated: {said}");
    }
}

/// Durations and sizes: what is read can be written and read again.
pub(crate) fn quantity(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(duration) = parse_duration(&text) {
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
    if let Ok(bytes) = parse_size(&text) {
        assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }
}
