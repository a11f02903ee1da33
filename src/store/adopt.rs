//! Adopting an outbox table that an application has already: its rows become events in the transaction that
//! writes them, and what becomes of the events is written back in the transaction that settles them.
//!
//! The relay knows nothing of it: all of it is triggers, generated here. [`mapping`] finds the columns,
//! [`script`] writes the SQL.

pub mod mapping;
pub mod script;

use tokio_postgres::Transaction;

use self::mapping::{Mapping, Role, Wishes};
use self::script::{Parts, Waiting};
use super::error::StoreError;
use super::migrate;
use super::relation::{Column, Relation, RelationName, owners};
use super::schema_name::SchemaName;
use super::session::Store;
use super::statement::{StatementText, statement};
use super::template::{fill, identifier, literal};

const LIST: StatementText = statement!("list_adopted", []);
const WRITE_BACK: StatementText = statement!("write_back_owed", []);
const UNSETTLED: StatementText = statement!("count_unsettled", [INT4]);
const BY_NUMBER: StatementText = statement!("adopted_by_number", [INT4]);

/// The statements of this file.
pub static STATEMENTS: [StatementText; 4] = [LIST, WRITE_BACK, UNSETTLED, BY_NUMBER];

/// Pending rows are counted up to here.
pub const PENDING_COUNT_MAX: i64 = 1_000_000;

/// Settings of a transaction that changes an application's table.
const SETTINGS: &str = "set local statement_timeout = 0; set local lock_timeout = '5s'; \
                        set local idle_in_transaction_session_timeout = '60s'";

/// What is to be adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The table.
    pub table: RelationName,
    /// What the user said about it.
    pub wishes: Wishes,
    /// What becomes of the rows that are pending now.
    pub waiting: Waiting,
}

/// What adopting would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptionPlan {
    /// The columns found.
    pub mapping: Mapping,
    /// The SQL, for one transaction.
    pub sql: String,
    /// Pending rows, counted up to [`PENDING_COUNT_MAX`].
    pub pending: i64,
}

/// An adopted table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// The table, quoted.
    pub relation: String,
    /// What its rows show while their events wait.
    pub waiting_as: String,
    /// Since when, RFC 3339.
    pub adopted_at: String,
    /// By whom.
    pub adopted_by: String,
    /// Events of it that wait.
    pub pending: i64,
    /// Outcomes that could not be written back yet.
    pub owed: i64,
    /// Why, for one of them.
    pub error: Option<String>,
    /// What is wrong with it: triggers that are missing or disabled, a table that is gone.
    pub problem: Option<String>,
}

impl Store {
    /// Looks at a table and says what adopting it would do. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when it cannot be mapped.
    pub async fn plan_adoption(&self, adoption: &Adoption) -> Result<AdoptionPlan, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SETTINGS).await?;
        let plan = plan(&transaction, self.schema(), adoption).await?;
        transaction.rollback().await?;
        Ok(plan)
    }

    /// Adopts a table as planned, in one transaction.
    ///
    /// # Errors
    /// Any, with nothing changed; [`StoreError::Unfit`] when the table is no longer as planned.
    pub async fn adopt(
        &self,
        adoption: &Adoption,
        planned: &AdoptionPlan,
    ) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SETTINGS).await?;
        let lock =
            fill(include_str!("adopt/lock.sql"), &[("relation", &adoption.table.to_string())]);
        transaction.batch_execute(&lock).await?;
        if plan(&transaction, self.schema(), adoption).await?.sql != planned.sql {
            return unfit(format!("{} was altered meanwhile", adoption.table), "run it again");
        }
        transaction.batch_execute(&planned.sql).await?;
        Ok(transaction.commit().await?)
    }

    /// The SQL that undoes an adoption.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn plan_removal(&self, table: &RelationName) -> Result<String, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let transaction = client.transaction().await?;
        let relation = Relation::look_up(&transaction, table).await;
        Ok(script::remove(self.schema(), table, relation.ok().as_ref()))
    }

    /// Undoes an adoption: the table is as it was found, but for what happened to its rows.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when it is not adopted, or while events of it wait or outcomes are owed.
    pub async fn unadopt(&self, table: &RelationName) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        let schema = self.schema();
        client.batch_execute(&schema.fill(WRITE_BACK.template)).await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(SETTINGS).await?;
        let relation = Relation::look_up(&transaction, table).await.ok();
        if relation.is_some() {
            transaction.batch_execute(&format!("lock table {table}")).await?;
        }
        let key = [(
            &table.key() as &(dyn tokio_postgres::types::ToSql + Sync),
            UNSETTLED.parameters[0].clone(),
        )];
        let row = transaction.query_typed_one(&schema.fill(UNSETTLED.template), &key).await?;
        let (adopted, pending, owed): (bool, i64, i64) =
            (row.try_get("adopted")?, row.try_get("pending")?, row.try_get("owed")?);
        if !adopted {
            return unfit(format!("{table} is not adopted"), "see `outbox-relay adopt --list`");
        }
        if pending > 0 && relation.is_some() {
            return unfit(
                format!("{pending} events of {table} still wait to be published"),
                "let a relay publish them first; their rows would never learn what became of them",
            );
        }
        if owed > 0 && relation.is_some() {
            return unfit(
                format!("{owed} outcomes could not be written back to {table}"),
                "see `outbox-relay adopt --list`, end what holds its rows, then `outbox-relay adopt --write-back`",
            );
        }
        transaction.batch_execute(&script::remove(schema, table, relation.as_ref())).await?;
        Ok(transaction.commit().await?)
    }

    /// The adopted tables, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn adopted(&self) -> Result<Vec<Adopted>, StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let rows = client.query_typed(&self.schema().fill(LIST.template), &[]).await?;
        let one = |row: &tokio_postgres::Row| {
            Ok(Adopted {
                relation: row.try_get("relation")?,
                waiting_as: row.try_get("waiting_as")?,
                adopted_at: row.try_get("adopted_at")?,
                adopted_by: row.try_get("adopted_by")?,
                pending: row.try_get("pending")?,
                owed: row.try_get("owed")?,
                error: row.try_get("error")?,
                problem: row.try_get("problem")?,
            })
        };
        rows.iter().map(one).collect()
    }

    /// Writes back what is owed, also what was refused before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn write_back_owed(&self) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        Ok(client.batch_execute(&self.schema().fill(WRITE_BACK.template)).await?)
    }
}

