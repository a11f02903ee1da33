//! The metrics as a scraper reads them.

use super::*;
use crate::store::observe::TableHealth;

fn failure(class: FailureClass) -> PublishFailure {
    PublishFailure { class, status: None, code: None, message: "no".into(), retry_after: None }
}

fn has(metrics: &Metrics, line: &str) -> bool {
    metrics.text().lines().any(|found| found == format!("outbox_relay_{line}"))
}

#[test]
fn a_breaker_opens_once_an_interruption_and_closes() {
    let metrics = Metrics::new();
    metrics.interrupted(&failure(FailureClass::Outage));
    metrics.interrupted(&failure(FailureClass::Outage));
    assert!(has(&metrics, "breaker_open{class=\"outage\"} 1"), "{}", metrics.text());
    metrics.interrupted(&failure(FailureClass::Configuration));
    assert!(has(&metrics, "breaker_open{class=\"outage\"} 0"));
    metrics.resumed();
    assert!(has(&metrics, "breaker_open{class=\"configuration\"} 0"));
    assert!(has(&metrics, "breaker_opened_total{class=\"outage\"} 1"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let metrics = Metrics::new();
    assert!(has(&metrics, "database_up 0") && !metrics.text().contains("pending_events"));
    let table = TableHealth {
        live_tuples: 3,
        dead_tuples: 2,
        vacuumed_at: Some(1_700_000_000.5),
        bytes: 8_192,
    };
    metrics.observed(Some(Observation {
        pending: 7,
        oldest_pending_age: Some(2.5),
        held: vec![("blocked".into(), 2), ("strange".into(), 1)],
        table: Some(table),
        ..Observation::default()
    }));
    for line in [
        "database_up 1",
        "pending_events 7",
        "oldest_pending_age_seconds 2.5",
        "oldest_dead_letter_age_seconds 0.0",
        "held_tenants{reason=\"blocked\"} 2",
        "held_tenants{reason=\"other\"} 1",
        "held_tenants{reason=\"outage\"} 0",
        "notify_queue_usage_ratio 0.0",
        "table_dead_tuples 2",
        "table_size_bytes 8192",
        "table_last_vacuum_timestamp_seconds 1700000000.5",
    ] {
        assert!(has(&metrics, line), "{line}:\n{}", metrics.text());
    }
    metrics.observed(None);
    assert!(has(&metrics, "database_up 0") && !metrics.text().contains("pending_events"));
}

#[test]
fn events_in_flight_are_gone_however_the_batch_ends() {
    let metrics = Metrics::new();
    let sending = metrics.sending(3);
    assert!(has(&metrics, "events_in_flight 3"));
    drop(sending);
    assert!(has(&metrics, "events_in_flight 0"));
}

#[test]
fn every_metric_has_help_a_type_and_a_name_as_prometheus_asks() {
    let metrics = Metrics::new();
    metrics.observed(Some(Observation::default()));
    let text = metrics.text();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(name.starts_with("outbox_relay_") && !name.ends_with("_total"), "{line}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert!(!text.contains("tenant_id"));
}
