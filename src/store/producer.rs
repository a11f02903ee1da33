//! The outbox as an application's producer sees it: events written on its own client or in its own transaction.
//!
//! Everything here calls the SQL function `enqueue` of the outbox's schema, which refuses what could never be
//! published; the role needs EXECUTE on it and nothing else. Statements have no name, so a pooler in transaction mode
//! takes them, and one round trip is enough.

use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use super::error::StoreError;
use super::schema_name::{SchemaName, SchemaNameError};
use super::session::answered;
use super::statement::{StatementText, statement};
use crate::domain::new_event::NewEvent;
use crate::registry::problem::Problems;
use crate::registry::validation::Validation;

/// The most events of one `enqueue_many`: they are one statement, and PostgreSQL holds all of it in memory.
pub const EVENTS_MAX: usize = 10_000;

/// Name of the outbox's schema unless it was migrated into another.
const SCHEMA_DEFAULT: &str = "outbox";

/// Why an event was not written. The caller's transaction can only be rolled back after
/// [`EnqueueError::Store`]; after the others nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// It does not match the schema of its type, and the registry is to reject such events.
    #[error("event {index} ({event_type}) is not valid: {problems}; mend it, or its schema")]
    Invalid {
        /// Which of the events, from 0.
        index: usize,
        /// Its type.
        event_type: String,
        /// What is wrong with it.
        problems: Problems,
    },
    /// More than [`EVENTS_MAX`] at once.
    #[error("{0} events are too many for one statement; write at most {EVENTS_MAX} at once")]
    TooMany(usize),
    /// PostgreSQL refused it (tenant, type, size, privileges), or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same over sqlx, in sqlx's words.
    #[cfg(feature = "sqlx")]
    #[error(transparent)]
    Sqlx(#[from] ::sqlx::Error),
    /// The same over diesel-async, in Diesel's words.
    #[cfg(feature = "diesel-async")]
    #[error(transparent)]
    Diesel(#[from] diesel::result::Error),
}

/// Writes one event into schema `outbox`, unchecked by any registry, and returns its id. `client` is a
/// client or a transaction of `tokio_postgres`; of a pool such as deadpool's, what its client derefs to (`&**client`).
///
/// # Errors
/// When PostgreSQL refuses the event, or does not answer.
pub async fn enqueue(client: &impl GenericClient, event: NewEvent) -> Result<String, EnqueueError> {
    Producer::default().enqueue(client, &event).await
}

/// Writes several events as [`enqueue`] writes one, in their order, all or none, and returns their ids.
///
/// # Errors
/// As [`enqueue`], with none written.
pub async fn enqueue_many(
    client: &impl GenericClient,
    events: &[NewEvent],
) -> Result<Vec<String>, EnqueueError> {
    Producer::default().enqueue_many(client, events).await
}

/// Writes events into a schema, checked against a registry if there is one.
#[derive(Debug, Clone)]
pub struct Producer {
    schema: SchemaName,
    validation: Validation,
}

impl Default for Producer {
    fn default() -> Self {
        Self { schema: SchemaName::of_checked(SCHEMA_DEFAULT), validation: Validation::default() }
    }
}

impl Producer {
    /// For an outbox in another schema than `outbox`.
    ///
    /// # Errors
    /// When PostgreSQL would not take the name.
    pub fn in_schema(schema: &str) -> Result<Self, SchemaNameError> {
        Ok(Self { schema: SchemaName::new(schema)?, validation: Validation::default() })
    }

    pub(super) fn of(schema: SchemaName) -> Self {
        Self { schema, validation: Validation::default() }
    }

    /// The same, with payloads checked before anything is sent.
    #[must_use]
    pub fn validating(self, validation: Validation) -> Self {
        Self { validation, ..self }
    }

    /// Writes one event and returns its id.
    ///
    /// # Errors
    /// As [`EnqueueError`] says.
    pub async fn enqueue(
        &self,
        client: &impl GenericClient,
        event: &NewEvent,
    ) -> Result<String, EnqueueError> {
        self.check(0, event)?;
        Ok(self.write(client, event).await?)
    }

    /// Writes one event unchecked.
    pub(super) async fn write(
        &self,
        client: &impl GenericClient,
        event: &NewEvent,
    ) -> Result<String, StoreError> {
        let (headers, occurred_at) = texts(event);
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &event.tenant_id,
            &event.event_type,
            &event.payload.as_json(),
            &event.aggregate_type,
            &event.aggregate_id,
            &event.id,
            &headers,
            &occurred_at,
            &event.traceparent,
        ];
        Ok(self.call(client, &ENQUEUE, &parameters).await?.into_iter().next().unwrap_or_default())
    }

    /// Writes several events in their order, all or none, in one statement, and returns their ids.
    ///
    /// # Errors
    /// As [`EnqueueError`] says, with none written.
    pub async fn enqueue_many(
        &self,
        client: &impl GenericClient,
        events: &[NewEvent],
    ) -> Result<Vec<String>, EnqueueError> {
        self.check_all(events)?;
        let column = |of: fn(&NewEvent) -> &str| events.iter().map(of).collect::<Vec<_>>();
        let (headers, occurred_at): (Vec<_>, Vec<_>) = events.iter().map(texts).unzip();
        let ids: Vec<Option<&str>> = events.iter().map(|event| event.id.as_deref()).collect();
        let traces: Vec<Option<&str>> =
            events.iter().map(|event| event.traceparent.as_deref()).collect();
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &column(|event| &event.tenant_id),
            &column(|event| &event.event_type),
            &column(|event| event.payload.as_json()),
            &column(|event| &event.aggregate_type),
            &column(|event| &event.aggregate_id),
            &ids,
            &headers,
            &occurred_at,
            &traces,
        ];
        Ok(self.call(client, &ENQUEUE_MANY, &parameters).await?)
    }

    pub(super) fn check_all(&self, events: &[NewEvent]) -> Result<(), EnqueueError> {
        if events.len() > EVENTS_MAX {
            return Err(EnqueueError::TooMany(events.len()));
        }
        events.iter().enumerate().try_for_each(|(index, event)| self.check(index, event))
    }

    pub(super) fn check(&self, index: usize, event: &NewEvent) -> Result<(), EnqueueError> {
        let id = event.id.as_deref().unwrap_or("(new)");
        let admitted = self.validation.admit(id, &event.event_type, event.payload.as_json());
        admitted.map_err(|problems| EnqueueError::Invalid {
            index,
            event_type: event.event_type.clone(),
            problems,
        })
    }

    async fn call(
        &self,
        client: &impl GenericClient,
        statement: &StatementText,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<String>, StoreError> {
        let types = statement.parameters.iter().cloned();
        let typed: Vec<(_, Type)> = parameters.iter().copied().zip(types).collect();
        let sql = self.schema.fill(statement.template);
        let rows = answered(async { Ok(client.query_typed(&sql, &typed).await?) }).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// What `enqueue` and `enqueue_many` are called by through drivers other than ours.
#[cfg(any(feature = "sqlx", feature = "diesel-async"))]
impl Producer {
    pub(super) fn enqueue_sql(&self) -> String {
        self.schema.fill(ENQUEUE.template)
    }

    pub(super) fn enqueue_many_sql(&self) -> String {
        self.schema.fill(ENQUEUE_MANY.template)
    }
}

/// The parameters of `enqueue.sql` in their order, all of them text. Copies: other drivers keep what they send.
#[cfg(any(feature = "sqlx", feature = "diesel-async"))]
pub(super) fn parameters(event: &NewEvent) -> [Option<String>; 9] {
    let (headers, occurred_at) = texts(event);
    [
        Some(event.tenant_id.clone()),
        Some(event.event_type.clone()),
        Some(event.payload.as_json().to_owned()),
        Some(event.aggregate_type.clone()),
        Some(event.aggregate_id.clone()),
        event.id.clone(),
        headers,
        occurred_at,
        event.traceparent.clone(),
    ]
}

/// The parameters of `enqueue_many.sql`: a column each.
#[cfg(any(feature = "sqlx", feature = "diesel-async"))]
pub(super) fn columns(events: &[NewEvent]) -> [Vec<Option<String>>; 9] {
    let mut columns: [Vec<Option<String>>; 9] = Default::default();
    for event in events {
        for (column, value) in columns.iter_mut().zip(parameters(event)) {
            column.push(value);
        }
    }
    columns
}

/// What travels as text: headers and time.
fn texts(event: &NewEvent) -> (Option<String>, Option<String>) {
    let headers = event.headers.as_ref().map(|headers| serde_json::Value::from(headers.clone()));
    (headers.map(|headers| headers.to_string()), event.occurred_at.map(|at| at.to_string()))
}

// The macro reads each file by `include_str!`.
static ENQUEUE: StatementText =
    statement!("enqueue", [TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT]);
static ENQUEUE_MANY: StatementText = statement!(
    "enqueue_many",
    [
        TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY,
        TEXT_ARRAY, TEXT_ARRAY
    ]
);

/// All statements of this file, for the test that prepares every one.
pub static STATEMENTS: [&StatementText; 2] = [&ENQUEUE, &ENQUEUE_MANY];