async fn plan(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    adoption: &Adoption,
) -> Result<AdoptionPlan, StoreError> {
    let relation = Relation::look_up(transaction, &adoption.table).await?;
    if adoption.table.schema() == schema.as_str() {
        return unfit("the outbox itself cannot be adopted", "name the application's own table");
    }
    relation.refuse_other_names()?;
    if relation.hides_rows {
        return unfit(
            format!(
                "row security is forced on {}'s owner, who would not find the rows of outcomes",
                relation.name
            ),
            format!(
                "alter table {} no force row level security, or give it to a role with bypassrls",
                relation.name
            ),
        );
    }
    let owners = owners(transaction, schema, &relation).await?;
    let mapping = Mapping::find(&relation, &adoption.wishes)?;
    refuse_second_count(transaction, schema, &relation, &mapping).await?;
    probe(transaction, &relation, &mapping).await?;
    let sql = script::install(&Parts {
        schema,
        relation: &relation,
        mapping: &mapping,
        outbox_owner: &owners.outbox,
        me: &owners.me,
        waiting: adoption.waiting,
    });
    let status = mapping.column(Role::Status).map(|c| identifier(&c.name)).unwrap_or_default();
    let count = format!(
        "select pg_catalog.count(*) from (select from {} where {status}::text = {} limit {PENDING_COUNT_MAX}) p",
        relation.name,
        literal(&mapping.pending),
    );
    let pending = transaction.query_typed_one(&count, &[]).await?.try_get(0)?;
    Ok(AdoptionPlan { mapping, sql, pending })
}

/// Refuses a second table whose ids are numbers: both have a row 1, and its event could not be inserted, which would
/// abort the application's transaction.
async fn refuse_second_count(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    relation: &Relation,
    mapping: &Mapping,
) -> Result<(), StoreError> {
    let is_number = |column: &Column| ["bigint", "integer"].contains(&column.base.as_str());
    if !mapping.column(Role::Id).is_some_and(is_number) {
        return Ok(());
    }
    let key = relation.name.key();
    let typed: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] =
        [(&key, BY_NUMBER.parameters[0].clone())];
    let sql = schema.fill(BY_NUMBER.template);
    let Some(row) = transaction.query_typed(&sql, &typed).await?.into_iter().next() else {
        return Ok(());
    };
    let other: String = row.try_get(0)?;
    unfit(
        format!(
            "the ids of {} are numbers, as are those of {other}: events need ids of their own",
            relation.name
        ),
        "give it ids that are unique beyond the table, such as uuids, or an outbox of its own: --schema outbox2",
    )
}

/// Tries whether the table's own constraints take every state that a row will have: found out later, they would
/// abort the application's transactions.
async fn probe(
    transaction: &Transaction<'_>,
    relation: &Relation,
    mapping: &Mapping,
) -> Result<(), StoreError> {
    let mut sql = format!(
        "savepoint probe; create temporary table outbox_probe (like {} including constraints);",
        relation.name
    );
    for column in relation.columns.iter().filter(|column| column.required) {
        sql += &format!(
            "alter table pg_temp.outbox_probe alter {} drop not null;",
            identifier(&column.name)
        );
    }
    transaction.batch_execute(&sql).await?;
    let column = |role| mapping.column(role).map(|column| identifier(&column.name));
    let states = [
        (&mapping.waiting_as, None),
        (&mapping.published, column(Role::PublishedAt).map(|c| (c, "now()"))),
        (&mapping.failed, column(Role::Error).map(|c| (c, "'{}'"))),
    ];
    for (status, more) in states {
        let mut row = vec![(column(Role::Status).unwrap_or_default(), literal(status))];
        row.extend(more.map(|(column, value)| (column, value.to_owned())));
        let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        let sql = format!(
            "insert into pg_temp.outbox_probe ({}) values ({})",
            columns.join(", "),
            values.join(", ")
        );
        if let Err(error) = transaction.batch_execute(&sql).await {
            let said =
                error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
            return unfit(
                format!(
                    "{} does not take rows with status {status:?} as outbox-relay would write them: {said}",
                    relation.name
                ),
                "name others with --waiting-as, --published or --failed, or relax that constraint",
            );
        }
    }
    Ok(transaction.batch_execute("rollback to savepoint probe").await?)
}

fn unfit<T>(cause: impl Into<String>, remedy: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Unfit { cause: cause.into(), remedy: remedy.into() })
}
