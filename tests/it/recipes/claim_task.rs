//! The code of docs/recipes/rust.md.

use tokio_postgres::{Client, Error};

/// Assigns a task and says so, both or neither; returns the event's id.
pub(super) async fn claim_task(
    client: &mut Client,
    tenant_id: &str,
    task_id: &str,
    employee_id: &str,
) -> Result<String, Error> {
    let transaction = client.transaction().await?;
    let update =
        "update tasks set employee_id = $2 where id = $1 and employee_id is null returning id";
    transaction.query_one(update, &[&task_id, &employee_id]).await?;
    let claimed_at = jiff::Timestamp::now().to_string();
    let payload = serde_json::json!({ "taskId": task_id, "employeeId": employee_id, "claimedAt": claimed_at });
    // `::text::jsonb`: so the driver need not know about JSON.
    let enqueue =
        "select outbox.enqueue($1, 'kitchen.task.claimed', $2::text::jsonb, 'KitchenTask', $3)";
    let row = transaction.query_one(enqueue, &[&tenant_id, &payload.to_string(), &task_id]).await?;
    transaction.commit().await?;
    Ok(row.get(0))
}
