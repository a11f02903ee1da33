//! diesel-async in docs/recipes/rust.md.

use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use outbox_relay::domain::new_event::NewEvent;
use outbox_relay::store::producer::EnqueueError;
use outbox_relay::store::producer_diesel::enqueue;

/// Assigns a task and says so, both or neither; returns the event's id.
pub(super) async fn claim_task(
    connection: &mut AsyncPgConnection,
    tenant_id: &str,
    task_id: &str,
    employee_id: &str,
) -> Result<String, EnqueueError> {
    connection
        .transaction(async |connection| {
            let update = "update tasks set employee_id = $2 where id = $1 and employee_id is null";
            let update = sql_query(update).bind::<Text, _>(task_id).bind::<Text, _>(employee_id);
            if update.execute(connection).await? == 0 {
                return Err(diesel::result::Error::NotFound.into());
            }
            let claimed_at = jiff::Timestamp::now().to_string();
            let event = NewEvent::new(tenant_id, "kitchen.task.claimed")
                .about("KitchenTask", task_id)
                .payload(serde_json::json!({ "taskId": task_id, "employeeId": employee_id, "claimedAt": claimed_at }));
            enqueue(connection, event).await
        })
        .await
}
