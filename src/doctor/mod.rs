//! Looks at everything that a relay depends on, and says what to do about what is wrong. Changes nothing, publishes nothing.
//!
//! For the command `doctor` and for the dashboard. Reading order: `finding` (what a check says), `server`, `schema`, `outbox`, `ably`.

use std::time::Duration;

use crate::ably::Client;
use crate::store::session::Store;

mod ably;
mod finding;
mod masked;
mod outbox;
mod schema;
mod server;

pub use self::finding::{Level, Report};

use self::finding::Finding;

/// What the sessions are to be called. Not a relay's name: the check that counts relays must not find itself.
pub const NAME: &str = "outbox-relay-doctor";

/// From here on an open transaction is worth a warning, unless somebody says otherwise.
pub const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(300);

/// What is wrong with the settings, and what to do about it: one line each, without secrets.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

/// What is looked at.
#[derive(Debug)]
pub struct Subject {
    /// What is not wrong with the settings, but worth a line.
    pub warnings: Vec<Trouble>,
    /// The database, and the way for LISTEN, under [`NAME`].
    pub stores: Result<(Store, Store), Trouble>,
    /// Ably.
    pub ably: Result<Client, Trouble>,
    /// The channels that the key must be able to publish to, as capabilities name them.
    pub resources: Vec<String>,
    /// `relay.max_message_bytes`.
    pub max_message_bytes: usize,
    /// `relay.channel_rate`.
    pub channel_rate: usize,
    /// A transaction open for longer holds vacuum back.
    pub max_snapshot_age: Duration,
}

/// Looks at everything, a minute at most: each question has a time-out of its own.
pub async fn examine(subject: &Subject) -> Report {
    let mut report = Report::default();
    for Trouble { cause, remedy } in &subject.warnings {
        report.add(Finding::warning("config", "settings", cause, remedy));
    }
    server::examine(&mut report, subject).await;
    ably::examine(&mut report, subject).await;
    report
}
