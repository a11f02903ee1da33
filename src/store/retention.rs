//! Old events: finding, deleting, archiving and scrubbing them, one bounded transaction at a time.
//!
//! Every deleting statement says for itself that the row is published and old enough, whatever found it. There
//! is no trigger that refuses to delete a pending row: it would also stop an application's own clean-up and
//! every test that empties its tables, and who may `drop table` is not stopped by it anyway.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

use super::error::StoreError;
use super::migrate;
use super::retention_statement::{
    ARCHIVE_LINES, FIND_ARCHIVED, FIND_OLD, INSPECT, PRUNE_ROWS, PRUNE_ROWS_INTO_ARCHIVE,
    SCRUB_ARCHIVED, SCRUB_ROWS, SETTINGS, TURN,
};
use super::schema_name::SchemaName;
use super::session::{Store, answered};
use super::statement::StatementText;
use crate::domain::event::Seq;

/// What a connection is wanted for, and so which privileges its role needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Counting what would be deleted.
    CountOld,
    /// Counting what would be scrubbed.
    CountUnscrubbed,
    /// Deleting events.
    Prune,
    /// Moving events into `event_archive`.
    Move,
    /// Taking payloads away, in `event` and in `event_archive`.
    Scrub,
}

impl Purpose {
    /// Table, privilege, columns separated by `, ` (none: the whole table).
    fn needed(self) -> &'static [(&'static str, &'static str, &'static str)] {
        const READ: (&str, &str, &str) = ("event", "SELECT", "");
        const HISTORY: (&str, &str, &str) = ("schema_history", "SELECT", "");
        // Row locks want the right to update some column; this one relays have.
        const LOCK: (&str, &str, &str) = ("event", "UPDATE", "status");
        const DELETE: (&str, &str, &str) = ("event", "DELETE", "");
        match self {
            Self::CountOld => &[READ, HISTORY],
            Self::CountUnscrubbed => &[READ, HISTORY, ("event_archive", "SELECT", "")],
            Self::Prune => &[READ, LOCK, DELETE, HISTORY],
            Self::Move => &[READ, LOCK, DELETE, HISTORY, ("event_archive", "INSERT", "")],
            Self::Scrub => &[
                READ,
                ("event", "UPDATE", "payload, headers"),
                HISTORY,
                ("event_archive", "SELECT", ""),
                ("event_archive", "UPDATE", "payload, headers"),
            ],
        }
    }
}

/// Which events are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Published (a failed one: written) longer ago than this, by the server's clock.
    pub older_than: Duration,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only of types that match: `*` is any text, `?` one character.
    pub event_type: Option<String>,
    /// Only about this aggregate.
    pub aggregate_id: Option<String>,
    /// Failed ones too. Ignored by everything that deletes.
    pub failed: bool,
    /// Only what has not been scrubbed.
    pub unscrubbed: bool,
}

impl Selection {
    fn age_ms(&self) -> i64 {
        i64::try_from(self.older_than.as_millis()).unwrap_or(i64::MAX)
    }

    fn statuses(&self) -> &'static [&'static str] {
        if self.failed { &["published", "failed"] } else { &["published"] }
    }

    fn type_pattern(&self) -> Option<String> {
        self.event_type.as_deref().map(like_pattern)
    }
}

/// A glob as a pattern of SQL's LIKE.
fn like_pattern(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len());
    for c in glob.chars() {
        match c {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c => pattern.push(c),
        }
    }
    pattern
}

/// Which table is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `event`.
    Event,
    /// `event_archive`.
    Archive,
}

/// Where a batch looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Behind this position.
    pub after: Seq,
    /// At so many rows.
    pub look_at: u32,
    /// For so many.
    pub take: u32,
    /// Not from this position on.
    pub before: Seq,
}

/// What a window holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The rows that are meant, in order.
    pub seqs: Vec<Seq>,
    /// The last position that counts as looked at; the next window begins behind it.
    pub last: Option<Seq>,
    /// Rows looked at, up to that position.
    pub looked_at: u64,
    /// Nothing behind this window can be meant: it is young through and through, or the last.
    pub end: bool,
    /// The first row that was passed over and may be meant some day: a pending or a young one.
    pub kept_from: Option<Seq>,
}

