//! A table of the application: its name as people type it, and what the catalogue knows of it.

use std::fmt;

use sha2::{Digest, Sha256};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use super::error::StoreError;
use super::schema_name::SchemaName;
use super::statement::{StatementText, statement};
use super::template::identifier;

/// Longest identifier PostgreSQL keeps, in bytes (NAMEDATALEN - 1).
const IDENTIFIER_BYTES_MAX: usize = 63;

const DESCRIBE: StatementText = statement!("describe_relation", [TEXT, TEXT]);
const PARTITIONS: StatementText = statement!("list_partitions", [INT8]);
const OWNER: StatementText = statement!("outbox_owner", [TEXT]);

/// The statements of this file.
pub static STATEMENTS: [StatementText; 3] = [DESCRIBE, PARTITIONS, OWNER];

/// A name that is no `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no table's name; write schema.table, with \"…\" around what has capitals: 'tenant.\"OutboxEvent\"'"
)]
pub struct RelationNameError(String);

/// Schema and table, as PostgreSQL stores them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationName {
    schema: String,
    table: String,
}

impl RelationName {
    /// Reads `schema.table`; unquoted parts become lower case, as in SQL. Without a schema it is `public`.
    ///
    /// # Errors
    /// When it is nothing that PostgreSQL would take for a table's name.
    pub fn parse(text: &str) -> Result<Self, RelationNameError> {
        let error = || RelationNameError(text.to_owned());
        let (first, rest) = part(text.trim()).ok_or_else(error)?;
        let (schema, table) = match rest.strip_prefix('.') {
            None if rest.is_empty() => ("public".to_owned(), first),
            None => return Err(error()),
            Some(rest) => match part(rest).ok_or_else(error)? {
                (second, "") => (first, second),
                _ => return Err(error()),
            },
        };
        Ok(Self { schema, table })
    }

    fn of(schema: String, table: String) -> Self {
        Self { schema, table }
    }

    /// The schema's bare name.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table's bare name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// A number for it: part of the names of what is generated. Positive, from 31 bits of SHA-256, so that the
    /// same table has the same number in every database and printed SQL can be compared.
    pub fn key(&self) -> i32 {
        let hash = Sha256::digest(self.to_string());
        let four = [hash[0] & 0x7f, hash[1], hash[2], hash[3]];
        i32::from_be_bytes(four)
    }
}

/// Quoted, as SQL wants it.
impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", identifier(&self.schema), identifier(&self.table))
    }
}

/// The first identifier of a text, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let (name, rest) = if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (before, after) = rest.split_once('"')?;
            name.push_str(before);
            match after.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => break (name, after),
            }
        }
    } else {
        let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
        // As PostgreSQL does in UTF8: no other letters than ASCII's.
        (text[..end].to_ascii_lowercase(), &text[end..])
    };
    let fits = !name.is_empty() && name.len() <= IDENTIFIER_BYTES_MAX && !name.contains('\0');
    fits.then_some((name, rest))
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its bare name.
    pub name: String,
    /// Its type, qualified where needed, with its modifier: `character varying(20)`.
    pub sql_type: String,
    /// The type beneath domains and modifiers, or `enum`.
    pub base: String,
    /// The values of an enum.
    pub labels: Vec<String>,
    /// Whether it is `not null`.
    pub required: bool,
    /// Its default, as SQL.
    pub default: Option<String>,
    /// Whether an index over all rows begins with it.
    pub indexed: bool,
    /// Its place in the primary key, from 0.
    pub key_place: Option<i32>,
    /// Whether it is computed from others, and so cannot be written.
    pub generated: bool,
}

/// A table and its columns, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: RelationName,
    /// The bare name of its owner.
    pub owner: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its partitions, at any depth.
    pub partitions: Vec<RelationName>,
    /// The table that it is a partition or an heir of, quoted.
    parent: Option<String>,
    /// Whether other tables inherit from it, and are no partitions.
    inherited: bool,
    /// Whether its own owner sees only what its row security lets through.
    pub hides_rows: bool,
}

impl Relation {
    /// The table itself and its partitions: each statement trigger is wanted on all of them.
    pub fn with_partitions(&self) -> impl Iterator<Item = &RelationName> {
        std::iter::once(&self.name).chain(&self.partitions)
    }

    /// Refuses what statements may write to by another name: triggers for statements fire for the table that is named.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] names the other table, or says how to keep its rows otherwise.
    pub(super) fn refuse_other_names(&self) -> Result<(), StoreError> {
        let name = &self.name;
        let (cause, remedy) = match &self.parent {
            Some(parent) => (
                format!(
                    "{name} is a part of {parent}: what is written by that name would be missed"
                ),
                format!("name {parent}; its partitions are then seen to as well"),
            ),
            None if self.inherited => (
                format!(
                    "other tables inherit from {name}, and what is written to them would be missed"
                ),
                "make it a partitioned table, or keep the rows in one table".to_owned(),
            ),
            None => return Ok(()),
        };
        Err(StoreError::Unfit { cause, remedy })
    }

