//! What the model remembers: the outbox's rows, the relays, what is on its way, what Ably accepted.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A set of events; bit 0 is the lowest position.
pub(crate) type Events = u8;

/// A set of tenants.
pub(crate) type Tenants = u8;

/// Most events of a scenario.
pub(crate) const EVENTS_MAX: usize = 4;

/// Most tenants of a scenario.
pub(crate) const TENANTS_MAX: usize = 2;

/// The members of a set, lowest first.
pub(crate) fn members(set: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |index| set & (1 << index) != 0)
}

/// A row of `in_flight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) base: u8,
    pub(crate) events: Events,
    /// What the claim that made it saw of its tenant; the relay does not know this, the model judges order by it.
    pub(crate) seen: Events,
}

/// How a request's messages are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ids {
    Alone,
    Group(u8),
}

/// The events of one tenant on their way to Ably. Requests of several tenants are modelled one by one: what
/// Ably does to one channel does not depend on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) tenant: u8,
    pub(crate) ids: Ids,
    pub(crate) events: Events,
    pub(crate) seen: Events,
}

/// What a relay knows of a request it has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    None,
    Accepted,
    Refused,
    Outage,
}

/// One part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) request: Request,
    pub(crate) recorded: bool,
    pub(crate) reply: Reply,
}

/// What a statement's snapshot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Snapshot {
    pub(crate) pending: Events,
    pub(crate) attempts: [u8; EVENTS_MAX],
    pub(crate) records: [Option<Record>; TENANTS_MAX],
}

/// How far a relay's batch is. From `Locked` on its drain transaction is open and holds `tenants`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Batch {
    Idle,
    /// The statement that locks has its snapshot and no lock yet.
    Begun(Snapshot),
    /// The snapshot is the one of the locking statement; only a mutation reads by it.
    Locked {
        tenants: Tenants,
        old: Snapshot,
    },
    /// Groups are on their way to the other connection.
    Recording {
        tenants: Tenants,
        abandon: Tenants,
        parts: Vec<Part>,
    },
    Recorded {
        tenants: Tenants,
        abandon: Tenants,
        parts: Vec<Part>,
    },
    Sent {
        tenants: Tenants,
        abandon: Tenants,
        parts: Vec<Part>,
    },
}

impl Batch {
    /// The tenants whose locks it holds.
    pub(crate) fn tenants(&self) -> Tenants {
        match self {
            Self::Idle | Self::Begun(_) => 0,
            Self::Locked { tenants, .. }
            | Self::Recording { tenants, .. }
            | Self::Recorded { tenants, .. }
            | Self::Sent { tenants, .. } => *tenants,
        }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        match self {
            Self::Idle | Self::Begun(_) | Self::Locked { .. } => &[],
            Self::Recording { parts, .. }
            | Self::Recorded { parts, .. }
            | Self::Sent { parts, .. } => parts,
        }
    }

    fn parts_mut(&mut self) -> &mut [Part] {
        match self {
            Self::Idle | Self::Begun(_) | Self::Locked { .. } => &mut [],
            Self::Recording { parts, .. }
            | Self::Recorded { parts, .. }
            | Self::Sent { parts, .. } => parts,
        }
    }
}

/// Faults that may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// A relay dies, or its drain transaction does without its knowledge: the same to everybody else.
    pub(crate) batches_lost: u8,
    pub(crate) postgres_crashes: u8,
    /// The relay stops waiting for a reply; the request may be lost, late or answered into the void.
    pub(crate) timeouts: u8,
    /// A request is sent again as it is (another host, a network that repeats).
    pub(crate) repeats: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) committed: Events,
    pub(crate) published: Events,
    pub(crate) failed: Events,
    /// Rows whose `xmax` tells of a row lock that was not settled.
    pub(crate) traces: Events,
    pub(crate) attempts: [u8; EVENTS_MAX],
    /// Events older than the last crash of PostgreSQL, as `server_start` tells.
    pub(crate) before_crash: Events,
    /// PostgreSQL has crashed and nobody has connected since.
    pub(crate) unmarked: bool,
    pub(crate) records: [Option<Record>; TENANTS_MAX],
    pub(crate) relays: Vec<Batch>,
    /// Records whose relay no longer waits for them.
    pub(crate) late_records: Vec<(u8, Record)>,
    /// Requests whose relay no longer waits for them.
    pub(crate) late_requests: Vec<Request>,
    /// Events that subscribers have received.
    pub(crate) accepted: Events,
    pub(crate) accepted_alone: Events,
    pub(crate) accepted_groups: Vec<(u8, Events)>,
    pub(crate) faults: Faults,
}

