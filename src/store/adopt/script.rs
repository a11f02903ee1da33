//! The SQL of an adoption. Pure: the same table and wishes give the same text, in every database.

use super::mapping::{Mapping, Role};
use crate::store::relation::{Column, Relation, RelationName};
use crate::store::schema_name::SchemaName;
use crate::store::template::{dollar_quote, fill, identifier, literal};

/// For how long new events of tenants that still have rows at the former publisher wait, in seconds: more than
/// a publisher that looks every few seconds needs for a batch of a hundred.
const SETTLE_SECONDS: &str = "30";

/// What is to be done with rows that are pending already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The publisher that has them keeps them.
    Leave,
    /// They become events now.
    TakeOver,
}

/// Everything that makes up the text.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) schema: &'a SchemaName,
    pub(super) relation: &'a Relation,
    pub(super) mapping: &'a Mapping,
    /// The outbox's owner, bare.
    pub(super) outbox_owner: &'a str,
    /// Who runs it, bare.
    pub(super) me: &'a str,
    pub(super) waiting: Waiting,
}

/// Names of what is generated for a table.
struct Names {
    copy: String,
    again: String,
    write_back: String,
}

impl Names {
    fn of(key: i32) -> Self {
        Self {
            copy: format!("adopted_{key}_copy"),
            again: format!("adopted_{key}_again"),
            write_back: format!("adopted_{key}_write_back"),
        }
    }
}

/// The statements that adopt a table, for one transaction.
pub(super) fn install(parts: &Parts<'_>) -> String {
    let Parts { relation, mapping, .. } = parts;
    let places = Places::of(parts);
    let mut text = String::new();
    let mut add = |template: &str, more: &[(&str, &str)]| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&places.fill(template, more));
    };
    let hide =
        |template: &str| if mapping.hides() { places.fill(template, &[]) } else { String::new() };
    add(include_str!("lock.sql"), &[]);
    add(include_str!("copy.sql"), &[("hide", &hide(include_str!("hide.sql")))]);
    add(include_str!("again.sql"), &[("hide", &hide(include_str!("hide_again.sql")))]);
    add(include_str!("write_back.sql"), &[]);
    if relation.owner != parts.outbox_owner || relation.owner != parts.me {
        add(include_str!("foreign_owner.sql"), &[]);
    }
    for on in relation.with_partitions() {
        add(include_str!("trigger.sql"), &[("on", &on.to_string())]);
    }
    add(include_str!("again_trigger.sql"), &[]);
    add(include_str!("register.sql"), &[]);
    match parts.waiting {
        Waiting::Leave => add(include_str!("leave.sql"), &[]),
        Waiting::TakeOver => {
            let taken = if mapping.hides() {
                "update {{relation}} t set {{status}} = {{waiting}} from taken\n where t.{{id}} = taken.id::{{id_type}} and t.{{status}} = {{pending}};"
            } else {
                "select pg_catalog.count(*) from taken;"
            };
            add(include_str!("take_over.sql"), &[("taken", &places.fill(taken, &[]))]);
        }
    }
    text
}

/// The statements that undo an adoption; `relation` is none when the table is gone.
pub(super) fn remove(
    schema: &SchemaName,
    name: &RelationName,
    relation: Option<&Relation>,
) -> String {
    let key = name.key();
    let (names, outbox) = (Names::of(key), identifier(schema.as_str()));
    let function = |name: &str| format!("{outbox}.{}", identifier(name));
    let (copy, again, write_back) =
        (function(&names.copy), function(&names.again), function(&names.write_back));
    let (copy_name, again_name) = (identifier(&names.copy), identifier(&names.again));
    let (relation_name, key) = (name.to_string(), key.to_string());
    let values = [
        ("outbox", outbox.as_str()),
        ("relation", &relation_name),
        ("copy", &copy),
        ("again", &again),
        ("write_back", &write_back),
        ("copy_name", &copy_name),
        ("again_name", &again_name),
        ("key", &key),
    ];
    let mut text = String::new();
    if let Some(relation) = relation {
        for on in relation.with_partitions() {
            let on = on.to_string();
            let values = [&values[..], &[("on", on.as_str())]].concat();
            text.push_str(&fill(include_str!("remove_triggers.sql"), &values));
        }
        text.push_str(&fill("drop trigger if exists {{again_name}} on {{relation}};\n", &values));
    }
    text.push_str(&fill(include_str!("remove.sql"), &values));
    text
}

