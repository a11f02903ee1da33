//! What scrub takes away, and what it keeps.

use super::{done, number, run, run_json, settled, text};
use crate::support::outbox::Outbox;

const SCRUBBED: &str =
    "select count(*) from outbox.event where payload = '{\"scrubbed\": true}' and headers is null";

/// Everything but payload and headers.
const METADATA: &str = "select string_agg((to_jsonb(e) - 'payload' - 'headers')::text, E'\\n' order by seq) from outbox.event e";

#[tokio::test]
async fn payload_and_headers_go_and_everything_else_stays() {
    let outbox = Outbox::create("scrub").await;
    let client = outbox.connect().await;
    settled(&client, "a", "published", 1_500, 31).await;
    settled(&client, "a", "pending", 5, 31).await;
    settled(&client, "a", "failed", 5, 31).await;
    settled(&client, "a", "published", 5, 29).await;
    let before = text(&client, METADATA).await;
    let dry =
        done(&run(&outbox, &["scrub", "--published-older-than", "30d", "--dry-run", "--json"]));
    assert_eq!((dry["matched"].as_i64(), dry["scrubbed"].as_i64()), (Some(1_500), Some(0)));
    assert_eq!(number(&client, SCRUBBED).await, 0);
    let report = run_json(&outbox, &["scrub", "--published-older-than", "30d"]);
    assert_eq!(report["scrubbed"].as_i64(), Some(1_500), "{report}");
    assert_eq!(number(&client, SCRUBBED).await, 1_500);
    assert_eq!(text(&client, METADATA).await, before);
    // The second time there is nothing to do.
    let report = run_json(&outbox, &["scrub", "--published-older-than", "30d"]);
    assert_eq!(report["matched"].as_i64(), Some(0), "{report}");
    let report = run_json(&outbox, &["scrub", "--published-older-than", "30d", "--failed"]);
    assert_eq!(report["scrubbed"].as_i64(), Some(5), "{report}");
    let pending = "select count(*) from outbox.event where status = 'pending' and payload ? 'n'";
    assert_eq!(number(&client, pending).await, 5, "what is still to be published is whole");
}

#[tokio::test]
async fn filters_find_one_person_in_the_outbox_and_in_its_archive() {
    let outbox = Outbox::create("forget").await;
    let client = outbox.connect().await;
    for tenant in ["a", "b"] {
        settled(&client, tenant, "published", 30, 9).await;
    }
    run_json(&outbox, &["prune", "--published-older-than", "7d", "--archive-table"]);
    for tenant in ["a", "b"] {
        settled(&client, tenant, "published", 30, 1).await;
    }
    client
        .batch_execute(
            "update outbox.event set event_type = 'kitchen.task.done_100%' where seq % 2 = 0",
        )
        .await
        .unwrap();
    let everything = ["scrub", "--published-older-than", "0s"];
    let filters = ["--tenant", "a", "--aggregate-id", "task-7"];
    let report = run_json(&outbox, &[&everything[..], &filters].concat());
    assert_eq!(
        (report["scrubbed"].as_i64(), report["scrubbed_in_archive"].as_i64()),
        (Some(1), Some(1)),
        "{report}"
    );
    let left = "select count(*) from (select * from outbox.event union all
                  select seq, id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at,
                         created_at, status, attempts, error, published_at, adopted_from, traceparent from outbox.event_archive) e
                 where tenant_id = 'a' and aggregate_id = 'task-7' and (payload ? 'n' or headers is not null)";
    assert_eq!(number(&client, left).await, 0);
    let types = ["--tenant", "b", "--event-type", "kitchen.*.done_100%", "--json", "--dry-run"];
    let dry = done(&run(&outbox, &[&everything[..], &types].concat()));
    assert_eq!((dry["matched"].as_i64(), dry["matched_in_archive"].as_i64()), (Some(15), Some(0)));
    let types = ["--event-type", "kitchen.task.done?100x", "--json", "--dry-run"];
    let dry = done(&run(&outbox, &[&everything[..], &types].concat()));
    assert_eq!(dry["matched"].as_i64(), Some(0));
}

#[tokio::test]
async fn what_was_locked_is_said_by_the_exit_code() {
    let outbox = Outbox::create("scrub_locked").await;
    let mut other = outbox.connect().await;
    settled(&other, "a", "published", 10, 8).await;
    let transaction = other.transaction().await.unwrap();
    transaction.execute("select from outbox.event where seq = 3 for update", &[]).await.unwrap();
    let output = run(&outbox, &["scrub", "--published-older-than", "1d", "--yes", "--json"]);
    assert_eq!(output.status.code(), Some(75));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["scrubbed"].as_i64(), report["passed_over"].as_i64()), (Some(9), Some(1)));
    transaction.rollback().await.unwrap();
    assert_eq!(run_json(&outbox, &["scrub", "--published-older-than", "1d"])["scrubbed"], 1);
}
