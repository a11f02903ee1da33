//! What a row of the matrix is made of.

use std::time::Duration;

/// One row: a fault as users of such programs have reported it, and what must hold all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Short, and unique.
    pub(crate) name: &'static str,
    /// What it was seen as in the field.
    pub(crate) reported: &'static str,
    /// Which database.
    pub(crate) place: Place,
    /// Relays that run throughout.
    pub(crate) relays: usize,
    /// Environment of all relays beyond the default.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// How the first relay reaches its neighbours, and what its clock says.
    pub(crate) first: First,
    /// What is written.
    pub(crate) load: Load,
    /// What Ably is like.
    pub(crate) ably: Ably,
    /// What happens, one after the other, each at a random moment.
    pub(crate) faults: &'static [Fault],
    /// How often the list of faults is gone through in a run.
    pub(crate) rounds: u32,
    /// Deliveries beyond the first of an event.
    pub(crate) doubles: Doubles,
    /// Runs with other seeds are of no use, or take too long.
    pub(crate) once: bool,
}

impl Row {
    /// Two relays, a shared server, ordinary writers, and nothing happens.
    pub(crate) const CALM: Self = Self {
        name: "",
        reported: "",
        place: Place::Shared,
        relays: 2,
        env: &[],
        first: First::LikeOthers,
        load: Load::ORDINARY,
        ably: Ably::USUAL,
        faults: &[],
        rounds: 1,
        doubles: Doubles::None,
        once: false,
    };
}

/// Which PostgreSQL a row needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A database in the server that all rows share.
    Shared,
    /// A server of its own, which keeps what it has committed.
    Own,
    /// A primary and a synchronous standby; connection strings name both.
    Pair,
    /// A server of its own, which relays reach through PgBouncer in transaction mode, but for LISTEN.
    Pooled,
}

/// What is special about the first relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Nothing.
    LikeOthers,
    /// It reaches PostgreSQL through a proxy.
    PostgresByProxy,
    /// All relays reach Ably through a proxy.
    AblyByProxy,
    /// Its clock is ten minutes ahead, the second's ten minutes behind.
    ClocksApart,
    /// The clocks of all relays run [`FASTER`] times as fast.
    ClocksFast,
    /// It is the version before the last change of the schema.
    Older,
}

/// How much faster the clocks of [`First::ClocksFast`] are: an hour is a minute and a half.
pub(crate) const FASTER: u64 = 40;

/// What is written, until the last fault is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Tenants with one writer each, so that their order is known.
    pub(crate) tenants: usize,
    /// Longest pause between two transactions of a writer, in ms.
    pub(crate) pause_ms: u64,
    /// Some rows can never be published.
    pub(crate) poison: bool,
    /// One more tenant, with two writers whose transactions overlap: its order is not promised.
    pub(crate) overlapping: bool,
    /// A transaction of a further tenant stays open from the start until all else is delivered.
    pub(crate) open_throughout: bool,
}

impl Load {
    pub(crate) const ORDINARY: Self = Self {
        tenants: 6,
        pause_ms: 25,
        poison: false,
        overlapping: false,
        open_throughout: false,
    };
    /// For runs that last a minute.
    pub(crate) const QUIET: Self = Self { pause_ms: 300, ..Self::ORDINARY };
}

/// What the emulator is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ably {
    /// How long it remembers ids.
    pub(crate) window: Duration,
    /// Time that every publish takes, in ms: so that faults find some in flight.
    pub(crate) delay_ms: u64,
    /// A share of replies that never come although the events were accepted, in percent.
    pub(crate) lost_replies: u8,
}

impl Ably {
    pub(crate) const USUAL: Self =
        Self { window: Duration::from_secs(120), delay_ms: 8, lost_replies: 0 };
}

/// Whether subscribers may see an event twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubles {
    /// Never: the fault is shorter than Ably's memory.
    None,
    /// Counted only: the fault outlasts Ably's memory.
    ByContract,
}

/// A fault, and its healing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// `kill -9` of a relay at a step of the drain, on a random pass.
    CrashAt(&'static str),
    /// SIGTERM of a relay at a step of the drain, on a random pass.
    TermAt(&'static str),
    /// SIGTERM of a relay within its first 150 ms.
    TermAtStart,
    /// SIGTERM of a relay at any moment; another one takes its place.
    Term,
    /// SIGSTOP of a relay at a step of the drain, and SIGCONT so much later.
    StopAt(&'static str, Duration),
    /// `kill -9` of all relays, at any moment.
    KillAll,
    /// `kill -9` of all relays while a request is out that Ably has not accepted, or has.
    KillInRequest {
        /// Whether Ably has accepted it.
        accepted: bool,
    },
    /// So many relays share the work from now on: the missing ones join, and of those that are too many every second is
    /// killed, the others get SIGTERM. All work for a moment.
    Replicas(usize),
    /// All server processes of the relays end.
    Backends,
    /// The server processes that listen end.
    Listeners,
    /// Ably misbehaves as this JSON says, for so many ms.
    Ably(&'static str, u64),
    /// Nothing comes through the proxy any more, and no connection ends; later new connections work.
    Blackhole(Duration),
    /// The proxy takes no connections and drops those it has, for so long.
    Refuse(Duration),
    /// PostgreSQL is shut down and started.
    Restart,
    /// PostgreSQL crashes and recovers.
    Crash,
    /// The standby is promoted; the old primary is gone.
    Promote,
    /// The standby is promoted; the old primary comes back as a server that only reads.
    PromoteBesideReader,
    /// The bell's trigger is off for a while.
    TriggerOff,
    /// A transaction with 100,000 events of ten tenants, by COPY.
    BulkCopy,
    /// One tenant gets this many events; then single events of another must come soon.
    Backlog(i64),
    /// Ably answers 503 for so long, and a relay must say afterwards that by its clock it was an hour.
    AnHourAway,
    /// Nothing but time for the writers.
    Nothing(Duration),
}
