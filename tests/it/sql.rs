//! Every SQL file against a real server.

use outbox_relay::store::schema_name::SchemaName;
use outbox_relay::store::statement::ALL;
use outbox_relay::store::{
    adopt, application, capture, diagnose, grants, observe, operator_statement, partitions,
    payload, producer, relation, retention_statement, search, stats,
};

use crate::support::outbox::Outbox;

#[tokio::test]
async fn every_statement_prepares_with_the_types_it_states() {
    let outbox = Outbox::create("prepare").await;
    let client = outbox.connect().await;
    let schema = SchemaName::new("outbox").unwrap();
    let others = operator_statement::ALL.iter().chain(&retention_statement::ALL);
    let others =
        others.chain(&adopt::STATEMENTS).chain(&relation::STATEMENTS).chain(&grants::STATEMENTS);
    let others = others.chain(&capture::STATEMENTS).chain(partitions::STATEMENTS);
    let others = others.chain(&stats::STATEMENTS).chain(&search::STATEMENTS);
    let others =
        others.chain(&observe::STATEMENTS).chain(diagnose::STATEMENTS).chain([&payload::STATEMENT]);
    for statement in
        ALL.iter().chain(application::STATEMENTS).chain(producer::STATEMENTS).chain(others)
    {
        let prepared = client
            .prepare_typed(&schema.fill(statement.template), statement.parameters)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", statement.name));
        assert_eq!(prepared.params(), statement.parameters, "{}", statement.name);
    }
}

#[tokio::test]
async fn the_claim_reads_the_table_by_index_only() {
    let outbox = Outbox::create("explain").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 't' || n % 100, 'a', 'b', 'c.d', '{}' from generate_series(1, 20000) n;
             update outbox.event set status = 'failed', error = '{}' where seq % 10 = 0;
             set enable_seqscan = off; set plan_cache_mode = force_generic_plan",
        )
        .await
        .unwrap();
    let schema = SchemaName::new("outbox").unwrap();
    for (name, arguments, index) in [
        ("lock_tenants", "('', 100, '{x}', 0, 0)", "event_pending"),
        ("read_runs", "('{t1,t2}', 500, 65536, 0, true)", "event_pending"),
        ("lock_rows", "('{1,2}')", "event_pkey"),
        ("publish_rows", "('{1,2}')", "event_pkey"),
        ("fail_rows", "('{1,2}', '{}')", "event_pkey"),
        ("backlog", "(10)", "event_pending"),
        ("lowest_pending", "(100)", "event_pending"),
        ("next_pending", "(100, 200)", "event_pkey"),
        ("pending_below", "(100)", "event_pending"),
        ("block_tenants", "('{1,2}')", "event_pkey"),
        ("read_events", "('{1,2}')", "event_pkey"),
        ("read_events_whole", "('{1,2}')", "event_pkey"),
        ("find_events", "('{a}', '{1}')", "event_id_key"),
        ("requeue_rows", "('t', '{1,2}', false)", "event_pkey"),
        ("discard_rows", "('t', '{1,2}', '', '')", "event_pkey"),
        ("release_blocked", "('t')", "event_undecided"),
        ("read_holds", "('', null, 100, 100)", "event_pending"),
        ("observe_backlog", "(10000, '', 1000, 7)", "event_pending"),
        ("observe_state", "(10000)", "event_undecided"),
        ("stats_pending", "(10000, 10)", "event_pending"),
        ("stats_published", "(10000)", "event_pkey"),
        ("stats_failed", "(10000, 10)", "event_undecided"),
        ("search_recent", "(9999, 1, 50, null, 't1', 'x', 'y', null, 0)", "event_pkey"),
        ("search_failed", "(9999, 50, 't1', null, null, '40009', 0, null)", "event_failed"),
        ("search_pending", "('', 0, 50, null, 'x', null, null)", "event_pending"),
        ("position_below", "(100)", "event_pkey"),
        ("end_of_failed", "(9999)", "event_failed"),
        ("end_of_pending", "('', 0, null)", "event_pending"),
        ("group_failed", "(1000)", "event_undecided"),
        ("peek_payload", "(1, 1000)", "event_pkey"),
    ] {
        let mut all = ALL
            .iter()
            .chain(&operator_statement::ALL)
            .chain(&observe::STATEMENTS)
            .chain(&stats::STATEMENTS)
            .chain(&search::STATEMENTS);
        let statement = all.find(|s| s.name == name).unwrap();
        let types: Vec<String> = statement.parameters.iter().map(ToString::to_string).collect();
        let types: Vec<String> = types
            .iter()
            .map(|t| t.strip_prefix('_').map_or_else(|| t.clone(), |t| format!("{t}[]")))
            .collect();
        client
            .batch_execute(&format!(
                "prepare {name}({}) as {}",
                types.join(", "),
                schema.fill(statement.template)
            ))
            .await
            .unwrap();
        let rows = client.query(&format!("explain execute {name}{arguments}"), &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on event"), "{name}:\n{plan}");
        assert!(plan.contains(index), "{name}:\n{plan}");
    }
}

