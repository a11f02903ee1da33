//! Rules of this repository that no compiler checks. Needs no PostgreSQL and no network.
//!
//! Each rule is a function from a file's path and text to its faults, so that the table at the end can
//! show that each can fail.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A layer and what it may import. `tests/tidy.rs` is the only place that states this as data.
#[rustfmt::skip]
const LAYERS: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("registry", &["domain"]),
    ("store", &["domain", "registry"]),
    ("ably", &["domain"]), ("telemetry", &["domain"]), ("doctor", &["domain", "store", "ably"]),
    ("relay", &["domain", "registry", "store", "ably", "telemetry"]),
    ("config", &["domain", "registry", "store", "ably", "relay"]),
    ("http", &["domain", "store", "relay", "doctor"]), ("emulator", &["domain"]),
    ("dev", &["domain", "store", "emulator", "relay"]),
    ("cli", &["domain", "registry", "store", "ably", "telemetry", "relay", "config", "doctor", "http", "emulator", "dev"]),
    ("fuzzing", &["store", "ably", "config", "emulator", "dev", "http"]), // In builds for tests only.
    ("main", &["cli"]),                                                   // The binary's own file.
];

/// Crates that only some layers may name.
#[rustfmt::skip]
const OWNED_CRATES: [(&str, &[&str]); 11] = [
    ("jsonschema", &["registry"]),
    ("sqlx", &["store"]), ("diesel_async", &["store"]), ("diesel", &["store"]),
    ("tokio_postgres", &["store"]), ("tokio_postgres_rustls", &["store"]),
    ("reqwest", &["ably", "dev", "telemetry"]),
    ("opentelemetry", &["telemetry"]), ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]), ("opentelemetry_http", &["telemetry"]),
];

/// A file longer than this has more than one subject.
const LINES_MAX: usize = 400;

/// SQL keywords that begin or join clauses: written in lower case, as everywhere here.
const SQL_KEYWORDS: &str = "SELECT INSERT UPDATE DELETE CREATE ALTER DROP FROM WHERE JOIN ORDER \
    GROUP RETURNING VALUES BEGIN RETURNS LANGUAGE DECLARE GRANT REVOKE";

/// Faults of one file, each a line for a human.
type Faults = Vec<String>;

/// Code without its line comments: documentation may name what code may not.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        // The two slashes of a URL in a string are no comment.
        let end = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
        let _ = writeln!(code, "{}", &line[..end.unwrap_or(line.len())]);
    }
    code
}

/// The module path of a file in `src/`: `src/ably/key.rs` -> `["ably", "key"]`.
fn module_path(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
}

fn layer_of(path: &str) -> Option<&str> {
    let layer = if path.starts_with("src/bin/") { "main" } else { *module_path(path).first()? };
    path.starts_with("src/").then_some(layer)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The positions after each `word` that stands alone.
fn after_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let rest = &code[at + word.len()..];
        (!code[..at].ends_with(is_word) && !rest.starts_with(is_word)).then_some((at, rest))
    })
}

/// The first names of what follows a `::`: one, or the outer ones of a `{…}` list.
fn first_names(rest: &str) -> Vec<&str> {
    let rest = rest.trim_start();
    let Some(list) = rest.strip_prefix('{') else {
        return vec![rest.split(|c| !is_word(c)).next().unwrap_or_default()];
    };
    let (mut depth, mut start, mut names) = (0_u32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names
                    .push(list[start..at].trim().split(|c| !is_word(c)).next().unwrap_or_default());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// The names that this file uses of the crate's root: its layers and the root's own items.
fn root_names<'a>(path: &str, code: &'a str) -> Vec<&'a str> {
    let depth = module_path(path).len();
    let absolute = ["crate", "outbox_relay"]
        .into_iter()
        .flat_map(|word| after_word(code, word))
        .filter_map(|(_, rest)| rest.trim_start().strip_prefix("::"));
    // `super::super::x` reaches the root from a module two deep.
    let relative = after_word(code, "super")
        .filter(|(at, _)| !code[..*at].trim_end().ends_with("super::"))
        .filter_map(|(_, rest)| {
            let (mut rest, mut ups) = (rest.trim_start().strip_prefix("::")?, 1);
            while let Some(more) = rest.trim_start().strip_prefix("super::") {
                (rest, ups) = (more, ups + 1);
            }
            (ups >= depth).then_some(rest)
        });
    absolute.chain(relative).flat_map(first_names).collect()
}

