//! The outbox for producers on diesel-async (feature `diesel-async`): the same function `enqueue`, on the application's
//! own connection, within its `transaction` or without. What validates, bounds and refuses is [`super::producer`].
//!
//! [`EnqueueError`] is made of Diesel's error, so that it can be the error of the transaction's closure.

use diesel::sql_query;
use diesel::sql_types::{Array, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::producer::{EnqueueError, Producer, columns, parameters};
use crate::domain::new_event::NewEvent;

/// A row of both statements: the column has the function's name.
#[derive(diesel::QueryableByName)]
struct Written {
    #[diesel(sql_type = Text)]
    enqueue: String,
}

/// Writes one event into schema `outbox`, unchecked by any registry, and returns its id. A pool's connection
/// derefs to what is wanted here.
///
/// # Errors
/// When PostgreSQL refuses the event, or does not answer.
pub async fn enqueue(
    connection: &mut AsyncPgConnection,
    event: NewEvent,
) -> Result<String, EnqueueError> {
    Producer::default().enqueue_diesel(connection, &event).await
}

/// Writes several events as [`enqueue`] writes one, in their order, all or none, and returns their ids.
///
/// # Errors
/// As [`enqueue`], with none written.
pub async fn enqueue_many(
    connection: &mut AsyncPgConnection,
    events: &[NewEvent],
) -> Result<Vec<String>, EnqueueError> {
    Producer::default().enqueue_many_diesel(connection, events).await
}

impl Producer {
    /// [`Producer::enqueue`] over diesel-async.
    ///
    /// # Errors
    /// As [`EnqueueError`] says.
    pub async fn enqueue_diesel(
        &self,
        connection: &mut AsyncPgConnection,
        event: &NewEvent,
    ) -> Result<String, EnqueueError> {
        self.check(0, event)?;
        let mut query = sql_query(self.enqueue_sql()).into_boxed();
        for value in parameters(event) {
            query = query.bind::<Nullable<Text>, _>(value);
        }
        let written: Written = query.get_result(connection).await?;
        Ok(written.enqueue)
    }

    /// [`Producer::enqueue_many`] over diesel-async.
    ///
    /// # Errors
    /// As [`EnqueueError`] says, with none written.
    pub async fn enqueue_many_diesel(
        &self,
        connection: &mut AsyncPgConnection,
        events: &[NewEvent],
    ) -> Result<Vec<String>, EnqueueError> {
        self.check_all(events)?;
        let mut query = sql_query(self.enqueue_many_sql()).into_boxed();
        for column in columns(events) {
            query = query.bind::<Array<Nullable<Text>>, _>(column);
        }
        let written: Vec<Written> = query.load(connection).await?;
        Ok(written.into_iter().map(|row| row.enqueue).collect())
    }
}