#[tokio::test]
async fn the_operators_lists_read_failures_and_no_history() {
    let outbox = Outbox::create("explainlists").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, published_at)
             select 't' || n % 100, 'a', 'b', 'c.d', '{}', 'published', now() from generate_series(1, 20000) n;
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload, status, error)
             select 't' || n % 100, 'a', 'b', 'c.d', '{}', 'failed', '{}' from generate_series(1, 500) n;
             set enable_seqscan = off; set plan_cache_mode = force_custom_plan",
        )
        .await
        .unwrap();
    let schema = SchemaName::new("outbox").unwrap();
    for (name, arguments, index) in [
        ("newest_failed", "(null, null, null, null, true, 50)", "event_failed"),
        ("newest_failed", "('t1', 'x.y', '40009', 0, false, 50)", "event_undecided"),
        ("next_failed", "('t1', null, null, null, false, 0, 99999, 50)", "event_undecided"),
        ("next_failed", "(null, 'c.d', null, null, false, 0, 99999, 50)", "event_failed"),
        ("count_failed", "('t1', null, null, null, false, 1000)", "event_undecided"),
        ("first_pending", "(null, null, null, null, 50)", "event_pending"),
        ("newest_published", "(null, null, null, null, 50, 1000)", "event_pkey"),
    ] {
        let statement = operator_statement::ALL.iter().find(|s| s.name == name).unwrap();
        let types: Vec<String> = statement.parameters.iter().map(ToString::to_string).collect();
        let sql =
            format!("prepare list({}) as {}", types.join(", "), schema.fill(statement.template));
        client.batch_execute(&sql).await.unwrap();
        let rows = client.query(&format!("explain execute list{arguments}"), &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on event"), "{name}:\n{plan}");
        assert!(plan.contains(index), "{name}:\n{plan}");
        client.batch_execute("deallocate list").await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_on_hold_brings_no_rows_even_to_who_has_its_lock() {
    let outbox = Outbox::create("held").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select t, 'a', 'b', 'c.d', '{}' from unnest(array['held', 'over', 'free']) t;
             insert into outbox.hold (tenant_id, until, reason, message)
             values ('held', 'infinity', 'blocked', 'm'), ('over', now(), 'outage', 'm')",
        )
        .await
        .unwrap();
    let read = ALL.iter().find(|s| s.name == "read_runs").unwrap();
    let sql = SchemaName::new("outbox").unwrap().fill(read.template);
    let statement = client.prepare_typed(&sql, read.parameters).await.unwrap();
    let tenants = ["held", "over", "free"].as_slice();
    let rows =
        client.query(&statement, &[&tenants, &10_i64, &1_000_i64, &0_i64, &false]).await.unwrap();
    let tenants: Vec<&str> = rows.iter().map(|row| row.get("tenant_id")).collect();
    assert_eq!(tenants, ["over", "free"]);
}

#[tokio::test]
async fn a_claim_that_was_planned_for_an_empty_table_reads_no_other_index() {
    let outbox = Outbox::create("explainempty").await;
    let client = outbox.connect().await;
    client.batch_execute("vacuum analyze outbox.event").await.unwrap();
    let begin = include_str!("../../src/store/sql/begin.sql");
    client.batch_execute(begin).await.unwrap();
    client.batch_execute(include_str!("../../src/store/sql/drain_settings.sql")).await.unwrap();
    let schema = SchemaName::new("outbox").unwrap();
    for (name, types, arguments) in [
        ("lock_tenants", "text, bigint, text[], bigint, bigint", "('', 100, '{}', 7, 2000)"),
        ("read_runs", "text[], bigint, bigint, bigint, boolean", "(null, 500, 65536, 7, true)"),
    ] {
        let statement = ALL.iter().find(|s| s.name == name).unwrap();
        let sql = format!("prepare {name}({types}) as {}", schema.fill(statement.template));
        client.batch_execute(&sql).await.unwrap();
        let rows = client.query(&format!("explain execute {name}{arguments}"), &[]).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("using event_pending on event"), "{name}:\n{plan}");
        // Rows are read by position from the floor on, a bounded number of them, and nowhere else.
        let by_position = usize::from(name == "lock_tenants");
        assert_eq!(plan.matches("using event_pkey").count(), by_position, "{name}:\n{plan}");
        for other in ["event_id_key", "Bitmap", "Seq Scan on event"] {
            assert!(!plan.contains(other), "{name} uses {other}:\n{plan}");
        }
    }
}
