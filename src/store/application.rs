//! The outbox as an application sees it: events written in its own transaction, and what became of
//! them. `dev`'s sample producer stands on this.

use tokio::task::JoinSet;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Row, Transaction};

use super::error::StoreError;
use super::producer::Producer;
use super::schema_name::SchemaName;
use super::session::{Store, answered};
use super::statement::StatementText;
use crate::domain::new_event::NewEvent;

/// What a database holds before `dev` touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// There is a table `event` in the outbox's schema.
    pub outbox_exists: bool,
    /// Some of its events wait to be published.
    pub pending: bool,
    /// Another relay is connected to this database.
    pub relay_exists: bool,
}

/// What became of a producer's events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Accepted by Ably and settled.
    pub published: u64,
    /// Waiting, or being published.
    pub pending: u64,
    /// Never publishable.
    pub failed: u64,
    /// Why one of them failed, or was refused so far.
    pub error: Option<String>,
}

/// A connection as an application has it: no claims, no locks.
#[derive(Debug)]
pub struct Application {
    client: Client,
    schema: SchemaName,
    producer: Producer,
    // Dropping it closes the socket, and PostgreSQL rolls back what was open.
    _tasks: JoinSet<()>,
}

/// An event that is written and not yet committed. Dropping it rolls back.
#[must_use = "commit it; dropping it rolls back"]
pub struct Written<'a> {
    transaction: Transaction<'a>,
}

impl Store {
    /// Looks at a database without changing anything in it.
    ///
    /// # Errors
    /// When it cannot be reached or read.
    pub async fn survey(&self) -> Result<Survey, StoreError> {
        let application = self.application().await?;
        let row = application.ask(&SURVEY, &[]).await?;
        let outbox_exists = row.try_get("outbox_exists")?;
        let relay_exists = row.try_get("relay_exists")?;
        let pending = outbox_exists && application.ask(&ANY_PENDING, &[]).await?.try_get(0)?;
        Ok(Survey { outbox_exists, pending, relay_exists })
    }

    /// Connects as an application does.
    ///
    /// # Errors
    /// [`StoreError::Connect`].
    pub async fn application(&self) -> Result<Application, StoreError> {
        let (client, tasks) = self.raw_client().await?;
        let schema = self.schema().clone();
        Ok(Application { client, producer: Producer::of(schema.clone()), schema, _tasks: tasks })
    }
}

impl Application {
    /// Writes one event in a transaction of its own, which stays open.
    ///
    /// # Errors
    /// As [`Producer::enqueue`], with nothing written.
    pub async fn write(&mut self, event: &NewEvent) -> Result<Written<'_>, StoreError> {
        let Self { client, producer, .. } = self;
        let transaction = answered(async { Ok(client.transaction().await?) }).await?;
        producer.write(&transaction, event).await?;
        Ok(Written { transaction })
    }

    /// The highest position so far.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn last_position(&self) -> Result<i64, StoreError> {
        Ok(self.ask(&LAST_POSITION, &[]).await?.try_get(0)?)
    }

    /// What became of the events behind `position` whose aggregate id begins with `prefix`.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub async fn outcome_since(&self, position: i64, prefix: &str) -> Result<Outcome, StoreError> {
        let row = self.ask(&COUNT_SINCE, &[&position, &prefix]).await?;
        let count = |column| -> Result<u64, StoreError> {
            Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
        };
        Ok(Outcome {
            published: count("published")?,
            pending: count("pending")?,
            failed: count("failed")?,
            error: row.try_get("an_error")?,
        })
    }

    async fn ask(
        &self,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        ask(&self.client, &self.schema, statement, parameters).await
    }
}

impl Written<'_> {
    /// Commits it: from now on relays see it.
    ///
    /// # Errors
    /// When PostgreSQL did not answer that it is committed.
    pub async fn commit(self) -> Result<(), StoreError> {
        answered(async { Ok(self.transaction.commit().await?) }).await
    }
}

impl std::fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

/// One row. Not prepared by name: one round trip, and a pooler in transaction mode takes it too.
async fn ask(
    client: &impl GenericClient,
    schema: &SchemaName,
    statement: &StatementText,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, StoreError> {
    let types = statement.parameters.iter().cloned();
    let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
    let sql = schema.fill(statement.template);
    answered(async { Ok(client.query_typed_one(&sql, &typed).await?) }).await
}

macro_rules! statement {
    ($constant:ident, $name:literal, [$($parameter:ident),*]) => {
        static $constant: StatementText = StatementText {
            name: $name,
            template: include_str!(concat!("sql/", $name, ".sql")),
            parameters: &[$(Type::$parameter),*],
        };
    };
}

statement!(LAST_POSITION, "last_position", []);
statement!(COUNT_SINCE, "count_since", [INT8, TEXT]);
statement!(SURVEY, "survey", []);
statement!(ANY_PENDING, "any_pending", []);

/// All statements of this file, for the test that prepares every one.
pub static STATEMENTS: [&StatementText; 4] = [&LAST_POSITION, &COUNT_SINCE, &SURVEY, &ANY_PENDING];