fn layering(path: &str, text: &str) -> Faults {
    let Some(layer) = layer_of(path) else { return Faults::new() };
    if path == "src/lib.rs" {
        return Faults::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!(
            "{layer} is no layer; add it to LAYERS, to lib.rs and to the documentation"
        )];
    };
    let code = code_of(text);
    let mut faults: Faults = root_names(path, &code)
        .into_iter()
        .filter(|name| LAYERS.iter().any(|(known, _)| known == name))
        .filter(|name| *name != layer && !allowed.contains(name))
        .map(|name| format!("{layer} must not import {name}"))
        .collect();
    for (name, owners) in OWNED_CRATES {
        // As a path: a log filter's text may hold a crate's name.
        let named = after_word(&code, name).any(|(at, rest)| {
            let before = code[..at].trim_end();
            !before.ends_with('"')
                && (rest.trim_start().starts_with("::") || before.ends_with("use"))
        });
        if !owners.contains(&layer) && named {
            faults.push(format!("{layer} must not name {name}; only {} may", owners.join(" and ")));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn rust_file(path: &str, text: &str) -> Faults {
    if !path.ends_with(".rs") {
        return Faults::new();
    }
    let mut faults = Faults::new();
    if !text.starts_with("//!") {
        faults.push("the first line must be a //! that says what the file is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{lines} lines, over {LINES_MAX}; split it by subject"));
    }
    // In two pieces, or this file would break its own rule.
    for needle in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME")] {
        if text.contains(needle) {
            faults.push(format!("contains {needle}; finish it or leave it out"));
        }
    }
    faults
}

fn no_machine_and_no_registry(path: &str, text: &str) -> Faults {
    // Cargo writes the registry's name into its lock file.
    if path == "Cargo.lock" {
        return Faults::new();
    }
    let needles = [
        (concat!("/ro", "ot/"), "a path of one machine"),
        (concat!("/ho", "me/"), "a path of one machine"),
        (concat!("/wo", "rk/"), "a path of one machine"),
        (concat!("/tmp/", "wt"), "a path of one machine"),
        (concat!("npmjs", ".org"), "a registry's address"),
        (concat!("npmjs", ".com"), "a registry's address"),
        (concat!("crates", ".io"), "a registry's address"),
        (concat!("pypi", ".org"), "a registry's address"),
    ];
    let found = needles.into_iter().filter(|(needle, _)| text.contains(needle));
    found.map(|(needle, what)| format!("contains {needle}, {what}")).collect()
}

fn sql_keywords(path: &str, text: &str) -> Faults {
    if !path.ends_with(".sql") {
        return Faults::new();
    }
    let mut faults = Faults::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("--").next().unwrap_or_default();
        // Every other piece is inside quotes.
        let outside: String = code.split('\'').step_by(2).collect();
        for keyword in SQL_KEYWORDS.split_whitespace() {
            if after_word(&outside, keyword).next().is_some() {
                faults.push(format!("line {}: write {keyword} in lower case", number + 1));
            }
        }
    }
    faults
}

/// Whether a file is SQL that must be built into the binary.
fn is_embedded_sql(path: &str) -> bool {
    let folder = ["migrations/", "triggers/", "src/store/sql/"]
        .iter()
        .any(|folder| path.starts_with(folder));
    folder && path.ends_with(".sql")
}

/// Embedded SQL that no `include_str!` in `src/` names: it would never run.
fn forgotten_sql(files: &[(String, String)]) -> Faults {
    let including: Vec<String> = files
        .iter()
        .filter(|(path, _)| path.starts_with("src/"))
        .filter(|(_, text)| text.contains("include_str!") || text.contains("statement!("))
        .map(|(_, text)| code_of(text))
        .collect();
    files
        .iter()
        .filter(|(path, _)| is_embedded_sql(path))
        .filter(|(path, _)| {
            let name = path.rsplit('/').next().unwrap_or(path);
            // With its ending, or as the argument of a macro that adds the folder and the ending.
            let stem = name.trim_end_matches(".sql");
            let quoted = [format!("/{name}\""), format!("\"{name}\""), format!("\"{stem}\"")];
            !including.iter().any(|code| quoted.iter().any(|literal| code.contains(literal)))
        })
        .map(|(path, _)| format!("{path}: no include_str! in src names it"))
        .collect()
}

/// Every text file of the repository: what git tracks or would track; in an unpacked archive all but
/// what is built and installed.
fn repository() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let paths: Vec<PathBuf> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8_lossy(&output.stdout)
                .split_terminator('\0')
                .map(PathBuf::from)
                .collect()
        }
        _ => walk(root, Path::new("")),
    };
    paths
        .into_iter()
        .filter_map(|path| {
            let text = String::from_utf8(std::fs::read(root.join(&path)).ok()?).ok()?;
            Some((path.to_string_lossy().into_owned(), text))
        })
        .collect()
}

fn walk(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = folder.join(&name);
        let kind =
            entry.file_type().map(|kind| (kind.is_dir(), kind.is_file())).unwrap_or_default();
        match kind {
            (true, _) if [".git", "target", "node_modules"].iter().all(|skip| name != *skip) => {
                paths.extend(walk(root, &path));
            }
            (_, true) => paths.push(path),
            _ => {}
        }
    }
    paths
}

