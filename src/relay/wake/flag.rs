//! What the machine has done about the flag, and what it hears of it.

use std::time::Duration;

/// Writers ring when the flag is further ahead than this (triggers/event_bell.sql).
pub(super) const AHEAD_MAX_MS: i64 = 3_000;

/// What to do about the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagOp {
    /// Raise it for [`BellConfig::term`].
    Raise,
    /// Lower it, and then see which transactions are writing.
    Lower,
    /// Read it.
    Look,
    /// See which transactions are writing.
    Fence,
    /// See which of those that were seen last are not over.
    Check,
    /// Notify all relays, as a writer would.
    Ring,
}

/// What has come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagAnswer {
    /// It is up.
    Raised {
        /// Until when, by the server's clock.
        until: i64,
    },
    /// It is down.
    Lowered {
        /// Its value now.
        until: i64,
        /// Transactions that are writing.
        open: usize,
    },
    /// It was read.
    Seen {
        /// Its value.
        until: i64,
        /// How many milliseconds ahead that is.
        ahead_ms: i64,
        /// Whether this relay may raise it.
        raisable: bool,
        /// Whether any event was pending.
        pending: bool,
    },
    /// Transactions were looked for.
    Fenced {
        /// How many are writing, or still are.
        open: usize,
    },
    /// All relays have been notified.
    Rung,
    /// PostgreSQL did not answer, or refused. Whether it was done nobody knows.
    Failed {
        /// Whether it will refuse again.
        lasting: bool,
    },
}

/// Settings of the bell. Only tests have others than [`BellConfig::DEFAULT`].
#[derive(Debug, Clone, Copy)]
pub struct BellConfig {
    /// For how long the flag is raised.
    pub term: Duration,
    /// Time between two raises while awake.
    pub renewal: Duration,
    /// Time between two looks while dozing.
    pub look: Duration,
    /// Time from a notification to the next look.
    pub look_rung: Duration,
    /// Time from a claim that found something to the next, while awake.
    pub gap_min: Duration,
    /// The same after several that found nothing.
    pub gap_max: Duration,
    /// How long a claim may be owed before the bell is rung for it.
    pub pass_on: Duration,
    /// Transactions beyond the leak at which it wakes up.
    pub rise: f64,
    /// The most it counts.
    pub level_max: f64,
    /// What leaks from the count in a second while dozing.
    pub leak_dozing: f64,
    /// The same while awake.
    pub leak_awake: f64,
}

impl BellConfig {
    /// Measured: ARCHITECTURE.md. Below 75 events a second each rings, for that is quicker than a claim
    /// every few milliseconds and costs writers nothing yet (a NOTIFY takes 0.5 to 2 ms of a lock that all share).
    /// Once awake, relays stay so down to 40 a second, and for 0.3 s after the last event.
    /// The term bounds how long events may wait when the relay that has raised it dies: another takes over
    /// within a second. A shorter one would lapse when the renewal is late, on a loaded machine.
    pub const DEFAULT: Self = Self {
        term: Duration::from_millis(700),
        renewal: Duration::from_millis(250),
        look: Duration::from_secs(2),
        look_rung: Duration::from_millis(300),
        gap_min: Duration::from_millis(1),
        gap_max: Duration::from_millis(5),
        pass_on: Duration::from_millis(250),
        rise: 10.0,
        level_max: 12.0,
        leak_dozing: 75.0,
        leak_awake: 40.0,
    };
}
