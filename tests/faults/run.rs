//! One run of a row: everything is started, the faults happen, all is waited for, and judged.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use outbox_relay::emulator::EmulatorConfig;
use tokio_postgres::Client;

use super::figures::Memory;
use super::older;
use super::place::Place;
use super::proxy::{Proxy, Upstream};
use super::row::{FASTER, Fault, First, Place as Kind, Row};
use super::subscriber::Subscriber;
use super::truth::Told;
use super::verdict::{Left, Stored, Verdict};
use super::writers::{OVERLAPPING, Writers, connect, insert, tenant};
use crate::support::clock;
use crate::support::local_ably::LocalAbly;
use crate::support::relay::{RelayCommand, RelayProcess};

/// How long the rest may take when the last fault is over.
const DRAIN_LIMIT: Duration = Duration::from_secs(150);

/// Events of a backlog that a loaded machine publishes in a second at the least, in a debug build.
const EVENTS_PER_SECOND_MIN: u64 = 500;

/// How long a run may take; the slowest wait a minute for time-outs.
pub(crate) fn limit(row: &Row) -> Duration {
    Duration::from_secs(150) + drain_limit(row)
}

fn drain_limit(row: &Row) -> Duration {
    let backlog = |fault: &Fault| {
        if let Fault::Backlog(events) = fault { u64::try_from(*events).unwrap_or(0) } else { 0 }
    };
    let events: u64 = row.faults.iter().map(backlog).sum();
    DRAIN_LIMIT + Duration::from_secs(events / EVENTS_PER_SECOND_MIN)
}

/// Tenants of the faults that bring their own events.
pub(crate) const EXTRA_TENANTS: [&str; 5] = ["alone", "big", "small", OVERLAPPING, "held"];

/// Everything that a fault can lay hands on.
pub(crate) struct World {
    pub(crate) row: Row,
    pub(crate) rng: fastrand::Rng,
    pub(crate) place: Place,
    pub(crate) ably: LocalAbly,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) subscriber: Subscriber,
    pub(crate) relays: Vec<RelayProcess>,
    /// What the relays' metrics said.
    pub(crate) memory: Memory,
    /// Found in the environment of every process of this run.
    mark: String,
    pub(crate) injected: u32,
    pub(crate) complaints: Vec<String>,
    /// What a fault has measured.
    pub(crate) notes: Vec<String>,
    /// Ids of committed events that no writer knows of.
    pub(crate) acknowledged: Vec<String>,
}

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// What the relays' metrics were worth.
    pub(crate) told: Told,
    pub(crate) injected: u32,
    /// Repeats that the emulator recognised by their ids.
    pub(crate) repeats: u64,
    pub(crate) notes: Vec<String>,
}

/// Runs a row once.
pub(crate) async fn run(row: Row, seed: u64) -> Outcome {
    let mut world = World::start(row, seed).await;
    let held = match row.load.open_throughout {
        true => Some(world.hold_a_transaction_open().await),
        false => None,
    };
    let writers = Writers::start(&world.place.dsn(), row.load, &mut world.rng);
    for _ in 0..row.rounds {
        for fault in row.faults {
            let pause = Duration::from_millis(world.rng.u64(20..300));
            // Chance decides what the fault meets; that is what is wanted here.
            tokio::time::sleep(pause).await;
            world.inject(*fault).await;
            world.scrape().await;
        }
    }
    let mut acknowledged = writers.finish().await;
    acknowledged.append(&mut world.acknowledged);
    world.replace_the_dead();
    world.finish(acknowledged, held).await
}