/// A connection for old events.
#[derive(Debug)]
pub struct Keeper {
    pub(super) client: Client,
    pub(super) schema: SchemaName,
    // Dropping it closes the socket, and PostgreSQL rolls back what was open.
    _tasks: JoinSet<()>,
}

/// One open transaction. Dropping it rolls back.
#[must_use = "commit it; dropping it rolls back"]
pub struct Batch<'a> {
    transaction: Transaction<'a>,
    schema: &'a SchemaName,
}

impl Store {
    /// Connects to look after old events.
    ///
    /// # Errors
    /// [`StoreError`] says which of reachability, writability, schema and privileges is missing.
    pub async fn keeper(&self, purpose: Purpose) -> Result<Keeper, StoreError> {
        answered(async {
            let (mut client, tasks) = self.raw_client().await?;
            let row = {
                let mut columns: [Vec<&str>; 3] = Default::default();
                for (table, privilege, names) in purpose.needed() {
                    columns[0].push(table);
                    columns[1].push(privilege);
                    columns[2].push(names);
                }
                let [tables, privileges, names] = &columns;
                ask(&client, self.schema(), &INSPECT, &[tables, privileges, names]).await?
            };
            if row.try_get::<_, bool>("standby")? {
                return Err(StoreError::Standby);
            }
            if row.try_get::<_, bool>("read_only")? {
                return Err(StoreError::ReadOnly);
            }
            if !row.try_get::<_, bool>("there")? {
                let (schema, database) = (self.schema().to_string(), row.try_get("database")?);
                return Err(StoreError::SchemaMissing { schema, database });
            }
            let lacking: Vec<String> = row.try_get("lacking")?;
            if !lacking.is_empty() {
                return Err(StoreError::Privileges { role: row.try_get("role")?, lacking });
            }
            migrate::refuse_older(&mut client, self.schema()).await?;
            Ok(Keeper { client, schema: self.schema().clone(), _tasks: tasks })
        })
        .await
    }
}

impl Keeper {
    /// Opens a transaction.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        let Self { client, schema, .. } = self;
        answered(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(SETTINGS).await?;
            Ok(Batch { transaction, schema })
        })
        .await
    }
}

