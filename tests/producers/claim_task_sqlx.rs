//! sqlx in docs/recipes/rust.md.

use outbox_relay::domain::new_event::NewEvent;
use outbox_relay::store::producer::EnqueueError;
use outbox_relay::store::producer_sqlx::enqueue;
use sqlx::PgPool;

/// Assigns a task and says so, both or neither; returns the event's id.
pub(super) async fn claim_task(
    pool: &PgPool,
    tenant_id: &str,
    task_id: &str,
    employee_id: &str,
) -> Result<String, EnqueueError> {
    let mut transaction = pool.begin().await?;
    let update =
        "update tasks set employee_id = $2 where id = $1 and employee_id is null returning id";
    sqlx::query(update).bind(task_id).bind(employee_id).fetch_one(&mut *transaction).await?;
    let claimed_at = jiff::Timestamp::now().to_string();
    let event = NewEvent::new(tenant_id, "kitchen.task.claimed")
        .about("KitchenTask", task_id)
        .payload(serde_json::json!({ "taskId": task_id, "employeeId": employee_id, "claimedAt": claimed_at }));
    let id = enqueue(&mut *transaction, event).await?;
    transaction.commit().await?;
    Ok(id)
}