/// What goes where in the templates.
struct Places {
    values: Vec<(&'static str, String)>,
}

impl Places {
    fn of(parts: &Parts<'_>) -> Self {
        let Parts { schema, relation, mapping, .. } = parts;
        let key = relation.name.key();
        let names = Names::of(key);
        let outbox = identifier(schema.as_str());
        let function = |name: &str| format!("{outbox}.{}", identifier(name));
        let quoted = |role| mapping.column(role).map(|c| identifier(&c.name)).unwrap_or_default();
        let status = mapping.column(Role::Status);
        let value = |word: &str| match status.filter(|column| column.base == "enum") {
            Some(column) => format!("{}::{}", literal(word), column.sql_type),
            None => format!("{}::text", literal(word)),
        };
        // Only in comments: a line break would end one.
        let word = mapping.pending.chars().filter(|c| !c.is_control()).collect();
        let mut values = vec![
            ("relation", relation.name.to_string()),
            ("relation_text", literal(&relation.name.to_string())),
            ("copy", function(&names.copy)),
            ("again", function(&names.again)),
            ("write_back", function(&names.write_back)),
            ("copy_name", identifier(&names.copy)),
            ("again_name", identifier(&names.again)),
            ("id", quoted(Role::Id)),
            ("id_type", mapping.column(Role::Id).map(|c| c.sql_type.clone()).unwrap_or_default()),
            ("status", quoted(Role::Status)),
            ("tenant_id", quoted(Role::TenantId)),
            ("pending", value(&mapping.pending)),
            ("pending_word", word),
            ("waiting", value(&mapping.waiting_as)),
            ("waiting_text", literal(&mapping.waiting_as)),
            ("values", copied(mapping, key)),
            ("assignments", assignments(mapping, &value)),
            ("order", order(mapping)),
            ("columns_json", literal(&as_json(mapping))),
            ("owner", identifier(&relation.owner)),
            ("outbox_owner", identifier(parts.outbox_owner)),
            ("key", key.to_string()),
            ("settle_seconds", SETTLE_SECONDS.to_owned()),
            ("outbox", outbox.clone()),
        ];
        let borrowed: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let tag = dollar_quote(&borrowed);
        values.push(("tag", tag));
        Self { values }
    }

    fn fill(&self, template: &str, more: &[(&str, &str)]) -> String {
        let own = self.values.iter().map(|(name, value)| (*name, value.as_str()));
        fill(template, &more.iter().copied().chain(own).collect::<Vec<_>>())
    }
}

/// The event of row `r`, in the order of the columns that the templates name.
fn copied(mapping: &Mapping, key: i32) -> String {
    let of = |role| mapping.column(role).map(|c| format!("r.{}", identifier(&c.name)));
    // A null would abort the application's transaction; blank, it is refused when it is published, and the row says so.
    let text = |role| {
        of(role).map_or_else(|| "''".to_owned(), |column| format!("coalesce({column}::text, '')"))
    };
    let payload = of(Role::Payload).unwrap_or_default();
    let headers =
        of(Role::Headers).map_or_else(|| "null::jsonb".to_owned(), |h| format!("{h}::jsonb"));
    let time =
        |role| mapping.column(role).map(|c| in_utc(c, &format!("r.{}", identifier(&c.name))));
    // The order of precedence of an envelope's occurredAt. The event's created_at is the database's own clock:
    // whether an event may have been sent before a crash is decided by it.
    let written = time(Role::CreatedAt).map(|at| {
        format!("case when pg_catalog.jsonb_typeof({payload}::jsonb -> 'occurredAt') = 'string' then null else {at} end")
    });
    let occurred = match (time(Role::OccurredAt), written) {
        (Some(at), Some(written)) => format!("coalesce({at}, {written})"),
        (Some(at), None) | (None, Some(at)) => at,
        (None, None) => "null::timestamptz".to_owned(),
    };
    [
        format!("{}::text", of(Role::Id).unwrap_or_default()),
        text(Role::TenantId),
        text(Role::AggregateType),
        text(Role::AggregateId),
        text(Role::EventType),
        format!("coalesce({payload}::jsonb, 'null'::jsonb)"),
        headers,
        occurred,
        key.to_string(),
    ]
    .join(",\n         ")
}

/// A time without zone is UTC: so Prisma and most others write it.
fn in_utc(column: &Column, sql: &str) -> String {
    if column.base == "timestamp without time zone" {
        return format!("{sql} at time zone 'UTC'");
    }
    sql.to_owned()
}

/// What is written back from outcome `s` to row `t`.
fn assignments(mapping: &Mapping, value: &impl Fn(&str) -> String) -> String {
    let mut all = Vec::new();
    if let Some(column) = mapping.column(Role::Status) {
        all.push(format!(
            "{} = case s.status when 'published' then {} when 'failed' then {} else {} end",
            identifier(&column.name),
            value(&mapping.published),
            value(&mapping.failed),
            value(&mapping.waiting_as),
        ));
    }
    if let Some(column) = mapping.column(Role::PublishedAt) {
        let name = identifier(&column.name);
        let at = in_utc(column, "s.at");
        all.push(format!(
            "{name} = case when s.status = 'published' then coalesce(t.{name}, {at}) else t.{name} end"
        ));
    }
    if let Some(column) = mapping.column(Role::Error) {
        let error = if column.required {
            let none = if column.base.starts_with("json") { "{}" } else { "" };
            format!("coalesce(s.error, '{none}')")
        } else {
            "s.error".to_owned()
        };
        // An explicit cast to varchar(n) cuts what is too long.
        all.push(format!("{} = {error}::{}", identifier(&column.name), column.sql_type));
    }
    all.join(",\n           ")
}

fn order(mapping: &Mapping) -> String {
    let columns = [Role::CreatedAt, Role::Id].into_iter().filter_map(|role| mapping.column(role));
    columns.map(|c| format!("r.{}", identifier(&c.name))).collect::<Vec<_>>().join(", ")
}

fn as_json(mapping: &Mapping) -> String {
    let columns: serde_json::Map<String, serde_json::Value> =
        mapping.columns().map(|(role, c)| (role.to_string(), c.name.clone().into())).collect();
    serde_json::Value::Object(columns).to_string()
}
