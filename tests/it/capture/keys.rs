//! Old and new rows of an update find each other by their keys, whatever these are and however many.

use super::{is, ok, what};
use crate::support::outbox::Outbox;

#[tokio::test]
async fn a_bulk_update_behind_single_ones_does_not_compare_each_row_with_each() {
    let outbox = Outbox::create("capturemany").await;
    let client = outbox.connect().await;
    let columns = "(id uuid primary key default gen_random_uuid(), tenant_id text, total int)";
    client.batch_execute(&format!("create table orders {columns}")).await.unwrap();
    let add = ["orders", "--event-type", "orders.order.{created,updated,deleted}"];
    ok(&outbox, &[&["add"][..], &add, &["--tenant-column", "tenant_id"]].concat());
    client
        .batch_execute(
            "insert into orders (tenant_id, total) select 'a', 1 from generate_series(1, 20000);
             set statement_timeout = '30s'",
        )
        .await
        .unwrap();
    // The plan of a statement that changed one row is the session's from now on.
    let one = "update orders set total = total + 1 where id = (select id from orders limit 1)";
    for sql in [one, one, "update orders set total = total + 1"] {
        client.batch_execute(sql).await.expect("in time: it took minutes once");
    }
    let sql = "select count(*) from outbox.event where event_type = 'orders.order.updated'";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 20_002);
}

#[tokio::test]
async fn what_an_index_only_includes_is_no_key_and_a_missing_trigger_is_seen() {
    let outbox = Outbox::create("captureincl").await;
    let client = outbox.connect().await;
    client
        .batch_execute(
            "create table orders (id int, tenant_id text, total numeric, primary key (id) include (total))",
        )
        .await
        .unwrap();
    let add = ["orders", "--event-type", "orders.order.{created,updated,deleted}"];
    ok(&outbox, &[&["add"][..], &add, &["--tenant-column", "tenant_id"]].concat());
    client
        .batch_execute("insert into orders values (1, 'a', 1); update orders set total = 2")
        .await
        .unwrap();
    assert_eq!(what(&client).await, [is("created", "1"), is("updated", "1")]);
    assert!(!ok(&outbox, &["list"]).contains("capture add again"));
    client
        .batch_execute(
            "do $$ declare t text; begin
               select tgname into t from pg_trigger where tgname like '%_delete';
               execute format('alter table orders disable trigger %I', t);
             end $$",
        )
        .await
        .unwrap();
    assert!(ok(&outbox, &["list", "--json"]).contains("capture add again"));
}

/// As an extension makes one: its operators are not where generated functions look for them.
const OWN_TYPE: &str = "create type label;
    create function label_in(cstring) returns label language internal immutable strict as 'int4in';
    create function label_out(label) returns cstring language internal immutable strict as 'int4out';
    create type label (input = label_in, output = label_out, like = pg_catalog.int4);
    create function label_lt(label, label) returns bool language internal immutable strict as 'int4lt';
    create function label_eq(label, label) returns bool language internal immutable strict as 'int4eq';
    create function label_cmp(label, label) returns int language internal immutable strict as 'btint4cmp';
    create operator < (leftarg = label, rightarg = label, function = label_lt);
    create operator = (leftarg = label, rightarg = label, function = label_eq);
    create operator class labels default for type label using btree as
      operator 1 <, operator 3 =, function 1 label_cmp(label, label);
    create table orders (id label primary key, tenant_id text, total int)";

#[tokio::test]
async fn a_key_of_a_type_of_its_own_does_not_break_the_applications_statements() {
    let outbox = Outbox::create("captureown").await;
    let client = outbox.connect().await;
    client.batch_execute(OWN_TYPE).await.unwrap();
    let add = ["orders", "--event-type", "orders.order.{created,updated,deleted}"];
    ok(&outbox, &[&["add"][..], &add, &["--tenant-column", "tenant_id"]].concat());
    client
        .batch_execute(
            "insert into orders values ('7', 'a', 1); update orders set total = 2; update orders set id = '8'",
        )
        .await
        .expect("as before the capture");
    let told = [is("created", "7"), is("updated", "7"), is("deleted", "7"), is("created", "8")];
    assert_eq!(what(&client).await, told);
}
