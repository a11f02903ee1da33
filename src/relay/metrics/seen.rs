//! What metrics remember of a claim's events until they are settled.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::Metrics;
use super::labels::{NameBook, WokenBy};
use crate::domain::event::Seq;
use crate::relay::recent::Stages;
use crate::store::claim::{Claim, Claimed};

/// How long an event must have waited to count as found by the sweep: a notification that is just arriving
/// while the sweep reads is not lost.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// The events of one claim.
#[derive(Debug)]
pub(in crate::relay) struct Seen {
    /// Why the relay looked, and when it was told to.
    woken: Option<(WokenBy, Instant)>,
    /// When the claim began.
    began: Instant,
    claimed: Instant,
    /// When the request left.
    sent: Option<Instant>,
    /// When Ably's answers were complete.
    accepted: Option<Instant>,
    events: HashMap<Seq, Event>,
}

#[derive(Debug)]
struct Event {
    event_type: String,
    /// How long it had waited when it was claimed; `None` when that means nothing.
    waited: Option<Duration>,
}

impl Seen {
    pub(super) fn of(
        claim: &Claim,
        names: &NameBook,
        began: Instant,
        woken: Option<(WokenBy, Instant)>,
    ) -> Self {
        let events = claim.runs.iter().flat_map(|run| &run.events).map(|claimed| {
            let event_type = names.name(&claimed.event.event_type);
            // A requeued event has waited for a person.
            let waited = claimed.waited.filter(|_| claimed.event.generation == 0);
            (claimed.event.seq, Event { event_type, waited })
        });
        let (claimed, events) = (Instant::now(), events.collect());
        Self { woken, began, claimed, sent: None, accepted: None, events }
    }

    /// The request leaves.
    pub(in crate::relay) fn sending(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// When each stage was passed, now that the outcome is committed.
    pub(super) fn stages(&self) -> Stages {
        let Self { woken, began, claimed, sent, accepted, .. } = *self;
        Stages { woken, began, claimed, sent, accepted, settled: Instant::now() }
    }

    pub(super) fn waited(&self, seq: Seq) -> Option<Duration> {
        self.events.get(&seq)?.waited
    }

    /// Ably has answered.
    pub(in crate::relay) fn answered(&mut self) {
        self.accepted = Some(Instant::now());
    }

    /// Gives events their types that were claimed without.
    pub(in crate::relay) fn name(&mut self, types: Vec<(Seq, String)>, metrics: &Metrics) {
        for (seq, event_type) in types {
            if let Some(event) = self.events.get_mut(&seq) {
                event.event_type = metrics.names.name(&event_type);
            }
        }
    }

    /// How many there are.
    pub(in crate::relay) fn events(&self) -> usize {
        self.events.len()
    }

    pub(super) fn event_type(&self, seq: Seq) -> String {
        self.events.get(&seq).map(|event| event.event_type.clone()).unwrap_or_default()
    }

    pub(super) fn by_type(&self, seqs: &[Seq]) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for event in seqs.iter().filter_map(|seq| self.events.get(seq)) {
            *counts.entry(&event.event_type).or_default() += 1;
        }
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    pub(super) fn latencies(&self, seqs: &[Seq]) -> impl Iterator<Item = Duration> {
        let since_claim = self.accepted.map(|accepted| accepted - self.claimed).unwrap_or_default();
        let waited = |seq| self.events.get(seq).and_then(|event| event.waited);
        seqs.iter().filter_map(waited).map(move |waited| waited + since_claim)
    }
}

/// Events that have waited so long for this claim that no notification can have been on its way, and while none was
/// heard for so long. What may have been tried before has waited for another reason; and so has what was
/// rung for: another relay had its tenant, and then found Ably away (seen: 2 events of 543 while a key was revoked).
pub(super) fn overdue(claim: &Claim, heard_ago: Option<Duration>) -> u64 {
    let runs = claim.runs.iter().filter(|run| run.hold_failures == 0 && run.group.is_none());
    let events = runs.flat_map(|run| &run.events);
    let silent = |waited: Duration| heard_ago.is_none_or(|ago| waited < ago);
    let late = |claimed: &&Claimed| {
        claimed.waited.is_some_and(|waited| waited >= LOST_AFTER && silent(waited))
    };
    let untried = |claimed: &&Claimed| {
        !claimed.lock_trace && claimed.event.attempts == 0 && claimed.event.generation == 0
    };
    events.filter(late).filter(untried).count() as u64
}
