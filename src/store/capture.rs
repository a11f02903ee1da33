//! Capturing changes of a business table: generated triggers that write an event for each row that a statement
//! inserts, updates or deletes, in the same transaction.

use serde_json::json;
use tokio_postgres::Transaction;

use super::error::StoreError;
use super::migrate;
use super::relation::{Column, Owners, Relation, RelationName, owners};
use super::schema_name::SchemaName;
use super::session::Store;
use super::statement::{StatementText, statement};
use super::template::{dollar_quote, fill, identifier, literal};
use crate::domain::channel::module_of;

const LIST: StatementText = statement!("list_captured", []);

/// The statements of this file.
pub static STATEMENTS: [StatementText; 1] = [LIST];

/// `create trigger` waits for writers, and writers that come later wait behind it.
const SETTINGS: &str = "set local lock_timeout = '5s'";

/// Arguments of one call of `jsonb_build_object` (a function takes 100).
const PAIRS_MAX: usize = 50;

/// Event types by what a statement does; none: not captured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventTypes {
    /// Of inserted rows.
    pub created: Option<String>,
    /// Of updated rows.
    pub updated: Option<String>,
    /// Of deleted rows.
    pub deleted: Option<String>,
}

/// What events say of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// All columns.
    All,
    /// Of an update the key and what has changed, of all else all columns.
    Changed,
    /// These columns.
    Columns(Vec<String>),
}

/// What is to be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The table.
    pub table: RelationName,
    /// What the events are called.
    pub types: EventTypes,
    /// The column that says whose a row is.
    pub tenant_column: String,
    /// Kind of the thing; the table's name unless said otherwise.
    pub aggregate_type: Option<String>,
    /// What events say.
    pub payload: Payload,
    /// Columns that no payload ever says. What belongs to the key is in `aggregateId` all the same.
    pub except: Vec<String>,
}

impl Capture {
    fn tells(&self, column: &str) -> bool {
        !self.except.iter().any(|left_out| left_out == column)
    }
}

/// A captured table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The table, quoted.
    pub relation: String,
    /// What is captured, as JSON.
    pub definition: String,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl Store {
    /// The SQL that captures a table, for one transaction. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when the table has no primary key or lacks a column, or events could never be published.
    pub async fn plan_capture(&self, capture: &Capture) -> Result<String, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let transaction = client.transaction().await?;
        plan(&transaction, self.schema(), capture).await
    }

    /// Captures a table, in one transaction; again with another definition, or for new partitions.
    ///
    /// # Errors
    /// As [`Store::plan_capture`]; any other with nothing changed.
    pub async fn capture(&self, capture: &Capture) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SETTINGS).await?;
        let sql = plan(&transaction, self.schema(), capture).await?;
        transaction.batch_execute(&sql).await?;
        Ok(transaction.commit().await?)
    }

    /// Ends a capture; false when the table is not captured.
    ///
    /// # Errors
    /// Any, with nothing changed.
    pub async fn release_capture(&self, table: &RelationName) -> Result<bool, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SETTINGS).await?;
        let relation = Relation::look_up(&transaction, table).await.ok();
        let outbox = identifier(self.schema().as_str());
        let mut sql = drop_triggers(relation.as_ref(), table.key());
        sql += &format!("drop function if exists {outbox}.{};", identifier(&name(table.key(), "")));
        transaction.batch_execute(&sql).await?;
        let gone = format!("delete from {outbox}.captured where key = {}", table.key());
        let gone = transaction.execute(&gone, &[]).await?;
        transaction.commit().await?;
        Ok(gone > 0)
    }

    /// The captured tables, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn captured(&self) -> Result<Vec<Captured>, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let rows = client.query_typed(&self.schema().fill(LIST.template), &[]).await?;
        let one = |row: &tokio_postgres::Row| {
            let (relation, definition) = (row.try_get("relation")?, row.try_get("definition")?);
            Ok(Captured { relation, definition, problem: row.try_get("problem")? })
        };
        rows.iter().map(one).collect()
    }
}

/// Name of a trigger, or of the function with an empty suffix.
fn name(key: i32, suffix: &str) -> String {
    if suffix.is_empty() { format!("captured_{key}") } else { format!("captured_{key}_{suffix}") }
}

