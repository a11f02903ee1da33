//! The bell that is silent while a relay is awake: nothing waits for the sweep, and it fails open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outbox_relay::store::session::Store;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::support::local_ably::{LIMIT, LocalAbly};
use crate::support::outbox::{Outbox, count, insert, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

/// Without a sweep: only the bell, or the relay's being awake, explains that anything is published.
fn start(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    RelayCommand::new(&outbox.database.dsn(), ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .env("OUTBOX_RELAY_CHANNEL_RATE", "0")
        .start()
}

/// Counts notifications of the outbox until it is dropped: those without a payload, and the test's own.
struct Ear {
    heard: Arc<[AtomicU64; 2]>,
    _listening: JoinSet<()>,
}

impl Ear {
    async fn of(store: Store) -> Self {
        let mut listening = store.listen(&["outbox"]).await.expect("listen");
        let heard = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (counted, mut tasks) = (Arc::clone(&heard), JoinSet::new());
        tasks.spawn(async move {
            while let Ok(heard) = listening.next().await {
                counted[usize::from(!heard.payload.is_empty())].fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { heard, _listening: tasks }
    }

    fn count(&self) -> u64 {
        self.heard[0].load(Ordering::Relaxed)
    }

    fn ours(&self) -> u64 {
        self.heard[1].load(Ordering::Relaxed)
    }

    fn forget_ours(&self) {
        self.heard[1].store(0, Ordering::Relaxed);
    }
}

/// How a writer goes about it.
#[derive(Clone, Copy)]
struct Habit {
    /// Longest pause between two transactions.
    pause_ms: u64,
    /// How long a transaction stays open after its insert, at most.
    open_ms: u64,
    repeatable_read: bool,
    only_when_busy: bool,
}

/// Commits one event after the other until told to stop: their ids, and when each was committed.
async fn write(
    client: TestClient,
    tenant: String,
    habit: Habit,
    (busy, stop): (Arc<AtomicBool>, Arc<AtomicBool>),
) -> Vec<(String, SystemTime)> {
    let mut committed = Vec::new();
    let sleep = async |at_most: u64| {
        if at_most > 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=at_most))).await;
        }
    };
    while !stop.load(Ordering::Relaxed) {
        if habit.only_when_busy && !busy.load(Ordering::Relaxed) {
            sleep(20).await;
            continue;
        }
        let isolation = if habit.repeatable_read { "repeatable read" } else { "read committed" };
        let begin = format!("begin isolation level {isolation}; select 1 from outbox.hold limit 1");
        client.batch_execute(&begin).await.expect("begin");
        if habit.repeatable_read {
            // Its snapshot is from before the flag was raised or lowered.
            sleep(habit.open_ms).await;
        }
        let id = insert(&client, &tenant, &format!("{{\"n\":{}}}", committed.len())).await;
        sleep(habit.open_ms).await;
        client.batch_execute("commit").await.expect("commit");
        committed.push((id, SystemTime::now()));
        sleep(habit.pause_ms).await;
    }
    committed
}

/// Milliseconds from the commit of each event to its settlement, in order.
async fn ages(client: &Client, committed: &HashMap<String, SystemTime>) -> Vec<i128> {
    let sql = "select id, published_at from outbox.event where status = 'published'";
    let rows = client.query(sql, &[]).await.expect("ages");
    let micros =
        |at: SystemTime| at.duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i128;
    let age = |row: &tokio_postgres::Row| {
        let at = micros(committed[row.get::<_, &str>(0)]);
        (micros(row.get(1)) - at) / 1_000
    };
    let mut ages: Vec<i128> = rows.iter().map(age).collect();
    ages.sort_unstable();
    ages
}

/// What a stopped relay says that the sweep has found.
fn swept(mut relay: RelayProcess) -> u64 {
    relay.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(relay.wait(), Some(0));
    let log = relay.log();
    let stopped = log.iter().find(|line| line["message"] == "relay stopped").expect("its end");
    stopped["swept"].as_u64().unwrap_or_else(|| panic!("no count in {stopped}"))
}

/// Two relays that doze off and wake up again and again, and writers that make it hard for them: long
/// transactions, old snapshots, bursts and silence. `BELL_STRESS_SECONDS` makes it longer.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_the_sweep_however_writers_come_and_go() {
    let (outbox, ably) = (Outbox::create("bellstress").await, LocalAbly::start().await);
    let relays = [start(&outbox, &ably), start(&outbox, &ably)];
    relays.iter().for_each(RelayProcess::wait_until_listening);
    let client = outbox.connect().await;
    let ear = Ear::of(outbox.store()).await;
    let (busy, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let habit = |pause_ms, open_ms, repeatable_read, only_when_busy| Habit {
        pause_ms,
        open_ms,
        repeatable_read,
        only_when_busy,
    };
    let habits = [
        vec![habit(0, 0, false, true); 6],
        vec![habit(300, 0, false, false); 3],
        vec![habit(300, 120, false, false); 3],
        vec![habit(300, 120, true, false); 3],
        vec![habit(0, 1_500, false, false); 2],
    ];
    let mut writers = JoinSet::new();
    for (n, habit) in habits.concat().into_iter().enumerate() {
        let flags = (Arc::clone(&busy), Arc::clone(&stop));
        writers.spawn(write(outbox.connect().await, format!("tenant-{n}"), habit, flags));
    }
    let seconds =
        std::env::var("BELL_STRESS_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        busy.fetch_xor(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..900))).await;
    }
    stop.store(true, Ordering::Relaxed);
    let committed: HashMap<String, SystemTime> =
        writers.join_all().await.into_iter().flatten().collect();
    wait_until(&client, "select not exists (select from outbox.event where status = 'pending')")
        .await;
    let heard = ear.count();
    let ages = ages(&client, &committed).await;
    assert_eq!(ages.len(), committed.len(), "all are published");
    let at = |share: usize| ages[(ages.len() - 1) * share / 1_000];
    println!(
        "{} transactions, {heard} notifications; commit to settlement in ms: p50 {} p99 {} p99.9 {} most {}",
        ages.len(),
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    assert!(at(1_000) < 5_000, "an event waited {} ms", at(1_000));
    assert!(heard * 3 < ages.len() as u64, "{heard} notifications for {} transactions", ages.len());

    // All is quiet: the relays doze, and the next event rings.
    wait_until(
        &client,
        "select last_value <= 1000 * extract(epoch from clock_timestamp()) from outbox.awake_until",
    )
    .await;
    let (before, published) = (ear.count(), count(&client, "published").await);
    insert(&client, "quiet", r#"{"n":0}"#).await;
    ably.wait_for(usize::try_from(published).unwrap() + 1).await;
    wait_until(&client, "select not exists (select from outbox.event where status = 'pending')")
        .await;
    assert!(ear.count() > before, "nobody rang while all relays dozed");
    assert_eq!(relays.map(swept), [0, 0], "events that only the sweep has found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_was_told_of_by_nobody_it_finds_when_the_flag_of_another_has_run_out() {
    let (outbox, ably) = (Outbox::create("bellcrash").await, LocalAbly::start().await);
    let relay = start(&outbox, &ably);
    relay.wait_until_listening();
    let mut client = outbox.connect().await;
    let other = outbox.connect().await;
    // No writer rings.
    other.batch_execute("alter table outbox.event disable trigger event_bell").await.unwrap();
    for n in 0..3 {
        // Another relay raises the flag and dies. One event is committed meanwhile, one only much later.
        let late = client.transaction().await.unwrap();
        raise(late.client(), 1_000).await;
        insert(late.client(), "late", &format!("{{\"n\":{n}}}")).await;
        insert(&other, "soon", &format!("{{\"n\":{n}}}")).await;
        ably.wait_for(2 * n + 1).await;
        late.commit().await.unwrap();
        ably.wait_for(2 * n + 2).await;
    }
    assert_eq!(swept(relay), 0);
}

/// Sets the flag this many milliseconds ahead.
async fn raise(client: &Client, ahead: i64) {
    let sql = "select setval('outbox.awake_until', (1000 * extract(epoch from clock_timestamp()))::bigint + $1)";
    client.query_one(sql, &[&ahead]).await.expect("raise");
}

/// Inserts an event; whether that rang.
async fn rings(client: &Client, ear: &Ear) -> bool {
    let before = ear.count();
    insert(client, "a", r#"{"n":0}"#).await;
    // Our own comes behind it.
    client.batch_execute("notify outbox, 'ours'").await.expect("notify");
    let heard = async {
        while ear.ours() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, heard).await.expect("our own notification");
    ear.forget_ours();
    ear.count() > before
}

#[tokio::test]
async fn whatever_is_odd_about_the_flag_rings() {
    let outbox = Outbox::create("bellodd").await;
    let client = outbox.connect().await;
    let ear = Ear::of(outbox.store()).await;
    assert!(rings(&client, &ear).await, "nobody has ever been awake");
    raise(&client, 2_000).await;
    assert!(!rings(&client, &ear).await, "somebody is awake");
    for ahead in [0, -1, 600_000] {
        raise(&client, ahead).await;
        assert!(rings(&client, &ear).await, "{ahead} ms ahead");
    }
    let most = "select setval('outbox.awake_until', 9223372036854775807)";
    client.batch_execute(most).await.unwrap();
    assert!(rings(&client, &ear).await, "an absurd value");

    let role = format!("writer_{:08x}", fastrand::u32(..));
    let grants = format!(
        "create role {role}; grant usage on schema outbox to {role};
         grant insert, select (id) on outbox.event to {role}; set role {role}"
    );
    client.batch_execute(&grants).await.unwrap();
    let owner = outbox.connect().await;
    raise(&owner, 2_500).await;
    assert!(!rings(&client, &ear).await, "any writer may look");
    owner.batch_execute("revoke all on sequence outbox.awake_until from public").await.unwrap();
    raise(&owner, 2_500).await;
    assert!(rings(&client, &ear).await, "one that may not look rings, and writes");
    owner.batch_execute("drop sequence outbox.awake_until").await.unwrap();
    assert!(rings(&client, &ear).await, "without a sequence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_the_flag_says_so_once_and_goes_on_with_the_bell() {
    let (outbox, ably) = (Outbox::create("bellgone").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    client.batch_execute("drop sequence outbox.awake_until").await.unwrap();
    let relay = start(&outbox, &ably);
    relay.wait_until_listening();
    relay.wait_for_log("the bell cannot be silenced", 1);
    for n in 0..60 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    ably.wait_for(60).await;
    assert_eq!(relay.complaints().len(), 1);
    assert_eq!(swept(relay), 0);
}
