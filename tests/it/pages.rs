//! What the pages refer to is there: files, headings, and the tests by which they show what they promise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file of the repository with this ending.
fn listed(ending: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter(|name| name.ends_with(ending));
    names.map(|name| Path::new(ROOT).join(name)).filter(|path| path.exists()).collect()
}

/// A page without its code, whose brackets are no links.
fn prose(text: &str) -> String {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<&str> {
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')').map(|(target, _)| target)).collect()
}

/// A heading as forges make an anchor of it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What is wrong with a link on `page`.
fn fault(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_owned() } else { page.parent()?.join(file) };
    if !path.exists() {
        return Some(format!("{}: {target} is not there", page.display()));
    }
    let there = heading.is_empty()
        || std::fs::read_to_string(&path).is_ok_and(|text| {
            prose(&text).lines().any(|line| line.starts_with('#') && anchor(line) == heading)
        });
    (!there).then(|| format!("{}: {target} has no such heading", page.display()))
}

#[test]
fn every_link_on_every_page_leads_somewhere() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for page in listed(".md") {
        let text = prose(&std::fs::read_to_string(&page).unwrap());
        let targets = links(&text);
        seen += targets.len();
        faults.extend(targets.into_iter().filter_map(|target| fault(&page, target)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(seen > 50, "{seen}");
    let page = Path::new(ROOT).join("README.md");
    assert!(fault(&page, "docs/no-such-page.md").is_some());
    assert!(fault(&page, "docs/sizing.md#no-such-heading").is_some());
    assert_eq!(
        anchor("## Several databases from one process"),
        "several-databases-from-one-process"
    );
}

/// Functions of tests by module and name: `drain::four_relays_keep_the_order`.
fn tests() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in listed(".rs").iter().filter(|file| file.starts_with(Path::new(ROOT).join("tests")))
    {
        let text = std::fs::read_to_string(file).unwrap();
        let relative = file.strip_prefix(ROOT).unwrap().with_extension("");
        let modules: Vec<&str> = relative.iter().skip(1).filter_map(|part| part.to_str()).collect();
        let modules = if modules[0] == "it" { &modules[1..] } else { &modules[..] };
        for name in text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()) {
            all.insert(format!("{}::{name}", modules.join("::")));
        }
        all.insert(format!("{}::", modules.join("::")));
    }
    all
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let tests = tests();
    let known: BTreeSet<&str> = tests.iter().filter_map(|t| t.split("::").next()).collect();
    let (mut missing, mut seen) = (Vec::new(), 0);
    // ARCHITECTURE names modules of the program in the same way.
    for page in listed(".md").iter().filter(|page| !page.ends_with("ARCHITECTURE.md")) {
        let text = std::fs::read_to_string(page).unwrap();
        for name in text.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            let named = name.trim_end_matches('…').trim_start_matches("it::");
            let word =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
            let module = named.split("::").next().unwrap_or_default();
            if !named.chars().all(word) || !known.contains(module) {
                continue;
            }
            seen += 1;
            if !tests.iter().any(|test| test.starts_with(named)) {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 80, "{seen}");
}
