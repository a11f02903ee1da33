//! What becomes of an event is written into its row, and nothing there stops a relay.

use serde_json::Value;

use super::{
    CAMEL, CAMEL_TABLE, MAPPED, MAPPED_TABLE, adopt, insert_camel, insert_mapped, run, with_table,
};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{count, wait_until};
use crate::support::relay::RelayProcess;

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_published_with_their_ids_and_learn_the_outcome() {
    let (outbox, mut client) = with_table("outcome", MAPPED).await;
    let ably = LocalAbly::start().await;
    ably.fault(r#"{"kind":"status","status":400,"code":40010,"channel":"tenant:bad"}"#).await;
    adopt(&outbox, MAPPED_TABLE, &[]).ok();
    let (good, returned) = insert_mapped(&*client, "good", 1).await;
    assert_eq!(returned, "pending", "the application sees what it wrote");
    let (bad, _) = insert_mapped(&*client, "bad", 2).await;
    let (blank, _) = insert_mapped(&*client, " ", 3).await;
    let transaction = client.transaction().await.unwrap();
    insert_mapped(&transaction, "good", 4).await;
    transaction.rollback().await.unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    wait_until(&client, "select count(*) = 3 from outbox.event where status <> 'pending'").await;
    let got = ably.wait_for(1).await;
    assert_eq!((got.len(), &got[0].envelope["id"]), (1, &Value::String(good.clone())));
    assert_eq!(got[0].envelope["aggregateType"], "KitchenTask");
    let sql = r#"select o.status::text, o.error, o.published_at = date_trunc('ms', e.published_at at time zone 'UTC') or
                        abs(extract(epoch from o.published_at - e.published_at at time zone 'UTC')) < 0.001,
                        abs(extract(epoch from e.occurred_at - now())) < 60
                   from "tenant"."OutboxEvent" o join outbox.event e on e.id = o.id::text where o.id::text = $1"#;
    let row = client.query_one(sql, &[&good]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "published");
    assert_eq!(row.get::<_, Option<&str>>(1), None);
    assert!(row.get::<_, bool>(2) && row.get::<_, bool>(3));
    for (id, code) in [(bad, "ABLY_ERROR"), (blank, "VALIDATION_ERROR")] {
        let row = client.query_one(sql, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "failed");
        let error: Value = serde_json::from_str(row.get(1)).unwrap();
        assert_eq!(error["code"], code);
    }
    let owed: i64 =
        client.query_one("select count(*) from outbox.adopted_owed", &[]).await.unwrap().get(0);
    assert_eq!(owed, 0);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_shape_is_taken_over_in_its_order() {
    let (outbox, client) = with_table("older", CAMEL).await;
    let ably = LocalAbly::start().await;
    for n in 0..40 {
        // Written in another order than they were inserted.
        insert_camel(&client, &format!("cl{n:04}"), "a", 39 - n).await;
        let sql = r#"update "OutboxEvent" set "createdAt" = now() - make_interval(secs => $2) where id = $1"#;
        client
            .execute(sql, &[&format!("cl{n:04}"), &f64::from(i32::try_from(n).unwrap())])
            .await
            .unwrap();
    }
    insert_camel(&client, "done", "a", 99).await;
    client
        .batch_execute(r#"update "OutboxEvent" set status = 'PUBLISHED' where id = 'done'"#)
        .await
        .unwrap();
    adopt(&outbox, CAMEL_TABLE, &["--waiting-as", "PENDING", "--take-over"]).ok();
    adopt(&outbox, CAMEL_TABLE, &["--waiting-as", "PENDING", "--take-over"]).ok();
    assert_eq!(count(&client, "pending").await, 40, "once");
    insert_camel(&client, "clnew", "a", 40).await;
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    let got = ably.wait_for(41).await;
    assert_eq!(
        got.iter().map(crate::support::local_ably::Got::n).collect::<Vec<_>>(),
        (0..41).collect::<Vec<_>>()
    );
    wait_until(&client, r#"select count(*) = 42 from "OutboxEvent" where status = 'PUBLISHED'"#)
        .await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_gone_locked_or_refused_do_not_stop_the_relay() {
    let (outbox, client) = with_table("hostile", MAPPED).await;
    let ably = LocalAbly::start().await;
    adopt(&outbox, MAPPED_TABLE, &[]).ok();
    let (gone, _) = insert_mapped(&*client, "a", 0).await;
    let (locked, _) = insert_mapped(&*client, "a", 1).await;
    let (refused, _) = insert_mapped(&*client, "a", 2).await;
    let (fine, _) = insert_mapped(&*client, "a", 3).await;
    client
        .execute(r#"delete from tenant."OutboxEvent" where id::text = $1"#, &[&gone])
        .await
        .unwrap();
    client
        .batch_execute(&format!(
            "create function refuse() returns trigger language plpgsql as $$ begin
               if new.id = '{refused}' then raise exception 'not this one'; end if; return new; end $$;
             create trigger refuse before update on tenant.\"OutboxEvent\" for each row execute function refuse()"
        ))
        .await
        .unwrap();
    let holder = outbox.connect().await;
    holder.batch_execute("begin").await.unwrap();
    holder
        .execute(r#"select from tenant."OutboxEvent" where id::text = $1 for update"#, &[&locked])
        .await
        .unwrap();
    let relay = RelayProcess::start(&outbox.database.dsn(), &ably);
    ably.wait_for(4).await;
    wait_until(&client, "select count(*) = 4 from outbox.event where status = 'published'").await;
    let published = async |id: &str| {
        let sql =
            r#"select published_at is not null from tenant."OutboxEvent" where id::text = $1"#;
        client.query_one(sql, &[&id]).await.unwrap().get::<_, bool>(0)
    };
    assert!(published(&fine).await && !published(&locked).await && !published(&refused).await);
    holder.batch_execute("commit").await.unwrap();
    // The next settlement brings what was locked.
    insert_mapped(&*client, "a", 4).await;
    wait_until(&client, "select count(*) = 5 from outbox.event where status = 'published'").await;
    assert!(published(&locked).await);
    let url = outbox.database.dsn();
    let listed: Value =
        serde_json::from_str(&run(&url, &["adopt", "--list", "--json"]).ok()).unwrap();
    assert_eq!(
        (&listed["owed"], &listed["error"]),
        (&Value::from(1), &Value::from("not this one"))
    );
    client.batch_execute("drop trigger refuse on tenant.\"OutboxEvent\"").await.unwrap();
    run(&url, &["adopt", "--write-back"]).ok();
    assert!(published(&refused).await);
    assert!(relay.complaints().is_empty(), "{:?}", relay.complaints());
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_inserts_conflicts_partitions_and_changes_of_the_status_are_understood() {
    let (outbox, client) = with_table("bulk", "").await;
    client
        .batch_execute(
            "create table app_events (id bigint, tenant_id text, event_type text, payload jsonb, status text default 'pending',
               aggregate_type text, aggregate_id text, created_at timestamptz default now(), primary key (id, tenant_id))
               partition by list (tenant_id);
             create table app_events_a partition of app_events for values in ('a');
             create table app_events_rest partition of app_events default",
        )
        .await
        .unwrap();
    adopt(&outbox, "app_events", &[]).ok();
    let insert = "insert into {} (id, tenant_id, event_type, payload, aggregate_type, aggregate_id)
        select n, case n % 2 when 0 then 'a' else 'b' end, 'a.b', '{}', 'T', '1' from generate_series(1, 1000) n";
    client.batch_execute(&insert.replacen("{}", "app_events", 1)).await.unwrap();
    assert_eq!(count(&client, "pending").await, 1000);
    client
        .batch_execute(&(insert.replacen("{}", "app_events", 1) + " on conflict do nothing"))
        .await
        .unwrap();
    client
        .batch_execute("insert into app_events_a values (2000, 'a', 'a.b', '{}', 'pending', 'T', '1');
                        insert into app_events_a values (2001, 'a', 'a.b', '{}', 'imported', 'T', '1')")
        .await
        .unwrap();
    assert_eq!(count(&client, "pending").await, 1001, "each once, also straight into a partition");
    // Set to pending later: new, waiting, and settled.
    client.batch_execute("update app_events set status = 'pending' where id = 2001").await.unwrap();
    client.batch_execute("update app_events set status = 'pending' where id = 2000").await.unwrap();
    assert_eq!(count(&client, "pending").await, 1002);
    client
        .batch_execute("update outbox.event set status = 'failed', error = '{}' where id = '2000'")
        .await
        .unwrap();
    let again =
        client.batch_execute("update app_events set status = 'pending' where id = 2000").await;
    let error = again.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("event 2000 is failed"), "{error:?}");
    run(&outbox.database.dsn(), &["events", "requeue", "2000"]).ok();
    let waiting: i64 = client
        .query_one("select count(*) from app_events where status = 'pending'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(waiting, 0, "nobody else ever sees one");
}