impl World {
    async fn start(row: Row, seed: u64) -> Self {
        let place = Place::make(row.place, row.name).await;
        let config = EmulatorConfig {
            channel_rate_per_second: 0,
            dedup_window: row.ably.window,
            // One kind of poison is what Ably refuses and the relay lets pass.
            message_bytes_max: if row.load.poison { 16_000 } else { 65_536 },
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1 << 30,
            ..EmulatorConfig::default()
        };
        let ably = LocalAbly::with(config).await;
        let proxy = match row.first {
            First::PostgresByProxy => Some(Proxy::start(Upstream::Unix(place.socket())).await),
            First::AblyByProxy => Some(Proxy::start(Upstream::Tcp(ably.addr())).await),
            First::LikeOthers | First::ClocksApart | First::ClocksFast | First::Older => None,
        };
        let tenants: Vec<String> = (0..row.load.tenants)
            .map(tenant)
            .chain((0..10).map(|n| format!("bulk{n}")))
            .chain(EXTRA_TENANTS.map(str::to_owned))
            .collect();
        let subscriber = Subscriber::start(&ably.url(), &tenants).await;
        let mut world = Self {
            row,
            rng: fastrand::Rng::with_seed(seed),
            place,
            ably,
            proxy,
            subscriber,
            relays: Vec::new(),
            memory: Memory::new(),
            mark: format!("{}-{seed}-{:08x}", std::process::id(), fastrand::u32(..)),
            injected: 0,
            complaints: Vec::new(),
            notes: Vec::new(),
            acknowledged: Vec::new(),
        };
        world.usual_trouble().await;
        for number in 0..row.relays {
            let relay = world.command(number).start();
            world.relays.push(relay);
        }
        for number in 0..world.relays.len() {
            world.wait_until_listening(number).await;
        }
        world
    }

