//! `/metrics`.

use std::collections::BTreeSet;

use super::*;
use crate::support::outbox::{insert, wait_until};
use crate::support::postgres::FLUSH_STATISTICS;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_and_what_fails_is_counted_and_timed() {
    let site = Site::start("metrics").await;
    let client = site.outbox.connect().await;
    for n in 0..5 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    insert(&client, "a:b", "{}").await;
    site.wait_for("events_published_total{event_type=\"kitchen.task.claimed\"}", |n| {
        n == Some(5.0)
    })
    .await;
    let failed = "events_failed_total{event_type=\"kitchen.task.claimed\",code=\"VALIDATION_ERROR\",ably_code=\"\"}";
    site.wait_for(failed, |n| n == Some(1.0)).await;
    // Its payload is never read, and its type is known all the same.
    insert(&client, "a", &format!("{{\"x\":\"{}\"}}", "x".repeat(70_000))).await;
    let failed = "events_failed_total{event_type=\"kitchen.task.claimed\",code=\"PAYLOAD_TOO_LARGE\",ably_code=\"\"}";
    site.wait_for(failed, |n| n == Some(1.0)).await;
    site.wait_for("commit_to_accepted_seconds_count", |n| n == Some(5.0)).await;
    let sum = site.metric("commit_to_accepted_seconds_sum").await.unwrap();
    assert!(sum > 0.0 && sum < 60.0, "{sum}");
    for stage in ["wait", "claim", "encode", "lock", "publish", "settle"] {
        let name = format!("stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!(site.metric(&name).await > Some(0.0), "{stage}");
    }
    assert!(site.metric("wakeups_total{reason=\"notification\"}").await > Some(0.0));
    assert!(site.metric("publishes_total{result=\"accepted\"}").await > Some(0.0));
    assert!(site.metric("canary_round_trip_seconds").await > Some(0.0));
    assert_eq!(site.metric("listener_up").await, Some(1.0));
    assert_eq!(site.metric("events_in_flight").await, Some(0.0));
    // The look at the database may be two seconds old.
    site.wait_for("dead_letters", |n| n == Some(2.0)).await;
    site.wait_for("oldest_dead_letter_age_seconds", |n| n > Some(0.0)).await;
    site.wait_for("pending_events", |n| n == Some(0.0)).await;
    assert_eq!(site.metric("oldest_pending_age_seconds").await, Some(0.0));
    assert_eq!(site.metric("sweep_found_events_total").await, Some(0.0));
    let (_, text) = site.get("/metrics").await;
    assert!(!text.contains("task-1") && !text.contains("a:b"), "no tenant, no aggregate: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_outage_the_breaker_is_open_and_the_backlog_grows_old() {
    let site = Site::start("outage").await;
    let client = site.outbox.connect().await;
    site.ably.fault(r#"{"kind":"status","status":503,"code":50003}"#).await;
    for n in 0..3 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    site.wait_for("breaker_open{class=\"outage\"}", |n| n == Some(1.0)).await;
    site.wait_for("pending_events", |n| n == Some(3.0)).await;
    site.wait_for("oldest_pending_age_seconds", |n| n > Some(1.0)).await;
    assert!(site.metric("publishes_total{result=\"outage\"}").await > Some(0.0));
    assert_eq!(site.metric("breaker_open{class=\"configuration\"}").await, Some(0.0));
    site.ably.clear_faults().await;
    site.wait_for("breaker_open{class=\"outage\"}", |n| n == Some(0.0)).await;
    site.wait_for("pending_events", |n| n == Some(0.0)).await;
    assert_eq!(site.metric("breaker_opened_total{class=\"outage\"}").await, Some(1.0));
    assert_eq!(site.metric("sweep_found_events_total").await, Some(0.0), "an outage loses no bell");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_a_key_without_capability_show_as_holds() {
    let site = Site::start("holds").await;
    let client = site.outbox.connect().await;
    site.ably.fault(r#"{"kind":"throttle_channel","channel":"tenant:hot"}"#).await;
    site.ably
        .fault(r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:barred"}"#)
        .await;
    insert(&client, "hot", "{}").await;
    insert(&client, "barred", "{}").await;
    site.wait_for("throttled_total{scope=\"channel\"}", |n| n > Some(0.0)).await;
    site.wait_for("held_tenants{reason=\"capability\"}", |n| n == Some(1.0)).await;
    site.wait_for("publishes_total{result=\"capability\"}", |n| n > Some(0.0)).await;
    site.ably.fault(r#"{"kind":"throttle_account"}"#).await;
    insert(&client, "other", "{}").await;
    site.wait_for("throttled_total{scope=\"account\"}", |n| n > Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_notification_got_lost_is_counted_as_found_by_the_sweep() {
    let site = Site::with("swept", &[("OUTBOX_RELAY_SWEEP_INTERVAL", "3s")]).await;
    let client = site.outbox.connect().await;
    client.batch_execute("alter table outbox.event disable trigger event_bell").await.unwrap();
    // Old enough that its notification cannot be on its way, whenever the sweep comes.
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, created_at)
             values ('a', 'b', 'c', 'd.e', '{}', clock_timestamp() - interval '5 s')",
        )
        .await
        .unwrap();
    site.wait_for("sweep_found_events_total", |n| n == Some(1.0)).await;
    assert!(site.metric("wakeups_total{reason=\"sweep\"}").await > Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgresql_a_scrape_is_quick_and_leaves_out_what_is_not_known() {
    let site = Site::start("lock").await;
    let client = site.outbox.connect().await;
    site.wait_for("database_up", |n| n == Some(1.0)).await;
    client.batch_execute("begin; lock table outbox.event in access exclusive mode").await.unwrap();
    site.wait_for("database_up", |n| n == Some(0.0)).await;
    let (_, text) = site.get("/metrics").await;
    assert_eq!(metric(&text, "pending_events"), None, "{text}");
    assert!(metric(&text, "listener_up").is_some());
    client.batch_execute("rollback").await.unwrap();
    site.wait_for("database_up", |n| n == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_scrapes_are_one_look_at_the_database_and_none_of_a_table() {
    let site = Site::start("scrapes").await;
    let client = site.outbox.connect().await;
    site.wait_for("database_up", |n| n == Some(1.0)).await;
    let scans = "select coalesce(sum(seq_scan), 0)::int8 from pg_stat_user_tables where relname in ('event', 'event_archive')";
    client.batch_execute(FLUSH_STATISTICS).await.unwrap();
    let before: i64 = client.query_one(scans, &[]).await.unwrap().get(0);
    let looks = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    let first: i64 = client.query_one(looks, &[]).await.unwrap().get(0);
    for _ in 0..200 {
        assert_eq!(site.get("/metrics").await.0, 200);
    }
    wait_until(&client, "select pg_stat_clear_snapshot() is not null").await;
    let after: i64 = client.query_one(scans, &[]).await.unwrap().get(0);
    let last: i64 = client.query_one(looks, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "no scrape scans the table");
    assert!(last - first < 150, "{} transactions for 200 scrapes", last - first);
}

/// Name and labels of every metric, as `docs/metrics.md` has them.
fn of_endpoint(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            let sample = |line: &&str| {
                let rest = line.strip_prefix(name.as_str()).unwrap_or_default();
                rest.starts_with(['{', ' ']) || rest.starts_with("_count")
            };
            let line = text.lines().find(sample).unwrap_or_default();
            let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
            let labels = inside.map(|(inside, _)| inside).unwrap_or_default();
            let labels: Vec<&str> = labels
                .split("\",")
                .filter_map(|pair| pair.split('=').next())
                .filter(|l| !l.is_empty())
                .collect();
            format!("{name} | {kind} | {}", labels.join(", "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_lists_what_the_endpoint_has_and_nothing_else() {
    let site = Site::start("documented").await;
    let client = site.outbox.connect().await;
    insert(&client, "a", "{}").await;
    insert(&client, "a", "{\"n\":1}").await;
    insert(&client, "a:b", "{}").await;
    client.batch_execute("vacuum outbox.event").await.unwrap();
    site.wait_for("dead_letters", |n| n == Some(1.0)).await;
    site.wait_for("table_last_vacuum_timestamp_seconds", |n| n.is_some()).await;
    let (_, text) = site.get("/metrics").await;
    let page = include_str!("../../../docs/metrics.md");
    let documented: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("| `outbox_relay_"))
        .map(|line| {
            let cells: Vec<String> =
                line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
            assert!(!cells[4].is_empty(), "says nothing: {line}");
            format!("{} | {} | {}", cells[1], cells[2], cells[3])
        })
        .collect();
    assert_eq!(documented, of_endpoint(&text), "docs/metrics.md against\n{text}");
}

/// By the parser of Prometheus' own client library, which is strict. Without Python it is left out.
#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_speaks_openmetrics_by_the_letter() {
    let python =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/venv/bin/python");
    if !python.exists() {
        eprintln!("not run: no tests/python/venv; scripts/test makes it");
        return;
    }
    let site = Site::start("openmetrics").await;
    let client = site.outbox.connect().await;
    insert(&client, "a", "{}").await;
    insert(&client, "a:b", "{}").await;
    // A type's name is the writer's: it must not break the page.
    let odd =
        "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
               values ('a', 'b', 'c', E'odd.\"quote\\\\and\\nline', '{}')";
    client.batch_execute(odd).await.unwrap();
    site.wait_for("dead_letters", |n| n > Some(0.0)).await;
    site.wait_for("commit_to_accepted_seconds_count", |n| n > Some(0.0)).await;
    let (_, text) = site.get("/metrics").await;
    let check = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as f; \
                 print(sum(len(m.samples) for m in f(sys.stdin.read())))";
    let mut parser = std::process::Command::new(python)
        .args(["-c", check])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut parser.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}\n{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(said.trim(), samples.to_string(), "{text}");
}