/// The rules that look at one file.
const RULES: [fn(&str, &str) -> Faults; 4] =
    [layering, rust_file, no_machine_and_no_registry, sql_keywords];

#[test]
fn the_repository_keeps_its_rules() {
    let files = repository();
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the files were not found");
    let mut faults: Faults = forgotten_sql(&files);
    for (path, text) in &files {
        for rule in RULES {
            faults.extend(rule(path, text).into_iter().map(|fault| format!("{path}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_walk_finds_what_git_lists() {
    let walked = walk(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(""));
    assert!(walked.contains(&PathBuf::from("src/lib.rs")));
    assert!(
        !walked.iter().any(|path| path.starts_with("target") || path.starts_with(".git/objects"))
    );
}

#[test]
fn every_rule_can_fail() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    let unfinished = format!("//! x\nfn f() {{ {} }}", concat!("todo", "!()"));
    let machine = format!("cd {}", concat!("/ro", "ot/project"));
    let registry = format!("https://registry.{}", concat!("npmjs", ".org"));
    let table: [(&str, &str, &str); 24] = [
        ("src/domain/event.rs", "//! x\nuse crate::store::Row;", "domain must not import store"),
        (
            "src/store/a.rs",
            "//! x\nuse crate::{domain::b, ably::Key};",
            "store must not import ably",
        ),
        (
            "src/ably/a.rs",
            "//! x\nuse crate::{domain::{self}, store};",
            "ably must not import store",
        ),
        (
            "src/store/row.rs",
            "//! x\nuse super::super::relay::Wake;",
            "store must not import relay",
        ),
        ("src/store/mod.rs", "//! x\nuse super::relay;", "store must not import relay"),
        ("src/dev/a.rs", "//! x\nfn f(_: crate::config::C) {}", "dev must not import config"),
        ("src/emulator/a.rs", "//! x\nuse crate::relay::A;", "emulator must not import relay"),
        ("src/main.rs", "//! x\nuse outbox_relay::store;", "main must not import store"),
        ("src/bin/extra.rs", "//! x\nuse outbox_relay::dev;", "main must not import dev"),
        ("src/relay/a.rs", "//! x\nuse tokio_postgres::Row;", "relay must not name tokio_postgres"),
        ("src/relay/a.rs", "//! x\nuse reqwest::Client;", "relay must not name reqwest"),
        ("src/shared/a.rs", "//! x", "shared is no layer"),
        ("src/domain/a.rs", "use std::fmt;", "the first line must be a //!"),
        ("tests/it/a.rs", &long, "401 lines, over 400"),
        ("src/relay/a.rs", &unfinished, "contains todo"),
        ("README.md", &machine, "a path of one machine"),
        ("tests/js/package-lock.json", &registry, "a registry's address"),
        ("migrations/0001_a.sql", "drop a;\nSELECT 1;", "line 2: write SELECT in lower case"),
        // And what they must let pass.
        ("src/relay/a.rs", "//! x\nuse crate::{domain::a, store::b, ably::c};\nuse super::d;", ""),
        (
            "src/store/a/b.rs",
            "//! x\nuse super::super::relay_row::X;\nuse super::super::relay;",
            "",
        ),
        (
            "src/domain/a.rs",
            "//! x\n/// [`crate::store`] and reqwest are elsewhere.\nfn f() {}",
            "",
        ),
        ("src/ably/a.rs", "//! x\nuse reqwest::Client;\nuse crate::ably::Key;", ""),
        ("migrations/0001_a.sql", "-- SELECT in a comment\nraise 'not UPDATE';", ""),
        ("Cargo.lock", &registry, ""),
    ];
    for (path, text, expected) in table {
        let faults: Faults = RULES.iter().flat_map(|rule| rule(path, text)).collect();
        let right = if expected.is_empty() {
            faults.is_empty()
        } else {
            faults.iter().any(|fault| fault.contains(expected))
        };
        assert!(right, "{path}: {text:.60}\nexpected {expected:?}, found {faults:?}");
    }
}

#[test]
fn sql_that_is_not_built_in_is_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file(
            "src/store/migrate.rs",
            "const A: &str = include_str!(\"../../migrations/0001_a.sql\");",
        ),
        file("migrations/0001_a.sql", "select 1"),
        file("triggers/bell.sql", "select 1"),
        file("src/store/sql/claim.sql", "select 1"),
        file("migrations/README.md", "rules"),
    ];
    let faults = forgotten_sql(&files).join("\n");
    assert!(
        faults.contains("triggers/bell.sql:") && faults.contains("src/store/sql/claim.sql:"),
        "{faults}"
    );
    assert!(!faults.contains("0001_a") && !faults.contains("README"), "{faults}");
}
