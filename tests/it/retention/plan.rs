//! How the statements reach the rows: by the primary key, and only as far as their window.

use outbox_relay::store::retention_statement::ALL;
use outbox_relay::store::schema_name::SchemaName;

use super::settled;
use crate::support::outbox::Outbox;

#[tokio::test]
async fn every_statement_reads_by_position_and_no_further_than_its_window() {
    let outbox = Outbox::create("plan").await;
    let client = outbox.connect().await;
    // No statistics yet: the planner has only its guesses, as after a bulk load.
    for _ in 0..10 {
        settled(&client, "a", "published", 2_000, 8).await;
        settled(&client, "b", "pending", 100, 8).await;
    }
    client
        .batch_execute(
            "insert into outbox.event_archive select clock_timestamp(), e.* from outbox.event e",
        )
        .await
        .unwrap();
    let settings = include_str!("../../../src/store/sql/retention_settings.sql");
    let schema = SchemaName::new("outbox").unwrap();
    let filter = "86400000, '{published}', null, null, null, true, 6000";
    for (name, arguments, index) in [
        ("find_old", format!("(5000, 1000, 500, {filter})"), "event_pkey"),
        (
            "find_archived",
            format!("(5000, 1000, 500, {filter})").replace(", 6000", ""),
            "event_archive_seq",
        ),
        ("prune_rows", "('{1,2}', 86400000)".to_owned(), "event_pkey"),
        ("prune_rows_into_archive", "('{1,2}', 86400000)".to_owned(), "event_pkey"),
        ("archive_lines", "('{1,2}', 86400000, 1000000)".to_owned(), "event_pkey"),
        (
            "scrub_rows",
            "('{1,2}', 86400000, '{published}', null, null, null)".to_owned(),
            "event_pkey",
        ),
        (
            "scrub_archived",
            "('{1,2}', 86400000, '{published}', null, null, null)".to_owned(),
            "event_archive_seq",
        ),
    ] {
        let statement = ALL.iter().find(|s| s.name == name).unwrap();
        let types: Vec<String> = statement
            .parameters
            .iter()
            .map(|t| t.to_string())
            .map(|t| t.strip_prefix('_').map_or_else(|| t.clone(), |t| format!("{t}[]")))
            .collect();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            client
                .batch_execute(&format!(
                    "begin; {settings}; set local plan_cache_mode = {mode}; prepare it({}) as {}",
                    types.join(", "),
                    schema.fill(statement.template)
                ))
                .await
                .unwrap();
            let explain = format!("explain (analyze, costs off, timing off) execute it{arguments}");
            let rows = client.query(&explain, &[]).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("\n");
            client.batch_execute("rollback; deallocate it").await.unwrap();
            assert!(!plan.contains("Seq Scan on event"), "{name}, {mode}:\n{plan}");
            assert!(plan.contains(index), "{name}, {mode}:\n{plan}");
            for line in
                plan.lines().filter(|line| line.contains("Scan using") || line.contains("Tid Scan"))
            {
                let (_, rows) = line.split_once("(actual rows=").unwrap_or((line, "0 loops"));
                let rows: f64 = rows.split(' ').next().unwrap().parse().unwrap();
                assert!(rows <= 1_000.0, "{name}, {mode}: a window is 1000 rows\n{plan}");
            }
        }
    }
}