    /// Where clocks are fast, 20 s without an answer are half a second, in which a loaded machine opens no
    /// connection; a relay that starts says so and ends, and whoever supervises it starts it again.
    async fn wait_until_listening(&mut self, number: usize) {
        const STARTS_MAX: usize = 20;
        for _ in 0..STARTS_MAX {
            while self.row.first == First::ClocksFast && !self.relays[number].says("listening") {
                if self.relays[number].ended().is_some() {
                    self.relays[number] = self.command(number).start();
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        self.relays[number].wait_until_listening();
    }

    /// What Ably is like between faults.
    pub(crate) async fn usual_trouble(&self) {
        let ably = self.row.ably;
        if ably.delay_ms > 0 {
            self.ably.fault(&format!(r#"{{"kind":"delay","delay_ms":{}}}"#, ably.delay_ms)).await;
        }
        if ably.lost_replies > 0 {
            let share = f64::from(ably.lost_replies) / 100.0;
            let json = format!(r#"{{"kind":"reply_lost","delay_ms":300,"probability":{share}}}"#);
            self.ably.fault(&json).await;
        }
    }

    /// How the relay of this number is started.
    pub(crate) fn command(&self, number: usize) -> RelayCommand {
        let dsn = match (&self.proxy, self.row.first) {
            (Some(proxy), First::PostgresByProxy) if number == 0 => {
                self.place.dsn_through(proxy.addr())
            }
            _ => self.place.relay_dsn(),
        };
        let program = if self.row.first == First::Older && number.is_multiple_of(2) {
            older::program()
        } else {
            Path::new(env!("CARGO_BIN_EXE_outbox-relay"))
        };
        let command = RelayCommand::of(program, &dsn, &self.ably);
        let mut command =
            command.env("FAULTS_RUN", &self.mark).env("OUTBOX_RELAY_HTTP_LISTEN", "127.0.0.1:0");
        if !number.is_multiple_of(2) {
            // Its claims begin where it has proven that nothing waits before.
            command = command.env("FAILPOINT_FLOOR", "1");
        }
        if self.row.place == Kind::Pooled {
            command = command.env("DIRECT_URL", &self.place.dsn());
        }
        if let (Some(proxy), First::AblyByProxy) = (&self.proxy, self.row.first) {
            command = command.env("ABLY_ENDPOINT", &format!("http://{}", proxy.addr()));
        }
        if self.row.first == First::ClocksApart {
            let seconds = if number.is_multiple_of(2) { "600" } else { "-600" };
            command = command.env("LD_PRELOAD", clock::library()).env("CLOCK_SKEW_S", seconds);
        }
        if self.row.first == First::ClocksFast {
            command =
                command.env("LD_PRELOAD", clock::library()).env("CLOCK_RATE", &FASTER.to_string());
        }
        self.row.env.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// No fault of the matrix is a reason to give up; so that the rest is seen too, another takes its place.
    fn replace_the_dead(&mut self) {
        for number in 0..self.relays.len() {
            if let Some(status) = self.relays[number].ended() {
                self.complaints.push(format!("relay {number} ended by itself: {status}"));
                self.relays[number] = self.command(number).start();
            }
        }
    }

    /// An event whose transaction stays open until everything else has been delivered.
    async fn hold_a_transaction_open(&mut self) -> (Client, tokio::task::JoinSet<()>) {
        let (client, driver) = connect(&self.place.dsn()).await.expect("connect");
        client.batch_execute("begin").await.expect("begin");
        let id = insert(&client, "held", "kitchen.task.claimed", r#"{"n":1}"#).await;
        self.acknowledged.push(id.expect("insert"));
        (client, driver)
    }

    /// Waits until everything is delivered and settled, ends the relays, and judges.
    async fn finish(
        mut self,
        mut acknowledged: Vec<String>,
        held: Option<(Client, tokio::task::JoinSet<()>)>,
    ) -> Outcome {
        let (client, _driver) = connect(&self.place.dsn()).await.expect("connect");
        self.wait_for_the_drain(&client).await;
        if let Some((open, _driver)) = held {
            open.batch_execute("commit").await.expect("commit");
            self.wait_for_the_drain(&client).await;
        }
        let told = self.hold_metrics_to_the_truth(&client, &mut acknowledged).await;
        for relay in std::mem::take(&mut self.relays) {
            let number = self.complaints.len();
            match relay.terminate() {
                Some(0) => {}
                code => self.complaints.push(format!("relay {number} ended with {code:?}")),
            }
        }
        // A relay's server processes see the end of their sockets; one behind a black hole does not.
        self.proxy = None;
        self.place.end_the_pooler();
        let stats = self.ably.stats().await;
        let number = |name: &str| stats[name].as_u64().expect("a counter");
        let accepted = usize::try_from(number("accepted_messages")).expect("a count");
        if !self.subscriber.wait_for(accepted, Duration::from_secs(30)).await {
            self.complaints.push("the subscriber did not get all that was accepted".into());
        }
        let stored = stored(&client).await;
        let left = Left {
            records: records(&client).await,
            connections: connections(&client).await,
            processes: processes(&self.mark),
            forgotten_commits: forgotten(&stored, &acknowledged),
            complaints: self.complaints,
        };
        let unordered = HashSet::from([OVERLAPPING.to_owned()]);
        let verdict = Verdict::new(&stored, &self.subscriber.deliveries(), &unordered, left);
        Outcome {
            verdict,
            told,
            injected: self.injected,
            repeats: number("duplicates_suppressed"),
            notes: self.notes,
        }
    }

    pub(crate) async fn wait_for_the_drain(&mut self, client: &Client) {
        let deadline = Instant::now() + drain_limit(&self.row);
        let sql = "select not exists (select from outbox.event where status = 'pending') \
                   and not exists (select from outbox.in_flight) \
                   and not exists (select from outbox.hold)";
        while !client.query_one(sql, &[]).await.expect(sql).get::<_, bool>(0) {
            self.replace_the_dead();
            if Instant::now() > deadline {
                let limit = drain_limit(&self.row).as_secs();
                self.complaints.push(format!("events still wait after {limit} s"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn stored(client: &Client) -> Vec<Stored> {
    let sql = "select id, tenant_id, status, payload ? 'poison' from outbox.event order by seq";
    let rows = client.query(sql, &[]).await.expect(sql);
    let stored = |row: &tokio_postgres::Row| Stored {
        id: row.get(0),
        tenant: row.get(1),
        status: row.get(2),
        poison: row.get(3),
    };
    rows.iter().map(stored).collect()
}

async fn records(client: &Client) -> i64 {
    let sql = "select (select count(*) from outbox.in_flight) + (select count(*) from outbox.hold)";
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// Server processes of relays in this database; ending takes them a moment.
async fn connections(client: &Client) -> i64 {
    let theirs = "from pg_stat_activity where datname = current_database() \
                  and application_name like 'outbox-relay %'";
    for _ in 0..200 {
        let sql = format!("select count(*) {theirs}");
        let count: i64 = client.query_one(&sql, &[]).await.expect("activity").get(0);
        if count == 0 {
            return 0;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.query_one(&format!("select count(*) {theirs}"), &[]).await.expect("activity").get(0)
}

/// Processes that carry this run's mark.
fn processes(mark: &str) -> usize {
    let needle = format!("FAULTS_RUN={mark}");
    let marked = |entry: &std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes())
    };
    std::fs::read_dir("/proc").map_or(0, |all| all.flatten().filter(marked).count())
}

/// Events whose commit was acknowledged and that are not in the table.
fn forgotten(stored: &[Stored], acknowledged: &[String]) -> usize {
    let there: HashSet<&str> = stored.iter().map(|row| row.id.as_str()).collect();
    acknowledged.iter().filter(|id| !there.contains(id.as_str())).count()
}
