//! What is shipped beside the program: alerts, their runbook, the dashboard.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ALERTS: &str = include_str!("../../../contrib/prometheus/alerts.yaml");
const ALERTS_TEST: &str = include_str!("../../../contrib/prometheus/alerts_test.yaml");
const DASHBOARD: &str = include_str!("../../../contrib/grafana/outbox-relay.json");
const METRICS: &str = include_str!("../../../docs/metrics.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every metric that a text names, without what histograms add.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.match_indices("outbox_relay_").map(|(at, _)| {
        let name = text[at..].split(|c| !word(c)).next().unwrap();
        ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
    });
    names.map(str::to_owned).collect()
}

fn documented() -> BTreeSet<String> {
    let rows = METRICS.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_use_metrics_that_there_are_and_the_dashboard_shows_all_of_them() {
    let documented = documented();
    assert!(documented.len() > 25, "{documented:?}");
    for (what, text) in [("alerts", ALERTS), ("their tests", ALERTS_TEST), ("dashboard", DASHBOARD)]
    {
        let unknown: Vec<String> = named(text).difference(&documented).cloned().collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
    }
    let not_shown: Vec<String> = documented.difference(&named(DASHBOARD)).cloned().collect();
    // How often breakers opened is what their graph shows.
    assert_eq!(not_shown, ["outbox_relay_breaker_opened_total"]);
}

#[test]
fn the_dashboard_is_one_that_grafana_can_import() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            assert!(expr.contains("job=~\"$job\""), "{expr}");
            assert_eq!(
                expr.matches(['(', '{', '[']).count(),
                expr.matches([')', '}', ']']).count()
            );
        }
    }
}

#[test]
fn every_alert_has_a_page_and_a_test_of_firing_and_of_silence() {
    let alerts: Vec<&str> =
        ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 15);
    let index = std::fs::read_to_string(root().join("docs/runbook/README.md")).unwrap();
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    for block in ALERTS.split("- alert: ").skip(1) {
        let name = block.lines().next().unwrap();
        let url = block.lines().find_map(|l| l.trim().strip_prefix("runbook_url: ")).expect(name);
        let page =
            std::fs::read_to_string(root().join(url)).unwrap_or_else(|_| panic!("{name}: {url}"));
        assert!(page.contains("**What to do**"), "{url}");
        let file = url.rsplit('/').next().unwrap();
        assert!(index.contains(file), "{file} is not in the index");
        pages.insert(file.to_owned());
        for end in ["fires", "is silent"] {
            assert!(ALERTS_TEST.contains(&format!("name: {name} {end}\n")), "{name} {end}");
        }
    }
    let found = std::fs::read_dir(root().join("docs/runbook")).unwrap();
    let found: BTreeSet<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, pages, "pages and alerts");
}

#[test]
fn the_alerts_pass_their_unit_tests() {
    let folder = root().join("contrib/prometheus");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]] {
        let run = Command::new("promtool").args(arguments).current_dir(&folder).output();
        let Ok(output) = run else {
            // `scripts/test` installs it where it can.
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
