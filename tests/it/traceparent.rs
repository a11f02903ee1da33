//! In which trace an event was written: from the application's transaction into the row, and never in the writer's way.

use outbox_relay::domain::new_event::NewEvent;
use outbox_relay::store::producer::{enqueue, enqueue_many};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::outbox::{Outbox, insert};

const SAID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

const PLAIN: &str = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload) \
                     values ('t', 'K', '1', 'a.b', '{}')";

/// What is none, each for another reason.
const WRONG: [&str; 8] = [
    "",
    "00",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
];

fn event(trace: Option<&str>) -> NewEvent {
    let event = NewEvent::new("t", "kitchen.task.claimed").about("KitchenTask", "task-1");
    NewEvent { traceparent: trace.map(str::to_owned), ..event.payload(json!({})) }
}

/// The column of all rows, in their order; the rows are gone then.
async fn take(client: &Client) -> Vec<Option<String>> {
    let rows =
        client.query("select traceparent from outbox.event order by seq", &[]).await.unwrap();
    client.batch_execute("delete from outbox.event").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn say(client: &impl tokio_postgres::GenericClient, trace: &str) {
    client.execute("select set_config('outbox.traceparent', $1, true)", &[&trace]).await.unwrap();
}

#[tokio::test]
async fn a_transaction_says_its_trace_once_for_every_way_of_writing_and_an_argument_wins() {
    let outbox = Outbox::create("traceparent").await;
    let mut client = outbox.connect().await;
    let transaction = client.transaction().await.unwrap();
    say(&transaction, SAID).await;
    transaction.batch_execute(PLAIN).await.unwrap();
    enqueue(&transaction, event(None)).await.unwrap();
    enqueue(&transaction, event(Some(GIVEN))).await.unwrap();
    enqueue_many(&transaction, &[event(Some(GIVEN)), event(None)]).await.unwrap();
    transaction.commit().await.unwrap();
    // The same session, and nothing said: what was said before was for one transaction.
    enqueue(&*client, event(None)).await.unwrap();
    insert(&client, "t", "{}").await;
    let (said, given) = (Some(SAID.to_owned()), Some(GIVEN.to_owned()));
    let expected = [said.clone(), said.clone(), given.clone(), given, said, None, None];
    assert_eq!(take(&client).await, expected);
}

#[tokio::test]
async fn what_is_no_traceparent_is_dropped_and_never_fails_the_writer() {
    let outbox = Outbox::create("traceparent_bad").await;
    let mut client = outbox.connect().await;
    for wrong in WRONG {
        let transaction = client.transaction().await.unwrap();
        enqueue(&transaction, event(Some(wrong))).await.unwrap();
        say(&transaction, wrong).await;
        transaction.batch_execute(PLAIN).await.unwrap();
        enqueue(&transaction, event(None)).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(take(&client).await, [None, None, None], "{wrong:?}");
    }
}

#[tokio::test]
async fn an_outbox_from_before_the_column_is_brought_up_and_keeps_who_may_enqueue() {
    let outbox = Outbox::create("traceparent_up").await;
    let client = outbox.connect().await;
    let role = format!("producer_{}", std::process::id());
    // As the version before this one left it, and with privileges of its own.
    client
        .batch_execute(&format!(
            "delete from outbox.schema_history where name in ('0009_traceparent', 'enqueue');
             alter table outbox.event drop column traceparent;
             alter table outbox.event_archive drop column traceparent;
             drop function outbox.enqueue;
             create function outbox.enqueue(tenant_id text, event_type text, payload jsonb, aggregate_type text,
               aggregate_id text, id text default null, occurred_at timestamptz default null, headers jsonb default null)
               returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
               as $$ begin return 'the former body'; end $$;
             create role \"{role}\";
             revoke all on function outbox.enqueue from public;
             grant usage on schema outbox to \"{role}\";
             grant execute on function outbox.enqueue to \"{role}\";
             insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
               values ('t', 'K', '1', 'a.b', '{{}}')"
        ))
        .await
        .unwrap();
    let applied = outbox.store().migrate_up().await.unwrap();
    assert_eq!(applied, ["0009_traceparent", "enqueue"]);
    let may = |who: &str| {
        format!(
            "select has_function_privilege('{who}', 'outbox.enqueue(text,text,jsonb,text,text,text,timestamptz,jsonb,text)', 'execute')"
        )
    };
    let ask = async |sql: String| client.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0);
    assert!(ask(may(&role)).await);
    assert!(!ask(may("public")).await);
    client.batch_execute(&format!("set role \"{role}\"")).await.unwrap();
    // Arguments in their order, as an application from before may have them.
    let call = "select outbox.enqueue('t', 'a.b', '{}', 'K', '1', null, null, '{\"a\": 1}')";
    client.batch_execute(call).await.unwrap();
    client.batch_execute("reset role").await.unwrap();
    assert_eq!(take(&client).await, [None, None]);
    let clean = format!("drop owned by \"{role}\"; drop role \"{role}\"");
    client.batch_execute(&clean).await.unwrap();
}