fn drop_triggers(relation: Option<&Relation>, key: i32) -> String {
    let all = relation.into_iter().flat_map(Relation::with_partitions);
    let drops = all.flat_map(|on| {
        ["insert", "update", "delete"].map(|what| {
            format!("drop trigger if exists {} on {on};\n", identifier(&name(key, what)))
        })
    });
    drops.collect()
}

async fn plan(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    capture: &Capture,
) -> Result<String, StoreError> {
    if capture.table.schema() == schema.as_str() {
        return unfit("the outbox itself cannot be captured", "name a table of the application");
    }
    refuse_names(capture)?;
    let relation = Relation::look_up(transaction, &capture.table).await?;
    relation.refuse_other_names()?;
    let owners = owners(transaction, schema, &relation).await?;
    let mut keys: Vec<&Column> =
        relation.columns.iter().filter(|c| c.key_place.is_some()).collect();
    keys.sort_by_key(|column| column.key_place);
    if keys.is_empty() {
        return unfit(
            format!("{} has no primary key", relation.name),
            "give it one: events say what they are about by it",
        );
    }
    let named = match &capture.payload {
        Payload::Columns(columns) => columns.as_slice(),
        Payload::All | Payload::Changed => &[],
    };
    for wanted in named.iter().chain(&capture.except).chain([&capture.tenant_column]) {
        if !relation.columns.iter().any(|column| column.name == *wanted) {
            let all: Vec<&str> = relation.columns.iter().map(|c| c.name.as_str()).collect();
            return unfit(
                format!("{} has no column {wanted:?}", relation.name),
                format!("its columns are: {}", all.join(", ")),
            );
        }
    }
    Ok(script(schema, capture, &relation, &keys, &owners))
}

/// Refuses names with which every event would fail when it is to be published.
fn refuse_names(capture: &Capture) -> Result<(), StoreError> {
    let EventTypes { created, updated, deleted } = &capture.types;
    for event_type in [created, updated, deleted].into_iter().flatten() {
        if module_of(event_type).is_none() {
            return unfit(
                format!("event type {event_type:?} needs at least two segments"),
                "name it module.thing.happened, such as orders.order.created",
            );
        }
    }
    if capture.aggregate_type.as_deref().is_some_and(|kind| kind.trim().is_empty()) {
        return unfit("the aggregate type is blank", "leave it out to have the table's name");
    }
    Ok(())
}

