//! Whether the schema is as it should be, whatever its history says.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::error::StoreError;
use super::super::schema_name::SchemaName;
use super::{StepState, status};

/// The triggers that must be there and enabled.
const TRIGGERS: [&str; 5] =
    ["event_bell", "event_guard", "event_again", "event_adopted_settled", "event_write_back"];

/// The tables and sequences that must be there, whatever the history says.
const RELATIONS: [&str; 16] = [
    "event",
    "in_flight",
    "hold",
    "server_start",
    "redelivery",
    "tenant_policy",
    "audit",
    "crash",
    "event_archive",
    "awake_until",
    "adopted",
    "adopted_owed",
    "captured",
    "pause",
    "partitioning",
    "event_id",
];

/// What is wrong with the outbox of this database, one line each; empty when all is as embedded.
///
/// # Errors
/// As [`status`].
pub async fn verify(client: &mut Client, schema: &SchemaName) -> Result<Vec<String>, StoreError> {
    let mut problems: Vec<String> = status(client, schema)
        .await?
        .into_iter()
        .filter_map(|step| match step.state {
            StepState::Applied => None,
            StepState::Missing => Some(format!("{} is not applied", step.name)),
            StepState::Changed => Some(format!("{} was applied with another text", step.name)),
        })
        .collect();
    // What is not applied is missing anyway.
    if problems.is_empty() {
        problems = missing_relations(client, schema).await?;
    }
    let sql = schema.fill(
        "select t.tgname::text, t.tgenabled::text from pg_catalog.pg_trigger t \
         where t.tgrelid = pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.event') \
           and not t.tgisinternal",
    );
    let found = client.query_typed(&sql, &[]).await?;
    for name in TRIGGERS {
        match found.iter().find(|row| row.get::<_, &str>(0) == name) {
            None => problems.push(format!("trigger {name} is missing")),
            Some(row) if row.get::<_, &str>(1) == "D" => {
                problems.push(format!("trigger {name} is disabled"));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

/// Tables of which the history says that they were made, and which are not there.
async fn missing_relations(
    client: &Client,
    schema: &SchemaName,
) -> Result<Vec<String>, StoreError> {
    let sql = schema.fill(
        "select name from pg_catalog.unnest($1) name \
         where pg_catalog.to_regclass(pg_catalog.quote_ident(:'schema') || '.' || name) is null",
    );
    let rows = client.query_typed(&sql, &[(&RELATIONS.as_slice(), Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| format!("{} is missing", row.get::<_, &str>(0))).collect())
}
