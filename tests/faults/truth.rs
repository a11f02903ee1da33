//! The metrics of all relays against the database, when a row is over: what was counted meanwhile, and whether
//! every number is true while something waits, something is on hold and something has failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::figures::Figures;
use super::row::{Fault, First};
use super::run::World;
use super::signs::Signs;
use super::writers::{insert, tenant};

/// How long the numbers may take to be true: a look is up to 2 s old, a batch counts after its commit, and a
/// relay that has lost a connection notices with its next statement.
const TRUE_WITHIN: Duration = Duration::from_secs(40);

/// Events that are published, fail, and wait.
const GOOD: u32 = 20;
const BAD: u32 = 1;
const HELD: u32 = 3;

/// How old a look may be, and that by a clock of another process, in seconds.
const LOOK_AGE_MAX: f64 = 4.0;

const EVENT_TYPE: &str = "kitchen.task.claimed";

/// What the metrics of a run were worth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Published events that were counted, by relays that could be asked to the end or not.
    pub(crate) counted: u64,
    /// Whether all of them had to be.
    pub(crate) exact: bool,
    /// Troubles that showed.
    pub(crate) shown: Vec<&'static str>,
    /// What was not true, each a line.
    pub(crate) lies: Vec<String>,
}

/// The database.
#[derive(Debug, Clone, Default)]
struct Truth {
    pending: f64,
    oldest_age: f64,
    dead_letters: f64,
    held: BTreeMap<String, f64>,
    notify_queue: f64,
}

impl World {
    /// Holds what all relays say against what is so. Writes some events of its own; when it is over nothing waits.
    pub(crate) async fn hold_metrics_to_the_truth(
        &mut self,
        client: &Client,
        acknowledged: &mut Vec<String>,
    ) -> Told {
        let mut lies = Vec::new();
        self.ably.clear_faults().await;
        lies.extend(self.become_true(client).await);
        let before = self.counts();
        let barred = r#"{"kind":"status","status":401,"code":40160,"channel":"tenant:held"}"#;
        self.ably.fault(barred).await;
        let begun = Instant::now();
        acknowledged.append(&mut self.write(client).await);
        self.wait_until_held(client, &mut lies).await;
        lies.extend(self.become_true(client).await);
        let took = begun.elapsed().as_secs_f64();
        lies.extend(self.counts().since(&before, took, self.row.first));
        self.ably.clear_faults().await;
        client.batch_execute("delete from outbox.hold").await.expect("release");
        self.wait_for_the_drain(client).await;
        lies.extend(self.become_true(client).await);
        let signs = Signs::of(&self.row);
        let exact = !self.row.faults.iter().any(ends_relays)
            && !signs.may_miss_commits()
            && self.row.first != First::Older;
        lies.extend(self.all_counts(client, exact).await);
        let (shown, more) = signs.judge(&self.memory);
        lies.extend(more);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let counted = self.memory.total("events_published_total") as u64;
        Told { counted, exact, shown, lies }
    }

