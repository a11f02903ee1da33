//! What the README says is so.

use std::path::{Path, PathBuf};

use outbox_relay::config::reference;

const README: &str = include_str!("../../README.md");

#[test]
fn the_table_of_settings_is_the_one_that_the_program_has() {
    // `README_WRITE=1 cargo test --test it readme` writes the table instead of comparing it.
    let begin = "<!-- settings: generated, checked by tests/it/readme.rs -->\n";
    let (_, rest) = README.split_once(begin).expect("the begin marker");
    let (table, _) = rest.split_once("<!-- end of settings -->").expect("the end marker");
    if std::env::var_os("README_WRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        std::fs::write(file, README.replace(table, &reference::markdown())).expect("README.md");
        return;
    }
    assert_eq!(table.trim(), reference::markdown().trim(), "run it with README_WRITE=1");
}

#[test]
fn every_test_that_the_readme_names_exists() {
    let sources = [
        ("drain", include_str!("drain.rs")),
        ("crash", include_str!("crash.rs")),
        ("outage", include_str!("outage.rs")),
        ("dead_letters", include_str!("dead_letters.rs")),
        ("dead_letters::decisions", include_str!("dead_letters/decisions.rs")),
        ("dead_letters::redelivery", include_str!("dead_letters/redelivery.rs")),
        ("registry", include_str!("registry.rs")),
        ("retention", include_str!("retention.rs")),
        ("retention::archive", include_str!("retention/archive.rs")),
        ("retention::prune", include_str!("retention/prune.rs")),
        ("migrations", include_str!("migrations.rs")),
        ("takeover", include_str!("takeover.rs")),
        ("routing", include_str!("routing.rs")),
        ("routing::payloads", include_str!("routing/payloads.rs")),
        ("subscribers", include_str!("subscribers.rs")),
        ("takeover", include_str!("takeover.rs")),
    ];
    let mut named = 0;
    for (module, source) in sources {
        for piece in README.split(&format!("`{module}::")).skip(1) {
            let name = piece.split('`').next().unwrap();
            if name.contains("::") {
                // Of a module within this one, which is listed too.
                continue;
            }
            let stem = name.trim_end_matches('…');
            assert!(source.contains(&format!("fn {stem}")), "{module}::{name}");
            named += 1;
        }
    }
    assert!(named >= 15, "the README names its tests: {named}");
}

/// Every page below a directory, without what other programs install or build there.
fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let foreign =
            ["node_modules", "target", "venv"].contains(&name.as_str()) || name.starts_with('.');
        if path.is_dir() && !foreign {
            pages(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

/// The part of a link behind `#` by which a heading is found.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || "_- ".contains(c);
    heading.trim().to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(page).unwrap_or_default();
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let mut all = Vec::new();
    pages(Path::new(env!("CARGO_MANIFEST_DIR")), &mut all);
    let (mut followed, mut lost) = (0, Vec::new());
    for page in &all {
        let text = std::fs::read_to_string(page).unwrap();
        for piece in text.split("](").skip(1) {
            let Some((link, _)) = piece.split_once(')') else { continue };
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if !target.exists() || !wanted.is_empty() && !has_anchor(&target, wanted) {
                lost.push(format!("{}: {link}", page.display()));
            }
            followed += 1;
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(followed > 60, "{followed} links");
}
