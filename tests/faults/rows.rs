//! The table: what is made to fail, and where that was met.

use std::time::Duration;

use super::row::{Ably, Doubles, Fault, First, Load, Place, Row};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const KILLED: &str = "a crash between publish and mark: republished, seen twice";
const TERMINATED: &str = "a deploy ends the relay in mid-batch: rows stay claimed";

const fn crash(name: &'static str, faults: &'static [Fault]) -> Row {
    Row { name, reported: KILLED, faults, rounds: 3, ..Row::CALM }
}

const fn term(name: &'static str, faults: &'static [Fault]) -> Row {
    Row { name, reported: TERMINATED, faults, rounds: 2, ..Row::CALM }
}

const fn trouble(name: &'static str, reported: &'static str, faults: &'static [Fault]) -> Row {
    Row { name, reported, faults, rounds: 2, ..Row::CALM }
}

/// Short time-outs towards Ably, so that a fault of seconds outlasts all of them.
const SHORT: &[(&str, &str)] =
    &[("OUTBOX_RELAY_ABLY_REQUEST_TIMEOUT", "1s"), ("OUTBOX_RELAY_ABLY_CONNECT_TIMEOUT", "500ms")];

/// Slow enough for a fault to find requests in flight.
const SLOW: Ably = Ably { delay_ms: 40, ..Ably::USUAL };

/// Rows that take about a minute; they start first.
pub(crate) const LONG: &[Row] = &[
    Row {
        name: "Ably away for an hour, by the relays' clocks, which run 40 times as fast",
        reported: "retries run out in an outage: good events are dead letters, or gone",
        faults: &[Fault::AnHourAway],
        first: First::ClocksFast,
        load: Load::QUIET,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "SIGSTOP before the request, longer than every time-out",
        reported: "a paused process goes on as if it still owned its rows",
        faults: &[Fault::StopAt("before_request", s(52)), Fault::Nothing(s(2))],
        load: Load::QUIET,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "SIGSTOP after the answer, longer than every time-out",
        reported: "a paused process goes on as if it still owned its rows",
        faults: &[Fault::StopAt("before_settle", s(52)), Fault::Nothing(s(2))],
        load: Load::QUIET,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "SIGSTOP before the request, longer than Ably's memory",
        reported: "a late request of a paused process is taken for a new one",
        faults: &[Fault::StopAt("before_request", s(52)), Fault::Nothing(s(2))],
        // With a second batch, Ably may have accepted that one when the process is stopped. Nobody can settle it within
        // the window then, so it is repeated, as the contract says (seen: 1 event of 3,706).
        env: &[("OUTBOX_RELAY_MAX_IN_FLIGHT", "1")],
        load: Load::QUIET,
        ably: Ably { window: s(3), ..Ably::USUAL },
        once: true,
        ..Row::CALM
    },
    Row {
        name: "Ably down longer than it remembers ids, replies lost before",
        reported: "dedup windows end; what then?",
        faults: &[Fault::Nothing(s(1)), Fault::Refuse(s(18))],
        rounds: 2,
        env: SHORT,
        first: First::AblyByProxy,
        load: Load::QUIET,
        // Longer than the relay's longest pause of 15 s, as Ably's two minutes are.
        ably: Ably { window: s(16), delay_ms: 8, lost_replies: 20 },
        doubles: Doubles::ByContract,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "half-open TCP to PostgreSQL",
        reported: "a firewall forgets the connection: pings and LISTEN hang for hours",
        faults: &[Fault::Blackhole(s(4))],
        first: First::PostgresByProxy,
        load: Load::QUIET,
        ably: SLOW,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "backlog of one tenant beside a tenant with one event",
        reported: "one customer's import delays all others",
        faults: &[Fault::Backlog(100_000)],
        load: Load::QUIET,
        once: true,
        ..Row::CALM
    },
    Row {
        name: "COPY of 100,000 rows in one transaction",
        reported: "stale statistics: the claim scans and sorts the table for 30 s",
        faults: &[Fault::BulkCopy],
        once: true,
        ..Row::CALM
    },
];