fn script(
    schema: &SchemaName,
    capture: &Capture,
    relation: &Relation,
    keys: &[&Column],
    owners: &Owners,
) -> String {
    let key = relation.name.key();
    let outbox = identifier(schema.as_str());
    let function = format!("{outbox}.{}", identifier(&name(key, "")));
    let id = |c: &&Column| format!("r.{}::text", identifier(&c.name));
    let join = |parts: Vec<String>, by: &str| parts.join(by);
    let aggregate = capture.aggregate_type.as_deref().unwrap_or(relation.name.table());
    let (told, told_before) = (told(capture, relation, "r"), told(capture, relation, "o"));
    let named = keys.iter().map(|column| column.name.as_str());
    let key_told: Vec<&str> = named.filter(|name| capture.tells(name)).collect();
    let changed = format!(
        "{} || (select coalesce(jsonb_object_agg(n.key, n.value), '{{}}') from jsonb_each({told}) n \
         where {told_before} -> n.key is distinct from n.value)",
        object("r", &key_told)
    );
    let own = [
        ("relation_comment", relation.name.to_string().replace(char::is_control, " ")),
        ("relation_text", literal(&relation.name.to_string())),
        ("outbox", outbox),
        ("owner", identifier(&relation.owner)),
        ("function", function.clone()),
        ("key", key.to_string()),
        ("definition", literal(&definition(capture))),
        ("tenant", format!("coalesce(r.{}::text, '')", identifier(&capture.tenant_column))),
        ("aggregate_type", literal(aggregate)),
        ("aggregate_id", join(keys.iter().map(id).collect(), " || ':' || ")),
        ("same_key", join(keys.iter().map(same).collect(), " and ")),
        ("told", told.clone()),
        ("told_before", told_before),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let branch = |template: &str, event_type: &Option<String>, payload: &str, these: [&str; 2]| {
        let Some(event_type) = event_type.as_deref().map(literal) else { return String::new() };
        let more = [
            ("event_type", event_type.as_str()),
            ("payload", payload),
            ("these", these[0]),
            ("others", these[1]),
        ];
        fill(template, &[&own[..], &more].concat())
    };
    let types = &capture.types;
    let of_update = if capture.payload == Payload::Changed { &changed } else { &told };
    let (new, old) = (["new_rows", "old_rows"], ["old_rows", "new_rows"]);
    let mut branches = branch(include_str!("capture/insert.sql"), &types.created, &told, new);
    branches += &branch(include_str!("capture/update.sql"), &types.updated, of_update, new);
    branches += &branch(include_str!("capture/moved.sql"), &types.deleted, &told, old);
    branches += &branch(include_str!("capture/moved.sql"), &types.created, &told, new);
    branches += &branch(include_str!("capture/delete.sql"), &types.deleted, &told, old);
    let tag = dollar_quote(&[("branches", &branches)]);
    let values = [&own[..], &[("branches", branches.as_str()), ("tag", &tag)]].concat();
    let mut sql = fill(include_str!("capture/function.sql"), &values);
    if relation.owner != owners.outbox || relation.owner != owners.me {
        sql += &fill(include_str!("capture/foreign_owner.sql"), &values);
    }
    sql += &drop_triggers(Some(relation), key);
    // A change of the key is an update that creates and deletes.
    let any_update = types != &EventTypes::default();
    for (wanted, what, tables) in [
        (types.created.is_some(), "insert", "new table as new_rows"),
        (any_update, "update", "old table as old_rows new table as new_rows"),
        (types.deleted.is_some(), "delete", "old table as old_rows"),
    ] {
        for on in relation.with_partitions().filter(|_| wanted) {
            sql += &format!(
                "create trigger {} after {what} on {on} referencing {tables} for each statement execute function {function}();\n",
                identifier(&name(key, what))
            );
        }
    }
    sql + &fill(include_str!("capture/register.sql"), &values)
}

/// Whether rows `r` and `o` agree in a column of the key: by its text, as events name it, for types of extensions have
/// no `=` where the function looks for operators.
fn same(column: &&Column) -> String {
    let name = identifier(&column.name);
    format!("(r.{name}::text collate \"C\") = (o.{name}::text collate \"C\")")
}

/// What an event says of row `r` or `o`.
fn told(capture: &Capture, relation: &Relation, row: &str) -> String {
    let all = relation.columns.iter().map(|column| column.name.as_str());
    let columns: Vec<&str> = match &capture.payload {
        Payload::Columns(columns) => columns.iter().map(String::as_str).collect(),
        Payload::All | Payload::Changed => all.collect(),
    };
    let kept = columns.into_iter().filter(|name| capture.tells(name));
    object(row, &kept.collect::<Vec<_>>())
}

/// An object of these columns. Named one by one: a column that is added later is told only when somebody says so.
fn object(row: &str, columns: &[&str]) -> String {
    let pair = |name: &&str| format!("{}, {row}.{}", literal(name), identifier(name));
    let chunks = columns.chunks(PAIRS_MAX).map(|chunk| {
        format!("jsonb_build_object({})", chunk.iter().map(pair).collect::<Vec<_>>().join(", "))
    });
    let all = chunks.collect::<Vec<_>>().join(" || ");
    if all.is_empty() { "'{}'::jsonb".to_owned() } else { format!("({all})") }
}

fn definition(capture: &Capture) -> String {
    let payload = match &capture.payload {
        Payload::All => json!("all"),
        Payload::Changed => json!("changed"),
        Payload::Columns(columns) => json!(columns),
    };
    let types = &capture.types;
    json!({
        "created": types.created, "updated": types.updated, "deleted": types.deleted, "payload": payload,
        "tenantColumn": capture.tenant_column, "except": capture.except, "aggregateType": capture.aggregate_type,
    })
    .to_string()
}

fn unfit<T>(cause: impl Into<String>, remedy: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Unfit { cause: cause.into(), remedy: remedy.into() })
}