impl State {
    pub(crate) fn new(relays: usize, faults: Faults) -> Self {
        Self {
            committed: 0,
            published: 0,
            failed: 0,
            traces: 0,
            attempts: [0; EVENTS_MAX],
            before_crash: 0,
            unmarked: false,
            records: [None; TENANTS_MAX],
            relays: vec![Batch::Idle; relays],
            late_records: Vec::new(),
            late_requests: Vec::new(),
            accepted: 0,
            accepted_alone: 0,
            accepted_groups: Vec::new(),
            faults,
        }
    }

    pub(crate) fn pending(&self) -> Events {
        self.committed & !self.published & !self.failed
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { pending: self.pending(), attempts: self.attempts, records: self.records }
    }

    /// A base that nothing in the state names.
    pub(crate) fn fresh_base(&self) -> u8 {
        self.bases().into_iter().max().map_or(0, |base| base + 1)
    }

    fn bases(&self) -> Vec<u8> {
        let mut bases: Vec<u8> = self.records.iter().flatten().map(|r| r.base).collect();
        let parts = self.relays.iter().flat_map(Batch::parts).map(|part| part.request.ids);
        let late = self.late_requests.iter().map(|request| request.ids);
        bases.extend(parts.chain(late).filter_map(|ids| match ids {
            Ids::Alone => None,
            Ids::Group(base) => Some(base),
        }));
        bases.extend(self.late_records.iter().map(|(_, record)| record.base));
        for relay in &self.relays {
            if let Batch::Begun(old) | Batch::Locked { old, .. } = relay {
                bases.extend(old.records.iter().flatten().map(|r| r.base));
            }
        }
        bases
    }

    /// One state for all that differ by the names of relays and bases alone, and by what can matter no more.
    pub(crate) fn canonical(mut self) -> Self {
        self.relays.sort();
        self.late_records.sort();
        self.late_requests.sort();
        self.late_requests.dedup();
        let settled = self.published | self.failed;
        self.traces &= !settled;
        self.before_crash &= !settled;
        let mut names: Vec<u8> = Vec::new();
        for base in self.bases() {
            if !names.contains(&base) {
                names.push(base);
            }
        }
        // Nobody can send under the others again.
        self.accepted_groups.retain(|(base, _)| names.contains(base));
        let name = |base: &mut u8| {
            let index = names.iter().position(|name| name == base).unwrap_or(names.len());
            *base = u8::try_from(index).unwrap();
        };
        let rename = |request: &mut Request| {
            if let Ids::Group(base) = &mut request.ids {
                name(base);
            }
        };
        self.records.iter_mut().flatten().for_each(|record| name(&mut record.base));
        for relay in &mut self.relays {
            relay.parts_mut().iter_mut().for_each(|part| rename(&mut part.request));
            if let Batch::Begun(old) | Batch::Locked { old, .. } = relay {
                old.records.iter_mut().flatten().for_each(|record| name(&mut record.base));
            }
        }
        self.late_requests.iter_mut().for_each(rename);
        self.late_records.iter_mut().for_each(|(_, record)| name(&mut record.base));
        self.accepted_groups.iter_mut().for_each(|(base, _)| name(base));
        self.accepted_groups.sort_unstable();
        self
    }

    /// Identity of a canonical state: 64 bits, so that a million states collide once in 30 million runs.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}