    async fn write(&self, client: &Client) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..GOOD {
            let tenant = tenant(usize::try_from(n).expect("small") % self.row.load.tenants);
            ids.push(insert(client, &tenant, EVENT_TYPE, "{}").await.expect("insert"));
        }
        for _ in 0..BAD {
            let poison = r#"{"poison":"no module"}"#;
            ids.push(insert(client, "alone", "nodot", poison).await.expect("insert"));
        }
        for _ in 0..HELD {
            ids.push(insert(client, "held", EVENT_TYPE, "{}").await.expect("insert"));
        }
        ids
    }

    /// Until only the tenant that is barred waits.
    async fn wait_until_held(&self, client: &Client, lies: &mut Vec<String>) {
        let sql = "select count(*) from outbox.event where status = 'pending'";
        let end = Instant::now() + TRUE_WITHIN;
        loop {
            let pending: i64 = client.query_one(sql, &[]).await.expect(sql).get(0);
            let held = "select exists (select from outbox.hold where reason = 'capability')";
            let held: bool = client.query_one(held, &[]).await.expect(held).get(0);
            if pending == i64::from(HELD) && held {
                return;
            }
            if Instant::now() > end {
                return lies.push(format!("{pending} events wait, on hold: {held}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every relay says of now what is so; what is not true by then.
    async fn become_true(&mut self, client: &Client) -> Vec<String> {
        let end = Instant::now() + TRUE_WITHIN;
        loop {
            let before = truth(client).await;
            let all = self.scrape().await;
            let after = truth(client).await;
            let mut lies: Vec<String> = all
                .iter()
                .flat_map(|figures| untrue(figures, &before, &after, self.row.first))
                .collect();
            if all.len() < self.relays.len() {
                lies.push(format!("{} of {} relays answer", all.len(), self.relays.len()));
            }
            if lies.is_empty() || Instant::now() > end {
                return lies;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn counts(&self) -> Counts {
        let total = |metric| self.memory.total(metric);
        Counts {
            published: total("events_published_total"),
            failed: total("events_failed_total"),
            timed: total("commit_to_accepted_seconds_count"),
            seconds: total("commit_to_accepted_seconds_sum"),
            capability: self
                .memory
                .counted("publishes_total")
                .get(r#"{result="capability"}"#)
                .copied()
                .unwrap_or_default(),
        }
    }

    /// Every series of what was published and what failed, over the whole run.
    async fn all_counts(&self, client: &Client, exact: bool) -> Vec<String> {
        let published = "select format('{event_type=\"%s\"}', event_type), count(*) \
                         from outbox.event where status = 'published' group by 1";
        let failed = "select format('{event_type=\"%s\",code=\"%s\",ably_code=\"%s\"}', event_type, \
                      error->>'code', error->>'ablyErrorCode'), count(*) \
                      from outbox.event where status = 'failed' group by 1";
        let mut lies = Vec::new();
        for (metric, sql) in
            [("events_published_total", published), ("events_failed_total", failed)]
        {
            let rows = client.query(sql, &[]).await.expect(sql);
            let stored: BTreeMap<String, f64> =
                rows.iter().map(|row| (row.get(0), number(row.get(1)))).collect();
            let counted = self.memory.counted(metric);
            let more = counted
                .iter()
                .any(|(labels, n)| *n > stored.get(labels).copied().unwrap_or_default());
            if more || (exact && counted != stored) {
                lies.push(format!("{metric}: counted {counted:?}, stored {stored:?}"));
            }
        }
        lies
    }
}

/// Sums over all relays.
#[derive(Debug, Clone, Copy)]
struct Counts {
    published: f64,
    failed: f64,
    timed: f64,
    seconds: f64,
    capability: f64,
}

impl Counts {
    fn since(self, before: &Self, took: f64, first: First) -> Vec<String> {
        let mut lies = Vec::new();
        let mut exactly = |what: &str, now: f64, before: f64, wanted: u32| {
            if now - before != f64::from(wanted) {
                lies.push(format!("{what}: {} counted, {wanted} were", now - before));
            }
        };
        exactly("published", self.published, before.published, GOOD);
        exactly("failed", self.failed, before.failed, BAD);
        exactly("timed", self.timed, before.timed, GOOD);
        let seconds = self.seconds - before.seconds;
        // Whatever the relays' wall clocks say; monotonic clocks that run too fast measure too much.
        if seconds <= 0.0 || (first != First::ClocksFast && seconds > took * f64::from(GOOD)) {
            lies.push(format!("{GOOD} events in {took} s, which took {seconds} s together"));
        }
        if self.capability <= before.capability {
            lies.push("no publish was refused for want of a capability".into());
        }
        lies
    }
}

/// What a relay says of this moment that was not so between two looks at the database.
fn untrue(figures: &Figures, before: &Truth, after: &Truth, first: First) -> Vec<String> {
    let mut lies = Vec::new();
    let mut between = |name: &str, low: f64, high: f64| match figures.get(name) {
        Some(value) if (low..=high).contains(&value) => {}
        // The version before may lack what this one has, and does not ask Ably when nothing waits any more.
        None if first == First::Older => {}
        Some(_) if first == First::Older && name.starts_with("breaker_open{") => {}
        // Time-outs are over 40 times as early, so a slow answer is an outage; and while events are on hold, a relay that
        // finds nothing to publish does not ask either.
        Some(_) if first == First::ClocksFast && name.starts_with("breaker_open{") => {}
        told => lies.push(format!("{name} is {told:?}, true is {low} to {high}")),
    };
    between("pending_events", before.pending, after.pending);
    between(
        "oldest_pending_age_seconds",
        (before.oldest_age - LOOK_AGE_MAX).max(0.0),
        after.oldest_age,
    );
    between("dead_letters", before.dead_letters, after.dead_letters);
    for reason in ["capability", "throttled_channel", "outage", "crashes", "blocked", "other"] {
        let held = before.held.get(reason).copied().unwrap_or_default();
        between(&format!("held_tenants{{reason=\"{reason}\"}}"), held, held);
    }
    for class in ["outage", "throttled_account", "configuration"] {
        between(&format!("breaker_open{{class=\"{class}\"}}"), 0.0, 0.0);
    }
    for scope in ["all", "tenant", "type"] {
        between(&format!("pauses{{scope=\"{scope}\"}}"), 0.0, 0.0);
    }
    between("notify_queue_usage_ratio", before.notify_queue - 0.01, after.notify_queue + 0.01);
    for (name, value) in [("listener_up", 1.0), ("database_up", 1.0), ("events_in_flight", 0.0)] {
        between(name, value, value);
    }
    lies
}

async fn truth(client: &Client) -> Truth {
    let sql = "select count(*) filter (where status = 'pending'), \
                      coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where status = 'pending')), 0)::float8, \
                      least(count(*) filter (where status = 'failed'), 10000), \
                      pg_notification_queue_usage() from outbox.event";
    let row = client.query_one(sql, &[]).await.expect(sql);
    let sql = "select reason, count(*) from outbox.hold where until > clock_timestamp() group by 1";
    let held = client.query(sql, &[]).await.expect(sql);
    Truth {
        pending: number(row.get(0)),
        oldest_age: row.get(1),
        dead_letters: number(row.get(2)),
        held: held.iter().map(|row| (row.get(0), number(row.get(1)))).collect(),
        notify_queue: row.get(3),
    }
}

fn number(count: i64) -> f64 {
    f64::from(i32::try_from(count).expect("a small count"))
}

/// Whether a fault ends relays, and with them what they have counted since they were asked.
fn ends_relays(fault: &Fault) -> bool {
    match fault {
        Fault::CrashAt(_) | Fault::TermAt(_) | Fault::TermAtStart | Fault::Term | Fault::StopAt(..)
        | Fault::KillAll | Fault::KillInRequest { .. } | Fault::Replicas(_)
        // Relays with fast clocks end at the start when the machine is busy.
        | Fault::AnHourAway => true,
        Fault::Backends | Fault::Listeners | Fault::Ably(..) | Fault::Blackhole(_) | Fault::Refuse(_)
        | Fault::Restart | Fault::Crash | Fault::Promote | Fault::PromoteBesideReader
        | Fault::TriggerOff | Fault::BulkCopy | Fault::Backlog(_) | Fault::Nothing(_) => false,
    }
}