impl Batch<'_> {
    /// Whether it is this process's turn: one relay of an outbox prunes at a time. Holds until the end of the
    /// transaction.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn take_turn(&self) -> Result<bool, StoreError> {
        Ok(self.ask(&TURN, &[]).await?.try_get(0)?)
    }

    /// Looks through a window. Locks nothing.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn find(
        &self,
        table: Table,
        selection: &Selection,
        window: Window,
    ) -> Result<Found, StoreError> {
        let statement = match table {
            Table::Event => &FIND_OLD,
            Table::Archive => &FIND_ARCHIVED,
        };
        let (look_at, take) = (i64::from(window.look_at), i64::from(window.take));
        let row = self
            .ask(
                statement,
                &[
                    &window.after.0,
                    &look_at,
                    &take,
                    &selection.age_ms(),
                    &selection.statuses(),
                    &selection.tenant,
                    &selection.type_pattern(),
                    &selection.aggregate_id,
                    &selection.unscrubbed,
                    &window.before.0,
                ],
            )
            .await?;
        let seqs: Vec<i64> = row.try_get("seqs")?;
        let short = row.try_get::<_, i64>("window_rows")? < look_at;
        let full = seqs.len() >= window.take as usize;
        Ok(Found {
            end: row.try_get("young")? || (short && !full),
            seqs: seqs.into_iter().map(Seq).collect(),
            last: row.try_get::<_, Option<i64>>("last")?.map(Seq),
            looked_at: count(&row, "looked_at")?,
            kept_from: row.try_get::<_, Option<i64>>("kept_from")?.map(Seq),
        })
    }

    /// Deletes those of `seqs` that are published and old enough, passing over what others have locked;
    /// returns how many.
    ///
    /// # Errors
    /// When PostgreSQL refuses or does not answer.
    pub async fn delete(&self, seqs: &[Seq], selection: &Selection) -> Result<u64, StoreError> {
        let (seqs, age) = (numbers(seqs), selection.age_ms());
        count(&self.ask(&PRUNE_ROWS, &[&seqs, &age]).await?, "count")
    }

    /// As [`Batch::delete`], moving the rows into `event_archive`.
    ///
    /// # Errors
    /// As [`Batch::delete`]; nothing was moved then.
    pub async fn move_to_archive(
        &self,
        seqs: &[Seq],
        selection: &Selection,
    ) -> Result<u64, StoreError> {
        let (seqs, age) = (numbers(seqs), selection.age_ms());
        count(&self.ask(&PRUNE_ROWS_INTO_ARCHIVE, &[&seqs, &age]).await?, "count")
    }

    /// Locks those of `seqs` that are published and old enough, and returns each as a line of JSON, in order, at
    /// most about `bytes` together. Only what is returned may be deleted after it has been written down.
    ///
    /// # Errors
    /// When PostgreSQL refuses or does not answer.
    pub async fn lines(
        &self,
        seqs: &[Seq],
        selection: &Selection,
        bytes: i64,
    ) -> Result<Vec<(Seq, String)>, StoreError> {
        let (seqs, age) = (numbers(seqs), selection.age_ms());
        let rows = self.rows(&ARCHIVE_LINES, &[&seqs, &age, &bytes]).await?;
        rows.iter().map(|row| Ok((Seq(row.try_get(0)?), row.try_get(1)?))).collect()
    }

    /// Takes payload and headers out of those of `seqs` that are still meant; returns how many.
    ///
    /// # Errors
    /// When PostgreSQL refuses or does not answer.
    pub async fn scrub(
        &self,
        table: Table,
        seqs: &[Seq],
        selection: &Selection,
    ) -> Result<u64, StoreError> {
        let statement = if table == Table::Event { &SCRUB_ROWS } else { &SCRUB_ARCHIVED };
        let row = self
            .ask(
                statement,
                &[
                    &numbers(seqs),
                    &selection.age_ms(),
                    &selection.statuses(),
                    &selection.tenant,
                    &selection.type_pattern(),
                    &selection.aggregate_id,
                ],
            )
            .await?;
        count(&row, "count")
    }

    /// Makes it so.
    ///
    /// # Errors
    /// When PostgreSQL did not answer that it is committed; it may be all the same.
    pub async fn commit(self) -> Result<(), StoreError> {
        answered(async { Ok(self.transaction.commit().await?) }).await
    }

    async fn ask(
        &self,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        answered(ask(&self.transaction, self.schema, statement, parameters)).await
    }

    async fn rows(
        &self,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let typed: Vec<_> =
            parameters.iter().copied().zip(statement.parameters.iter().cloned()).collect();
        let sql = self.schema.fill(statement.template);
        answered(async { Ok(self.transaction.query_typed(&sql, &typed).await?) }).await
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

/// One row. Not prepared by name: batches are rare, and a pooler in transaction mode takes it too.
async fn ask(
    client: &impl tokio_postgres::GenericClient,
    schema: &SchemaName,
    statement: &StatementText,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, StoreError> {
    let typed: Vec<_> =
        parameters.iter().copied().zip(statement.parameters.iter().cloned()).collect();
    Ok(client.query_typed_one(&schema.fill(statement.template), &typed).await?)
}

fn numbers(seqs: &[Seq]) -> Vec<i64> {
    seqs.iter().map(|seq| seq.0).collect()
}

fn count(row: &Row, column: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_becomes_a_pattern_of_its_own_text() {
        assert_eq!(like_pattern("kitchen.*.claimed"), "kitchen.%.claimed");
        assert_eq!(like_pattern("a?b"), "a_b");
        assert_eq!(like_pattern("100%_\\"), "100\\%\\_\\\\");
    }
}