    /// Looks a table up.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when there is none, or it is no table.
    pub(super) async fn look_up(
        transaction: &Transaction<'_>,
        name: &RelationName,
    ) -> Result<Self, StoreError> {
        // With it empty, every name that the catalogue prints is qualified.
        transaction.batch_execute("set local search_path = pg_catalog").await?;
        let rows = ask(transaction, &DESCRIBE, &[&name.schema, &name.table]).await?;
        let Some(first) = rows.first() else {
            return Err(StoreError::Unfit {
                cause: format!("there is no table {name} with columns in this database"),
                remedy: "name it as schema.table, with \"…\" around what has capitals".into(),
            });
        };
        if !["r", "p"].contains(&first.try_get::<_, &str>("kind")?) {
            return Err(StoreError::Unfit {
                cause: format!("{name} is a view or a foreign table"),
                remedy: "name the table that the rows are in".into(),
            });
        }
        let oid: i64 = first.try_get("oid")?;
        let partitions = ask(transaction, &PARTITIONS, &[&oid]).await?;
        let partition = |row: &Row| Ok(RelationName::of(row.try_get(0)?, row.try_get(1)?));
        Ok(Self {
            name: name.clone(),
            owner: first.try_get("owner")?,
            columns: rows.iter().map(column).collect::<Result<_, _>>()?,
            partitions: partitions.iter().map(partition).collect::<Result<_, StoreError>>()?,
            parent: first.try_get("parent")?,
            inherited: first.try_get("inherited")?,
            hides_rows: first.try_get("hides_rows")?,
        })
    }
}

fn column(row: &Row) -> Result<Column, StoreError> {
    let place: i32 = row.try_get("key_place")?;
    Ok(Column {
        name: row.try_get("name")?,
        sql_type: row.try_get("type")?,
        base: row.try_get("base")?,
        labels: row.try_get("labels")?,
        required: row.try_get("required")?,
        default: row.try_get("default_value")?,
        indexed: row.try_get("indexed")?,
        key_place: (place >= 0).then_some(place),
        generated: row.try_get("generated")?,
    })
}

/// Who the generated functions act for: the owner of the application's table, who then needs to write events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owners {
    /// Who runs this, bare.
    pub(super) me: String,
    /// The outbox's owner, bare.
    pub(super) outbox: String,
}

/// Makes sure that this role may act for both owners.
pub(super) async fn owners(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    relation: &Relation,
) -> Result<Owners, StoreError> {
    let sql =
        StatementText { name: OWNER.name, template: OWNER.template, parameters: OWNER.parameters };
    let typed: [(&(dyn ToSql + Sync), _); 1] = [(&relation.owner, sql.parameters[0].clone())];
    let row = transaction.query_typed_one(&schema.fill(sql.template), &typed).await?;
    let (me, outbox): (String, String) = (row.try_get("me")?, row.try_get("owner")?);
    for (fits, owner, of) in [
        (row.try_get("may_act_for_owner")?, &outbox, "the outbox".to_owned()),
        (row.try_get("may_act_for_other")?, &relation.owner, relation.name.to_string()),
    ] {
        let fits: bool = fits;
        if !fits {
            return Err(StoreError::Unfit {
                cause: format!("role {me} may not act for {owner}, who owns {of}"),
                remedy: format!("run this as the owner of both, or grant {owner} to {me}"),
            });
        }
    }
    Ok(Owners { me, outbox })
}

async fn ask(
    transaction: &Transaction<'_>,
    statement: &StatementText,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let types = statement.parameters.iter().cloned();
    let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
    Ok(transaction.query_typed(statement.template, &typed).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (text, schema, table) in [
            ("orders", "public", "orders"),
            ("Public.Orders", "public", "orders"),
            ("tenant.\"OutboxEvent\"", "tenant", "OutboxEvent"),
            ("\"a.b\".\"c\"\"d\"", "a.b", "c\"d"),
            ("Ärger.ÄB", "Ärger", "Äb"),
        ] {
            let name = RelationName::parse(text).unwrap();
            assert_eq!((name.schema(), name.table()), (schema, table));
            assert_eq!(RelationName::parse(&name.to_string()).unwrap(), name);
        }
        for bad in ["", "a.b.c", "a b", "\"a", "a.\"\"", "a;drop", &"x".repeat(64)] {
            assert!(RelationName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_table_always_has_the_same_positive_key() {
        let key = |text| RelationName::parse(text).unwrap().key();
        assert_eq!(key("tenant.\"OutboxEvent\""), key("\"tenant\".\"OutboxEvent\""));
        assert!(key("a") > 0 && key("a") != key("b"));
    }
}
