//! The outbox for producers on sqlx (feature `sqlx`): the same function `enqueue`, on the application's own pool,
//! connection or transaction. What validates, bounds and refuses is [`super::producer`].
//!
//! Statements are prepared and kept as sqlx does with all; through a pooler in transaction mode set
//! `statement_cache_capacity(0)`, as sqlx wants it there anyway.

use ::sqlx::{AssertSqlSafe, PgExecutor, query_scalar};

use super::producer::{EnqueueError, Producer, columns, parameters};
use crate::domain::new_event::NewEvent;

/// Writes one event into schema `outbox`, unchecked by any registry, and returns its id. In a transaction:
/// `enqueue(&mut *transaction, event)`.
///
/// # Errors
/// When PostgreSQL refuses the event, or does not answer.
pub async fn enqueue(
    executor: impl PgExecutor<'_>,
    event: NewEvent,
) -> Result<String, EnqueueError> {
    Producer::default().enqueue_sqlx(executor, &event).await
}

/// Writes several events as [`enqueue`] writes one, in their order, all or none, and returns their ids.
///
/// # Errors
/// As [`enqueue`], with none written.
pub async fn enqueue_many(
    executor: impl PgExecutor<'_>,
    events: &[NewEvent],
) -> Result<Vec<String>, EnqueueError> {
    Producer::default().enqueue_many_sqlx(executor, events).await
}

impl Producer {
    /// [`Producer::enqueue`] over sqlx.
    ///
    /// # Errors
    /// As [`EnqueueError`] says.
    pub async fn enqueue_sqlx(
        &self,
        executor: impl PgExecutor<'_>,
        event: &NewEvent,
    ) -> Result<String, EnqueueError> {
        self.check(0, event)?;
        // The text is ours, with a schema's name that was checked and quoted; values are parameters.
        let query = query_scalar(AssertSqlSafe(self.enqueue_sql()));
        let query = parameters(event).into_iter().fold(query, |query, value| query.bind(value));
        Ok(query.fetch_one(executor).await?)
    }

    /// [`Producer::enqueue_many`] over sqlx.
    ///
    /// # Errors
    /// As [`EnqueueError`] says, with none written.
    pub async fn enqueue_many_sqlx(
        &self,
        executor: impl PgExecutor<'_>,
        events: &[NewEvent],
    ) -> Result<Vec<String>, EnqueueError> {
        self.check_all(events)?;
        let query = query_scalar(AssertSqlSafe(self.enqueue_many_sql()));
        let query = columns(events).into_iter().fold(query, |query, column| query.bind(column));
        Ok(query.fetch_all(executor).await?)
    }
}
