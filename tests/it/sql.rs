//! Every SQL file against a real server.

use outbox_relay::store::schema_name::SchemaName;
use outbox_relay::store::statement::ALL;
use outbox_relay::store::{application, retention};

use crate::support::outbox::Outbox;

#[tokio::test]
async fn every_statement_prepares_with_the_types_it_states() {
    let outbox = Outbox::create("prepare").await;
    let client = outbox.connect().await;
    let schema = SchemaName::new("outbox").unwrap();
    for statement in ALL.iter().chain(application::STATEMENTS).chain(retention::STATEMENTS) {
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
             set enable_seqscan = off; set plan_cache_mode = force_generic_plan",
        )
        .await
        .unwrap();
    let schema = SchemaName::new("outbox").unwrap();
    for (name, arguments, index) in [
        ("lock_tenants", "('', 100, '{x}')", "event_pending"),
        ("read_runs", "('{t1,t2}', 500, 65536)", "event_pending"),
        ("lock_rows", "('{1,2}')", "event_pkey"),
        ("publish_rows", "('{1,2}')", "event_pkey"),
        ("fail_rows", "('{1,2}', '{}')", "event_pkey"),
        ("backlog", "(10)", "event_pending"),
    ] {
        let statement = ALL.iter().find(|s| s.name == name).unwrap();
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
