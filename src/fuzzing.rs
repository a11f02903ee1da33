//! Everything that parses what comes from outside, each as a function of bytes that panics when a promise is
//! broken. For the fuzz targets in `fuzz/` and for the short run in the tests; in no other build.

use crate::{ably, config, dev, emulator, http, store};

/// A function to throw bytes at.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and corpus in `fuzz/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("dsn", store::fuzz::connection_string),
    ("schema_name", store::fuzz::schema_name),
    ("config", config::fuzz::file_and_environment),
    ("quantity", config::fuzz::quantity),
    ("ably_settings", ably::fuzz::settings),
    ("ably_answer", ably::fuzz::answer),
    ("message", ably::fuzz::message),
    ("sse", dev::fuzz::stream),
    ("emulator_publish", emulator::fuzz::publish),
    ("emulator_websocket", emulator::fuzz::websocket),
    ("emulator_faults", emulator::fuzz::faults),
    ("http_publish", http::fuzz::publish_request),
];

/// Runs a target by its name.
///
/// # Panics
/// When there is none of this name, and when the target finds a broken promise.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = target else { panic!("no fuzz target is called {name}") };
    target(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use super::*;

    /// How long each target is run with inputs of its own; `FUZZ_SECONDS` says otherwise.
    const SECONDS: f64 = 0.5;

    /// What parsers stumble over.
    const MORSELS: &[&str] = &[
        "\0",
        "\u{7f}",
        "\u{feff}",
        "\u{202e}",
        "é",
        "😀",
        "%00",
        "%ff",
        "%2F",
        "%25",
        "\\u0000",
        "\\ud800",
        "1e400",
        "-0.0",
        "9007199254740993",
        "99999999999999999999",
        "-1",
        "[",
        "{",
        "\"",
        "'",
        "\\",
        ":",
        "@",
        "/",
        "?",
        "#",
        "&",
        "=",
        ",",
        "\r\n",
        "\n\n",
        " ",
        "\t",
        "[[[[[[[[[[[[[[[[",
        "{\"a\":",
        "null",
        "true",
        "id:",
        "data:",
        "0s",
        "KiB",
    ];

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = folder("corpus").join(target);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }

    fn try_one(name: &str, target: Target, data: &[u8]) {
        if let Err(panic) = std::panic::catch_unwind(|| target(data)) {
            eprintln!("{name} fails with b\"{}\"", data.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    }

    fn mutate(random: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut data = random.choice(corpus).cloned().unwrap_or_default();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=data.len());
            let end = (at + random.usize(..24)).min(data.len());
            match random.u8(..6) {
                0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
                1 => drop(data.drain(at..end)),
                2 => {
                    let piece = data[at..end].to_vec();
                    data.splice(at..at, piece);
                }
                3 => {
                    let other = random.choice(corpus).map_or(&[][..], Vec::as_slice);
                    let from = random.usize(..=other.len());
                    data.splice(at..at, other[from..].iter().copied().take(200));
                }
                4 => data.insert(at, random.u8(..)),
                _ => {
                    let morsel = random.choice(MORSELS).unwrap_or(&"");
                    data.splice(at..end.min(at + 2), morsel.bytes());
                }
            }
        }
        data.truncate(16_384);
        data
    }

    #[test]
    fn what_the_fuzzers_kept_breaks_no_promise() {
        for (name, target) in TARGETS {
            let corpus = corpus(name);
            assert!(!corpus.is_empty(), "{name} has no corpus");
            corpus.iter().for_each(|data| try_one(name, *target, data));
        }
    }

    #[test]
    fn random_changes_to_it_break_no_promise_either() {
        let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
        let time = Duration::from_secs_f64(seconds.unwrap_or(SECONDS));
        println!("FUZZ_SEED={seed}");
        for (name, target) in TARGETS {
            // For each anew: how many inputs the others had time for must not matter.
            let mut random = fastrand::Rng::with_seed(seed);
            let (corpus, started, mut runs) = (corpus(name), Instant::now(), 0_u32);
            while started.elapsed() < time {
                try_one(name, *target, &mutate(&mut random, &corpus));
                runs += 1;
            }
            println!("{name}: {runs} inputs");
        }
    }

    #[test]
    fn every_target_has_its_binary() {
        let files: BTreeSet<String> = std::fs::read_dir(folder("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let targets: BTreeSet<String> =
            TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, targets);
        let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
        for name in &targets {
            assert!(
                manifest.contains(&format!("name = \"{name}\"")),
                "{name} is not in fuzz/Cargo.toml"
            );
        }
    }
}
