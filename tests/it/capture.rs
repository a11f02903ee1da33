//! Changes of business tables become events, in bulk and through partitions, and say what they shall.

mod keys;

use std::io::Cursor;
use std::process::Command;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::outbox::Outbox;

fn run(outbox: &Outbox, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .arg("capture")
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .env("DATABASE_URL", outbox.database.dsn())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

#[track_caller]
fn ok(outbox: &Outbox, args: &[&str]) -> String {
    let (code, text) = run(outbox, args);
    assert_eq!(code, Some(0), "{text}");
    text
}

/// Type, tenant, aggregate and payload of every event since the last call.
async fn events(client: &Client) -> Vec<Value> {
    let sql = "with gone as (delete from outbox.event returning *)
               select event_type, tenant_id, aggregate_type, aggregate_id, payload::text from gone order by seq";
    let rows = client.query(sql, &[]).await.unwrap();
    let text = |row: &tokio_postgres::Row, i: usize| row.get::<_, String>(i);
    let payload = |row| serde_json::from_str::<Value>(&text(row, 4)).unwrap();
    rows.iter()
        .map(|r| json!([text(r, 0), text(r, 1), text(r, 2), text(r, 3), payload(r)]))
        .collect()
}

const ORDERS: &str =
    "create table orders (id int primary key, tenant_id text, total numeric, card text)";

#[tokio::test]
async fn rows_become_events_and_columns_can_be_left_out() {
    let outbox = Outbox::create("capture").await;
    let client = outbox.connect().await;
    client.batch_execute(ORDERS).await.unwrap();
    let add = [
        "add",
        "public.orders",
        "--event-type",
        "orders.order.{created,updated,deleted}",
        "--tenant-column",
        "tenant_id",
    ];
    ok(&outbox, &[&add[..], &["--payload", "changed", "--except", "card"]].concat());
    client
        .batch_execute(
            "insert into orders values (1, 'a', 12345678901234567890.5, 'x'), (2, 'b', 2, 'y')",
        )
        .await
        .unwrap();
    let created = events(&client).await;
    assert_eq!(created.len(), 2);
    assert_eq!(
        created[1],
        json!(["orders.order.created", "b", "orders", "2", { "id": 2, "tenant_id": "b", "total": 2 }])
    );
    client
        .batch_execute("update orders set total = 3; update orders set total = 3, card = 'z'")
        .await
        .unwrap();
    let updated = events(&client).await;
    assert_eq!(updated.len(), 2, "what is not told is no change: {updated:?}");
    assert_eq!(
        updated[1],
        json!(["orders.order.updated", "b", "orders", "2", { "id": 2, "total": 3 }])
    );
    client.batch_execute("update orders set id = 9 where id = 2").await.unwrap();
    let moved = events(&client).await;
    let kinds: Vec<_> =
        moved.iter().map(|e| (e[0].as_str().unwrap(), e[3].as_str().unwrap())).collect();
    assert_eq!(kinds, [("orders.order.deleted", "2"), ("orders.order.created", "9")]);
    client
        .batch_execute("begin; delete from orders; rollback; delete from orders where id = 1")
        .await
        .unwrap();
    let deleted = events(&client).await;
    assert_eq!(
        deleted,
        [
            json!(["orders.order.deleted", "a", "orders", "1", { "id": 1, "tenant_id": "a", "total": 3 }])
        ]
    );
}

#[tokio::test]
async fn single_operations_and_columns_are_captured_until_that_is_ended() {
    let outbox = Outbox::create("capturesome").await;
    let client = outbox.connect().await;
    client.batch_execute(ORDERS).await.unwrap();
    ok(
        &outbox,
        &[
            "add",
            "orders",
            "--event-type",
            "shop.sale.created",
            "--tenant-column",
            "tenant_id",
            "--payload",
            "total,id",
            "--aggregate-type",
            "Sale",
        ],
    );
    client.batch_execute("insert into orders values (5, null, 1, ''); update orders set total = 7; delete from orders").await.unwrap();
    assert_eq!(
        events(&client).await,
        [json!(["shop.sale.created", "", "Sale", "5", { "id": 5, "total": 1 }])]
    );
    assert!(ok(&outbox, &["list"]).contains("shop.sale.created"));
    ok(&outbox, &["remove", "orders"]);
    client.batch_execute("insert into orders values (6, 'a', 1, '')").await.unwrap();
    assert!(events(&client).await.is_empty());
    assert_eq!(run(&outbox, &["remove", "orders"]).0, Some(65));
    let left: i64 = client
        .query_one("select count(*) from pg_proc where proname like 'captured%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn bulk_statements_and_partitions_are_captured_whichever_table_is_named() {
    let outbox = Outbox::create("capturebulk").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            r#"create schema "We$body$ird";
               create table "We$body$ird"."O'r;der" (id int, "Te""nant" text, state text, primary key (id, state)) partition by list (state);
               create table "We$body$ird".open partition of "We$body$ird"."O'r;der" for values in ('open');
               create table "We$body$ird".rest partition of "We$body$ird"."O'r;der" default"#,
        )
        .await
        .unwrap();
    let table = r#""We$body$ird"."O'r;der""#;
    let add = [
        "add",
        table,
        "--event-type",
        "a.{created,updated,deleted}",
        "--tenant-column",
        "Te\"nant",
    ];
    ok(&outbox, &add);
    client
        .batch_execute(&format!(
            "insert into {table} select n, 'a', 'open' from generate_series(1, 5000) n"
        ))
        .await
        .unwrap();
    assert_eq!(events(&client).await.len(), 5000);
    client
        .batch_execute(r#"insert into "We$body$ird".open values (0, 'a', 'open')"#)
        .await
        .unwrap();
    assert_eq!(events(&client).await[0][3], "0:open", "straight into a partition");
    client
        .batch_execute(&format!("update {table} set state = 'done' where id < 10"))
        .await
        .unwrap();
    assert_eq!(events(&client).await.len(), 20, "the state is part of the key");
    client
        .batch_execute(&format!("create table new partition of {table} for values in ('new')"))
        .await
        .unwrap();
    assert!(ok(&outbox, &["list", "--json"]).contains("run capture add again"));
    ok(&outbox, &add);
    assert!(!ok(&outbox, &["list", "--json"]).contains("run capture add again"));
    client.batch_execute("insert into new values (1, 'a', 'new')").await.unwrap();
    assert_eq!(events(&client).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused_with_what_to_say() {
    let outbox = Outbox::create("captureno").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "create table bare (tenant_id text); create table t (id int primary key);
             create table lone (id int primary key);
             create table parts (id int primary key) partition by range (id);
             create table part partition of parts default;
             create table heir (primary key (id)) inherits (t);
             create table parent (id int primary key); create table child () inherits (parent);
             create view v as select 1 as id; create materialized view m as select 1 as id",
        )
        .await
        .unwrap();
    for (args, code, text) in [
        (["bare", "a.created", "tenant_id"], 65, "has no primary key"),
        (["v", "a.created", "id"], 65, "is a view"),
        (["m", "a.created", "id"], 65, "is a view"),
        (["part", "a.created", "id"], 65, "is a part of public.parts"),
        (["heir", "a.created", "id"], 65, "is a part of public.t"),
        (["parent", "a.created", "id"], 65, "other tables inherit from"),
        (["lone", "a.created", "tenant_id"], 65, "has no column \"tenant_id\""),
        (["nowhere", "a.created", "tenant_id"], 65, "there is no table"),
        (["lone", "a.placed", "id"], 2, "does not say what is what"),
        (["outbox.event", "a.created", "tenant_id"], 65, "the outbox itself"),
        (["lone", "created", "id"], 65, "event type \"created\" needs at least two segments"),
        (["lone", ".{created,deleted}", "id"], 65, "needs at least two segments"),
    ] {
        let [table, event_type, tenant] = args;
        let (got, said) =
            run(&outbox, &["add", table, "--event-type", event_type, "--tenant-column", tenant]);
        assert!(got == Some(code) && said.contains(text), "{said}");
    }
    let blank = ["add", "lone", "--event-type", "a.created", "--tenant-column", "id"];
    let (code, said) = run(&outbox, &[&blank[..], &["--aggregate-type", " "]].concat());
    assert!(code == Some(65) && said.contains("the aggregate type is blank"), "{said}");
}

/// Types and aggregate ids of every event since the last call.
async fn what(client: &Client) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events(client).await.iter().map(|e| (text(&e[0]), text(&e[3]))).collect()
}

fn is(kind: &str, id: &str) -> (String, String) {
    (format!("orders.order.{kind}"), id.to_owned())
}

/// Upserts, COPY and MERGE tell of each row what became of it, on a plain and on a partitioned table.
async fn every_bulk_statement(outbox: &Outbox, client: &Client, version: i32) {
    let add = ["orders", "--event-type", "orders.order.{created,updated,deleted}"];
    ok(outbox, &[&["add"][..], &add, &["--tenant-column", "tenant_id"]].concat());
    let upsert =
        "insert into orders values (1, 'a', 1, 'x'), (2, 'b', 2, 'x') on conflict (id, tenant_id)";
    client.batch_execute(&format!("{upsert} do nothing")).await.unwrap();
    assert_eq!(what(client).await, [is("created", "1:a"), is("created", "2:b")]);
    client.batch_execute(&format!("{upsert} do nothing")).await.unwrap();
    assert!(what(client).await.is_empty(), "nothing was inserted");
    client
        .batch_execute(
            "insert into orders values (1, 'a', 7, 'x'), (2, 'b', 2, 'x'), (3, 'a', 3, 'x')
                 on conflict (id, tenant_id) do update set total = excluded.total",
        )
        .await
        .unwrap();
    let mut got = what(client).await;
    got.sort();
    assert_eq!(got, [is("created", "3:a"), is("updated", "1:a")], "row 2 is as it was");

    let sink = client.copy_in::<_, Cursor<String>>("copy orders from stdin (format csv)").await;
    let mut sink = Box::pin(sink.unwrap());
    let rows = (100..1100).map(|n| format!("{n},{},1,x\n", if n % 2 == 0 { "a" } else { "b" }));
    sink.send(Cursor::new(rows.collect())).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1000);
    let got = what(client).await;
    assert_eq!((got.len(), &got[999]), (1000, &is("created", "1099:b")));

    // One statement, both partitions; and one that moves rows from partition to partition.
    client.batch_execute("update orders set total = total + 1 where id >= 100").await.unwrap();
    assert_eq!(what(client).await.len(), 1000);
    client.batch_execute("update orders set tenant_id = 'b' where id = 100").await.unwrap();
    assert_eq!(what(client).await, [is("deleted", "100:a"), is("created", "100:b")]);
    client.batch_execute("delete from orders where id >= 100").await.unwrap();
    assert_eq!(what(client).await.len(), 1000);
    if version >= 150_000 {
        client
            .batch_execute(
                "merge into orders o using (values (1, 'a'), (9, 'b')) v (id, tenant) on o.id = v.id
                 when matched then delete when not matched then insert values (v.id, v.tenant, 0, 'x')",
            )
            .await
            .unwrap();
        let mut got = what(client).await;
        got.sort();
        assert_eq!(got, [is("created", "9:b"), is("deleted", "1:a")]);
    }
    client.batch_execute("create table more as table orders with no data").await.unwrap();
    client
        .batch_execute(
            "insert into more values (50, 'a', 1, 'x'), (51, 'b', 1, 'x');
             insert into orders table more; truncate orders",
        )
        .await
        .unwrap();
    assert_eq!(what(client).await, [is("created", "50:a"), is("created", "51:b")]);
}

#[tokio::test]
async fn upserts_copies_and_merges_tell_what_became_of_each_row() {
    let columns = "(id int, tenant_id text, total numeric, card text, primary key (id, tenant_id))";
    for (hint, partitions) in [
        ("captureplain", ""),
        (
            "captureparts",
            " partition by list (tenant_id);
              create table orders_a partition of orders for values in ('a');
              create table orders_rest partition of orders default",
        ),
    ] {
        let outbox = Outbox::create(hint).await;
        let client = outbox.connect().await;
        client.batch_execute(&format!("create table orders {columns}{partitions}")).await.unwrap();
        let version = client
            .query_one("select current_setting('server_version_num')::int", &[])
            .await
            .unwrap();
        every_bulk_statement(&outbox, &client, version.get(0)).await;
    }
}

#[tokio::test]
async fn a_column_of_the_key_is_left_out_of_payloads_too() {
    let outbox = Outbox::create("capturekey").await;
    let client = outbox.connect().await;
    client.batch_execute(ORDERS).await.unwrap();
    let add = ["orders", "--event-type", "orders.order.{created,updated,deleted}"];
    let more = ["--tenant-column", "tenant_id", "--payload", "changed", "--except", "id"];
    ok(&outbox, &[&["add"][..], &add, &more].concat());
    client
        .batch_execute("insert into orders values (1, 'a', 1, ''); update orders set total = 2")
        .await
        .unwrap();
    let got = events(&client).await;
    assert_eq!(got[0][4], json!({ "tenant_id": "a", "total": 1, "card": "" }));
    assert_eq!(got[1], json!(["orders.order.updated", "a", "orders", "1", { "total": 2 }]));
}
