//! What `run` logs: every line is documented, a relay that is well says so, and storms are cut.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::clock;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, wait_until};
use crate::support::relay::{RelayCommand, RelayProcess, says};

/// How much faster the clocks of these relays run: half a minute is three seconds.
const RATE: &str = "10";

/// Logged by commands that people run and not by `run`.
const COMMANDS: [&str; 6] = ["adopt", "emulator", "events", "holds", "pause", "tail"];

fn fast_relay(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    let relay = RelayCommand::new(&outbox.database.dsn(), ably)
        .env("LD_PRELOAD", clock::library())
        .env("CLOCK_RATE", RATE)
        .start();
    relay.wait_until_listening();
    relay
}

fn lines(relay: &RelayProcess, text: &str) -> Vec<Value> {
    relay.log().into_iter().filter(|line| says(line, text)).collect()
}

/// When it was written, in seconds of its day.
fn second(line: &Value) -> f64 {
    let at = line["timestamp"].as_str().unwrap();
    let parts = at[11..at.len() - 1].split(':').map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_relay_says_one_line_in_thirty_seconds_also_when_nothing_is_to_be_done() {
    let (outbox, ably) = (Outbox::create("summary").await, LocalAbly::start().await);
    let relay = fast_relay(&outbox, &ably);
    relay.wait_for_log("events in the last 30 s", 3);
    let said = lines(&relay, "events in the last 30 s");
    for pair in said.windows(2) {
        let apart = (second(&pair[1]) - second(&pair[0])).rem_euclid(86_400.0);
        assert!((25.0..40.0).contains(&apart), "{apart} s: {pair:?}");
    }
    for key in ["published", "failed", "swept", "in_flight", "untold"] {
        assert_eq!(said[0][key], 0, "{}", said[0]);
    }
    assert_eq!(said[0]["message"], "published 0 events in the last 30 s");
    // Nothing else is said meanwhile.
    let log = relay.log();
    let begin = log.iter().position(|line| *line == said[0]).unwrap();
    let end = log.iter().position(|line| *line == said[2]).unwrap();
    assert_eq!(end - begin, 2, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_in_trouble_repeats_the_trouble_and_no_summary() {
    let (outbox, ably) = (Outbox::create("trouble").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = fast_relay(&outbox, &ably);
    ably.fault(r#"{"kind":"status","status":503,"code":50300}"#).await;
    crate::support::outbox::insert(&client, "a", "{}").await;
    relay.wait_for_log("publishing is interrupted", 3);
    let said = lines(&relay, "publishing is interrupted");
    for pair in said.windows(2) {
        // Its longest pause is 15 s.
        let apart = (second(&pair[1]) - second(&pair[0])).rem_euclid(86_400.0);
        assert!((30.0..60.0).contains(&apart), "{apart} s: {pair:?}");
    }
    let first = relay.log().iter().position(|line| says(line, "publishing is interrupted"));
    let after = relay.log().split_off(first.unwrap());
    assert!(!after.iter().any(|line| says(line, "in the last 30 s")), "{after:#?}");
    assert_eq!((&said[0]["class"], &said[0]["level"]), (&"outage".into(), &"WARN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_bad_events_is_cut_and_the_rest_is_counted() {
    let (outbox, ably) = (Outbox::create("storm").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = fast_relay(&outbox, &ably);
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'a', 'b', 'c', 'nodot', '{}' from generate_series(1, 3000)",
        )
        .await
        .unwrap();
    wait_until(&client, "select count(*) = 3000 from outbox.event where status = 'failed'").await;
    let untold = || {
        let said = lines(&relay, "in the last 30 s");
        said.iter().map(|line| line["untold"].as_u64().unwrap()).sum::<u64>()
    };
    let told = || lines(&relay, "failed: ").len() as u64;
    let all = async {
        while told() + untold() < 3_000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let limit = crate::support::local_ably::LIMIT;
    tokio::time::timeout(limit, all).await.unwrap_or_else(|_| panic!("{:#?}", relay.log()));
    assert_eq!(told() + untold(), 3_000);
    // 20 in half a minute of its time, which is three seconds of ours.
    assert!((20..=200).contains(&told()), "{}", told());
}

/// The sources of what `run` logs.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let command = folder.ends_with("cli") && COMMANDS.contains(&name.as_str());
        if command || ["dev", "emulator"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// What stands between the brackets that have just been opened, cut at top-level commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut parts = vec![String::new()];
    for c in text.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else {
            match c {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.iter().map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Level, message and fields of each line that a source can log.
fn logged(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for level in ["info", "warn", "error"] {
        for (at, _) in code.match_indices(&format!("{level}!(")) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let parts = arguments(&code[at + level.len() + 2..]);
            let message = parts.iter().position(|part| part.starts_with('"')).unwrap();
            let field = |part: &String| {
                let name = part.split('=').next().unwrap();
                name.trim().trim_start_matches(['%', '?']).to_owned()
            };
            let fields: Vec<String> = parts[..message].iter().map(field).collect();
            let text = parts[message].trim_matches('"').replace("\\ ", "");
            found.push(format!("{} | {text} | {}", level.to_uppercase(), fields.join(", ")));
        }
    }
    found
}

#[test]
fn the_documentation_lists_every_line_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let in_code: BTreeSet<String> = files.iter().flat_map(|path| logged(&read(path))).collect();
    let page = std::fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| ["| INFO", "| WARN", "| ERROR"].iter().any(|level| line.starts_with(level)));
    let on_page: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{} | {} | {}", cells[1], cells[2].trim_matches('`'), cells[3])
        })
        .collect();
    let missing: Vec<&String> = in_code.difference(&on_page).collect();
    let gone: Vec<&String> = on_page.difference(&in_code).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not on the page: {missing:#?}\nnot in the code: {gone:#?}"
    );
    assert!(in_code.len() > 45, "the sources were not found");
}
