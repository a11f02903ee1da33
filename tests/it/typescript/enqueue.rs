//! `enqueue` of the TypeScript package, by pg, postgres.js, Prisma and Drizzle.

use serde_json::{Value, json};

use crate::emulator_client::js_client::JsClient;
use crate::support::npm_workspace;
use crate::support::outbox::store_at;
use crate::support::postgres::TestDatabase;

const DRIVERS: [&str; 6] = ["client", "pooled", "prisma", "drizzle", "postgresjs", "drizzlejs"];
const NASTY: &str = r#"'); drop table "x"; -- $1 \ ü ""#;

/// The error's message, its code and how its hint begins, for what `client/enqueue.ts` sends wrong.
const REFUSALS: [(&str, &str, &str); 6] = [
    ("tenantId is required", "22023", "Pass the tenant"),
    ("tenantId 'a:b' cannot be part of", "22023", "Use an id of at most"),
    ("eventType 'kitchen' needs at least two segments", "22023", "Name it module"),
    ("payload is required", "22004", "Pass jsonb"),
    ("the message would be 70", "54000", "Put a reference"),
    ("", "23505", "An event with this id"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_writes_the_same_events_and_shows_what_the_database_refuses() {
    // A schema whose name needs its quotes.
    let (database, schema) = (TestDatabase::create("ts_enqueue").await, "Our Outbox");
    store_at(&database.dsn(), schema).migrate_up().await.expect("migrate");
    let script = npm_workspace::script("client/enqueue");
    let mut run = JsClient::start(script.to_str().unwrap(), &[&database.url(), schema], &[]);
    let mut ids = Vec::new();
    for driver in DRIVERS {
        for _ in 0..3 {
            let line = run.next("enqueued").await;
            assert_eq!(line["driver"], driver);
            ids.push(line["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(run.next("rolled back").await["driver"], driver);
        for (message, code, hint) in REFUSALS {
            let refused = run.next("refused").await;
            assert_eq!((&refused["driver"], &refused["code"]), (&json!(driver), &json!(code)));
            assert!(refused["message"].as_str().unwrap().starts_with(message), "{refused}");
            assert!(refused["hint"].as_str().unwrap().starts_with(hint), "{refused}");
            assert!(refused["message"].as_str().unwrap().contains(hint), "{refused}");
        }
    }
    for driver in ["pg", "prisma", "postgresjs", "drizzle"] {
        let misplaced = run.next("misplaced").await;
        assert_eq!(misplaced["driver"], driver);
        assert_eq!(misplaced["code"], "3F000", "{misplaced}");
        assert!(misplaced["hint"].as_str().unwrap().contains("migrate up"), "{misplaced}");
    }
    run.next("done").await;
    assert!(
        !run.passed_over.iter().any(|line| line["type"] == "accepted"),
        "{:?}",
        run.passed_over
    );
    assert_eq!(run.end().await, Some(0));
    assert_rows(&database, &ids).await;
}

async fn assert_rows(database: &TestDatabase, ids: &[String]) {
    let client = database.connect().await;
    let sql = "select jsonb_build_object('id', id, 'tenant', tenant_id, 'aggregate', aggregate_type, \
               'aggregateId', aggregate_id, 'type', event_type, 'payload', payload, 'headers', headers, \
               'trace', left(traceparent, 11), \
               'at', occurred_at at time zone 'UTC')::text from \"Our Outbox\".event order by seq";
    let rows = client.query(sql, &[]).await.unwrap();
    let rows: Vec<Value> =
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect();
    let payload = json!({ "text": NASTY, "none": null, "list": [1, "2"], "n": 1.5 });
    let headers = json!({ "trace": "t-1", "n": 2, "yes": true, "no": null });
    let expected: Vec<Value> = DRIVERS
        .iter()
        .enumerate()
        .flat_map(|(n, driver)| {
            let row = |index: usize, payload: &Value, headers: &Value, at: Value| {
                json!({
                    "id": ids[n * 3 + index], "tenant": driver, "aggregate": "KitchenTask", "aggregateId": NASTY,
                    "type": "kitchen.task.claimed", "payload": payload, "headers": headers, "at": at,
                    "trace": (index == 1).then_some("00-4bf92f35"),
                })
            };
            [
                row(0, &payload, &Value::Null, Value::Null),
                row(1, &payload, &headers, json!("2026-01-23T10:30:00.123")),
                row(2, &json!("a text"), &Value::Null, json!("2026-01-23T10:30:00")),
            ]
        })
        .collect();
    assert_eq!(rows, expected);
    assert_eq!((ids[1].as_str(), ids[10].as_str()), ("own-client", "own-drizzle"));
}
