//! Least privilege: what a relay, a producer and a viewer each need, and nothing more.
//!
//! `sql/inspect.sql` asks at start for what is listed here for a relay; a test holds the two together.

use std::fmt::Write as _;

use super::error::StoreError;
use super::migrate;
use super::session::Store;
use super::statement::{StatementText, statement};
use super::template::identifier;

const OBJECTS: StatementText = statement!("list_objects", []);
const ROLES: StatementText = statement!("missing_roles", [TEXT_ARRAY]);

/// The statements of this file.
pub static STATEMENTS: [StatementText; 2] = [OBJECTS, ROLES];

/// Privileges on an object of the outbox's schema.
type Grants = &'static [(&'static str, &'static str)];

/// Reads and settles.
const RELAY: Grants = &[
    ("event", "select, update (status, attempts, error, published_at)"),
    ("in_flight", "select, insert, update, delete"),
    ("hold", "select, insert, update, delete"),
    ("server_start", "select, insert"),
    ("schema_history", "select"),
    ("redelivery", "select"),
    ("tenant_policy", "select"),
    ("crash", "select, insert, update, delete"),
    ("pause", "select"),
    ("awake_until", "select, update"),
    // Where claims may begin rests on what the sequence has given out.
    ("event_seq_seq", "select"),
];

/// Inserts by hand, where `enqueue` is not wanted: the columns that make an event, none that settles one.
const INSERT: Grants = &[
    (
        "event",
        "insert (id, tenant_id, aggregate_type, aggregate_id, event_type, payload, headers, occurred_at, \
         traceparent)",
    ),
    ("awake_until", "select"),
];

/// Reads everything but payloads and headers.
const VIEWER: Grants = &[
    (
        "event",
        "select (seq, id, tenant_id, aggregate_type, aggregate_id, event_type, occurred_at, created_at, status, attempts, \
         error, published_at)",
    ),
    ("in_flight", "select"),
    ("hold", "select"),
    ("server_start", "select"),
    ("schema_history", "select"),
    ("redelivery", "select"),
    ("tenant_policy", "select"),
    ("crash", "select"),
    ("pause", "select"),
    ("audit", "select"),
    ("adopted", "select"),
    ("adopted_owed", "select"),
    ("captured", "select"),
    ("partitioning", "select"),
    ("awake_until", "select"),
];

/// The roles that get something, by their bare names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Publishes.
    pub relay: Option<String>,
    /// Calls `enqueue`.
    pub producer: Option<String>,
    /// Looks.
    pub viewer: Option<String>,
    /// The producer may also insert rows itself.
    pub allow_insert: bool,
}

/// What is there in the outbox's schema.
#[derive(Debug, Default)]
struct Objects {
    /// Name and what GRANT calls it: `table` or `sequence`.
    relations: Vec<(String, String)>,
    /// Functions with their argument types, quoted and qualified, and their bare names.
    functions: Vec<(String, String)>,
}

impl Store {
    /// The statements that give these roles what they need, for one transaction. What is not there is left out.
    ///
    /// # Errors
    /// When the database does not answer, or has no outbox of this version.
    pub async fn grants(&self, roles: &Roles) -> Result<String, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let rows = client.query_typed(&self.schema().fill(OBJECTS.template), &[]).await?;
        let mut objects = Objects::default();
        for row in &rows {
            let (name, kind): (String, String) = (row.try_get("name")?, row.try_get("kind")?);
            if kind == "function" {
                objects.functions.push((name, row.try_get("signature")?));
            } else {
                objects.relations.push((name, kind));
            }
        }
        Ok(statements(&identifier(self.schema().as_str()), roles, &objects))
    }

    /// Executes what [`Store::grants`] gave, in one transaction.
    ///
    /// # Errors
    /// Any, with nothing granted; [`StoreError::Unfit`] when a role is not there.
    pub async fn grant(&self, roles: &Roles, sql: &str) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let names: Vec<&str> = [&roles.relay, &roles.producer, &roles.viewer]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let parameter: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] =
            [(&names, ROLES.parameters[0].clone())];
        let missing = client.query_typed(ROLES.template, &parameter).await?;
        if let Some(row) = missing.first() {
            let name = identifier(row.try_get(0)?);
            return Err(StoreError::Unfit {
                cause: format!("there is no role {name}"),
                remedy: format!("create it: create role {name} login password '…'"),
            });
        }
        let transaction = client.transaction().await?;
        transaction.batch_execute(sql).await.map_err(|e| StoreError::from(e).of_migration())?;
        Ok(transaction.commit().await?)
    }
}

fn statements(schema: &str, roles: &Roles, objects: &Objects) -> String {
    let mut sql = String::new();
    let mut add = |line: String| _ = writeln!(sql, "{line}");
    add("-- PostgreSQL lets everybody call a new function; nobody shall but whom you name.".into());
    for (_, signature) in &objects.functions {
        add(format!("revoke execute on function {signature} from public;"));
    }
    let on = |grants: Grants, role: &str| {
        let there = grants.iter().filter_map(|(name, privileges)| {
            let (_, kind) = objects.relations.iter().find(|(known, _)| known == name)?;
            Some(format!("grant {privileges} on {kind} {schema}.{} to {role};", identifier(name)))
        });
        there.collect::<Vec<_>>()
    };
    let execute = |function: &str, role: &str| {
        let found = objects.functions.iter().filter(|(name, _)| name == function);
        found
            .map(|(_, signature)| format!("grant execute on function {signature} to {role};"))
            .collect::<Vec<_>>()
    };
    let mut section = |what: &str, role: &Option<String>, grants: &dyn Fn(&str) -> Vec<String>| {
        if let Some(role) = role.as_deref().map(identifier) {
            add(format!("\n-- {what}"));
            add(format!("grant usage on schema {schema} to {role};"));
            grants(&role).into_iter().for_each(&mut add);
        }
    };
    section("A relay reads and settles events.", &roles.relay, &|role| {
        let mut all = on(RELAY, role);
        // Ahead of writers, in an outbox that is partitioned.
        all.extend(execute("make_partitions", role));
        all.extend(execute("claim_lone", role));
        all
    });
    section("A producer writes events, and cannot even read them.", &roles.producer, &|role| {
        let mut all = execute("enqueue", role);
        if roles.allow_insert {
            all.extend(on(INSERT, role));
            // The default of event.id.
            all.extend(execute("uuid_v7", role));
        }
        all
    });
    section("A viewer sees everything but payloads and headers.", &roles.viewer, &|role| {
        on(VIEWER, role)
    });
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_left_out_and_names_are_quoted() {
        let objects = Objects {
            relations: vec![("event".into(), "table".into())],
            functions: vec![("enqueue".into(), "\"o\".enqueue(text)".into())],
        };
        let roles =
            Roles { producer: Some("a\"; drop".into()), allow_insert: true, ..Roles::default() };
        let sql = statements("\"o\"", &roles, &objects);
        let lines: Vec<&str> = sql.lines().filter(|line| line.starts_with("grant")).collect();
        assert_eq!(lines.len(), 3, "{sql}");
        assert_eq!(lines[0], "grant usage on schema \"o\" to \"a\"\"; drop\";");
        assert_eq!(lines[1], "grant execute on function \"o\".enqueue(text) to \"a\"\"; drop\";");
        assert!(lines[2].starts_with("grant insert (id, tenant_id,"), "{sql}");
    }
}
