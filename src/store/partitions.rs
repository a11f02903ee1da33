//! A partitioned outbox: making it one, partitions ahead of the last position, and dropping those that are over.
//!
//! What is done stands in `triggers/partitions.sql`, so that it can be called by whoever owns the outbox, and by a relay
//! that does not.

use std::time::Duration;

use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::migrate;
use super::retention::Keeper;
use super::session::{Store, answered};
use super::statement::{StatementText, statement};

static IS_PARTITIONED: StatementText = statement!("is_partitioned", []);
static MAKE: StatementText = statement!("make_partitions", []);
static DROP: StatementText = statement!("drop_partition", [INT8, BOOL]);
static PARTITION: StatementText = statement!("partition_event", [FLOAT8, INT8]);

/// The statements of this file.
pub static STATEMENTS: [&StatementText; 4] = [&IS_PARTITIONED, &MAKE, &DROP, &PARTITION];

/// Before a partition is dropped all of it is read. The server's own limit is 10 s less.
const DROP_TIMEOUT: Duration = Duration::from_secs(130);

/// What one try to drop a partition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// Its name, when there was one.
    pub dropped: Option<String>,
    /// One could be dropped, and others were at work with the table for too long.
    pub busy: bool,
    /// Rows are deleted singly only below this position: what lies behind goes with its partition.
    pub walk_below: i64,
}

impl Store {
    /// Makes the outbox a partitioned one, in place: the table that is there becomes the first partition. `rows` positions
    /// are in each of the first ones, later ones have as many as come in `every`.
    ///
    /// # Errors
    /// When it is one already, when others are at work with it for more than 5 s, and when this role does not own it.
    pub async fn partition(&self, every: Duration, rows: i64) -> Result<(), StoreError> {
        let (mut client, _tasks) = self.raw_client().await?;
        migrate::refuse_older(&mut client, self.schema()).await?;
        let asked = self.schema().fill(IS_PARTITIONED.template);
        if client.query_typed_one(&asked, &[]).await?.try_get::<_, bool>(0)? {
            return Err(StoreError::Unfit {
                cause: "the outbox is partitioned already".to_owned(),
                remedy: format!(
                    "to have other partitions from now on, update {}.partitioning",
                    super::template::identifier(self.schema().as_str())
                ),
            });
        }
        let transaction = client.transaction().await?;
        // While it waits, every writer that comes later waits behind it.
        transaction.batch_execute("set local lock_timeout = '5s'").await?;
        let seconds = every.as_secs_f64();
        let parameters: [(&(dyn ToSql + Sync), _); 2] =
            [(&seconds, PARTITION.parameters[0].clone()), (&rows, PARTITION.parameters[1].clone())];
        let sql = self.schema().fill(PARTITION.template);
        let done = transaction.query_typed(&sql, &parameters).await;
        done.map_err(|error| StoreError::from(error).of_migration())?;
        Ok(transaction.commit().await?)
    }

    /// Makes partitions ahead of the last position. How many; `None` when the outbox is not partitioned, -1 when others
    /// were at work with it for too long.
    ///
    /// # Errors
    /// When PostgreSQL does not answer, or this role may not.
    pub async fn make_partitions(&self) -> Result<Option<i32>, StoreError> {
        answered(async {
            let (client, _tasks) = self.raw_client().await?;
            let asked = self.schema().fill(IS_PARTITIONED.template);
            if !client.query_typed_one(&asked, &[]).await?.try_get::<_, bool>(0)? {
                return Ok(None);
            }
            let row = client.query_typed_one(&self.schema().fill(MAKE.template), &[]).await?;
            Ok(row.try_get(0)?)
        })
        .await
    }
}

impl Keeper {
    /// Whether the outbox is partitioned.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn is_partitioned(&self) -> Result<bool, StoreError> {
        let sql = self.schema.fill(IS_PARTITIONED.template);
        answered(async { Ok(self.client.query_typed_one(&sql, &[]).await?.try_get(0)?) }).await
    }

    /// Drops the first partition in which nothing is left but what was published longer ago than `age`, or nothing at all
    /// when `only_empty`. The database makes sure of it under a lock that no writer can be in.
    ///
    /// # Errors
    /// When PostgreSQL does not answer, or this role may not.
    pub async fn drop_partition(
        &mut self,
        age: Duration,
        only_empty: bool,
    ) -> Result<Drop, StoreError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let sql = self.schema.fill(DROP.template);
        let work = async {
            let transaction = self.client.transaction().await?;
            transaction.batch_execute("set local statement_timeout = '120s'").await?;
            let parameters: [(&(dyn ToSql + Sync), _); 2] =
                [(&age, DROP.parameters[0].clone()), (&only_empty, DROP.parameters[1].clone())];
            let row = transaction.query_typed_one(&sql, &parameters).await?;
            let (dropped, busy) = (row.try_get("dropped")?, row.try_get("busy")?);
            let drop = Drop { dropped, busy, walk_below: row.try_get("walk_below")? };
            transaction.commit().await?;
            Ok(drop)
        };
        tokio::time::timeout(DROP_TIMEOUT, work).await.unwrap_or_else(|_| {
            Err(StoreError::Lost(format!("no answer for {} s", DROP_TIMEOUT.as_secs())))
        })
    }
}