/// All others.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "two versions of the relay at once, killed and replaced",
        reported: "a rolling deploy: old and new disagree on what is in flight",
        faults: &[
            Fault::Nothing(s(1)),
            Fault::KillAll,
            Fault::Term,
            Fault::Backends,
            Fault::KillAll,
        ],
        first: First::Older,
        ably: Ably { delay_ms: 15, lost_replies: 10, ..Ably::USUAL },
        rounds: 2,
        relays: 4,
        ..Row::CALM
    },
    Row {
        name: "1, 2, 4 and 8 replicas, which join and leave",
        reported: "an autoscaler adds and removes workers: a leader is sought, events come twice or out of order",
        faults: &[
            Fault::Replicas(1),
            Fault::Replicas(2),
            Fault::Replicas(4),
            Fault::Replicas(8),
            Fault::Replicas(4),
            Fault::Replicas(1),
            Fault::Replicas(8),
            Fault::Replicas(2),
        ],
        relays: 1,
        rounds: 1,
        ably: Ably { lost_replies: 3, ..Ably::USUAL },
        ..Row::CALM
    },
    crash("kill -9 before the claim", &[Fault::CrashAt("before_claim")]),
    crash("kill -9 after the claim", &[Fault::CrashAt("after_claim")]),
    crash("kill -9 after the group is recorded", &[Fault::CrashAt("after_record")]),
    crash("kill -9 before the request", &[Fault::CrashAt("before_request")]),
    crash(
        "kill -9 with a request out that Ably has not accepted",
        &[Fault::KillInRequest { accepted: false }],
    ),
    crash(
        "kill -9 with a request out that Ably has accepted",
        &[Fault::KillInRequest { accepted: true }],
    ),
    crash("kill -9 after the answer, before the settlement", &[Fault::CrashAt("before_settle")]),
    crash("kill -9 after the settlement", &[Fault::CrashAt("after_settle")]),
    Row {
        ably: Ably { delay_ms: 15, lost_replies: 5, ..Ably::USUAL },
        rounds: 8,
        ..crash("kill -9 of all relays at any moment, replies lost besides", &[Fault::KillAll])
    },
    term("SIGTERM while starting", &[Fault::TermAtStart, Fault::TermAtStart, Fault::TermAtStart]),
    term("SIGTERM before the claim", &[Fault::TermAt("before_claim")]),
    term("SIGTERM after the claim", &[Fault::TermAt("after_claim")]),
    term("SIGTERM before the request", &[Fault::TermAt("before_request")]),
    term("SIGTERM after the answer", &[Fault::TermAt("before_settle")]),
    Row { ably: SLOW, rounds: 5, ..term("SIGTERM at any moment, rolling", &[Fault::Term]) },
    trouble(
        "all server processes of the relays ended",
        "an administrator or a failover ends connections: the relay exits or hangs",
        &[Fault::Backends, Fault::Backends, Fault::Backends],
    ),
    trouble(
        "listener ended",
        "LISTEN is not renewed: events wait for a restart",
        &[Fault::Listeners, Fault::Listeners],
    ),
    trouble(
        "PgBouncer before the relays, PostgreSQL crashes behind it",
        "a pooler hides that the server was gone",
        &[Fault::Crash],
    )
    .at(Place::Pooled),
    trouble("PostgreSQL restarted", "the relay needs a restart too", &[Fault::Restart])
        .at(Place::Own),
    trouble(
        "PostgreSQL crashed and recovered",
        "events in flight at the crash come twice or never",
        &[Fault::Crash],
    )
    .at(Place::Own),
    Row {
        rounds: 1,
        ..trouble(
            "failover to a synchronous standby, old primary gone",
            "writes fail until somebody restarts the relay",
            &[Fault::Promote, Fault::Nothing(s(1))],
        )
        .at(Place::Pair)
    },
    Row {
        rounds: 1,
        ..trouble(
            "failover, old primary comes back read-only",
            "the relay stays at a server that can no longer be written to",
            &[Fault::PromoteBesideReader, Fault::Nothing(s(1))],
        )
        .at(Place::Pair)
    },
    Row {
        env: SHORT,
        first: First::AblyByProxy,
        ..trouble(
            "half-open TCP to Ably",
            "a publish never returns: the batch hangs",
            &[Fault::Blackhole(s(2))],
        )
    },
    Row {
        env: SHORT,
        first: First::AblyByProxy,
        ..trouble("Ably unreachable", "an outage fills the dead letters", &[Fault::Refuse(s(2))])
    },
    trouble(
        "replies lost after acceptance",
        "accepted, retried under another id, seen twice",
        &[
            Fault::Ably(r#"{"kind":"reply_lost","delay_ms":200,"probability":0.4}"#, 1_500),
            Fault::Ably(r#"{"kind":"reset_after","probability":0.5}"#, 1_500),
        ],
    ),
    trouble(
        "errors after acceptance (5xx)",
        "a retry after 503 is a repeat",
        &[Fault::Ably(
            r#"{"kind":"status_after","status":503,"code":50003,"probability":0.6}"#,
            1_500,
        )],
    ),
    trouble(
        "5xx, resets and silence before acceptance",
        "provider trouble consumes the attempts of good events",
        &[
            Fault::Ably(r#"{"kind":"status","status":500,"code":50000}"#, 1_000),
            Fault::Ably(r#"{"kind":"reset_before","probability":0.7}"#, 1_000),
            Fault::Ably(r#"{"kind":"hang_before","delay_ms":300,"probability":0.7}"#, 1_000),
        ],
    ),
    trouble(
        "429 of a channel (42913)",
        "throttled tenants are dead-lettered or block all",
        &[Fault::Ably(r#"{"kind":"throttle_channel","probability":0.7}"#, 1_500)],
    ),
    trouble(
        "429 of the account (42917)",
        "a hot loop of retries makes throttling worse",
        &[Fault::Ably(r#"{"kind":"throttle_account","probability":0.8}"#, 1_500)],
    ),
    trouble(
        "429 of the edge (42922, a page of HTML)",
        "an answer that is not JSON kills the publisher",
        &[Fault::Ably(r#"{"kind":"throttle_edge","probability":0.8}"#, 1_500)],
    ),
    trouble(
        "key revoked and restored",
        "a rotated key dead-letters everything",
        &[Fault::Ably(r#"{"kind":"unauthorized"}"#, 1_500)],
    ),
    Row {
        first: First::ClocksApart,
        ably: Ably { lost_replies: 3, ..Ably::USUAL },
        ..trouble(
            "clocks of the relays 10 minutes ahead and behind",
            "leases and schedules by the client's clock",
            &[Fault::CrashAt("before_settle"), Fault::Nothing(s(1))],
        )
    },
    Row {
        // A relay that is at work or awake needs no bell, and two sweep more often than one: so that events wait for a sweep.
        relays: 1,
        load: Load { pause_ms: 2_000, ..Load::ORDINARY },
        ..trouble(
            "trigger disabled",
            "NOTIFY never sent: events wait for ever",
            &[Fault::TriggerOff],
        )
    },
    Row {
        load: Load { open_throughout: true, ..Load::ORDINARY },
        ..trouble(
            "a transaction that stays open across everything",
            "one open transaction anywhere stalls all delivery",
            &[Fault::Backends, Fault::CrashAt("before_settle"), Fault::Nothing(s(1))],
        )
    },
    Row {
        load: Load { overlapping: true, ..Load::ORDINARY },
        ..trouble(
            "commits out of sequence order",
            "a cursor passes over what commits late: lost",
            &[Fault::Nothing(s(2)), Fault::CrashAt("before_settle")],
        )
    },
    Row {
        // A poison row takes some requests to be found, and a channel takes 45 a second: with writers as fast as
        // elsewhere the backlog, a third of it poison, outgrows the time for a run.
        load: Load { poison: true, pause_ms: 150, ..Load::ORDINARY },
        ..trouble(
            "poison rows in the middle of batches",
            "one bad row blocks or fails its neighbours",
            &[Fault::Nothing(s(1)), Fault::CrashAt("before_settle"), Fault::KillAll],
        )
    },
];

impl Row {
    const fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}
