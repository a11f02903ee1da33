//! What events cost in statements, round trips and bytes. Not time: these counts are the same on every machine, and
//! somebody who adds a round trip to the way of an event finds out here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, insert, wait_until};
use crate::support::postgres::connect;
use crate::support::relay::RelayCommand;

/// What went through a [`Meter`].
#[derive(Debug, Default)]
struct Counts {
    /// Times at which the relay had to wait for PostgreSQL: something was sent after something came.
    round_trips: AtomicUsize,
    /// Messages that make PostgreSQL work: Execute and Query.
    statements: AtomicUsize,
    /// To PostgreSQL and back.
    bytes: AtomicUsize,
}

/// A proxy in front of PostgreSQL that counts.
struct Meter {
    port: u16,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl Meter {
    /// In front of the unix socket `path`.
    async fn start(path: String) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&counts);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = server.accept().await {
                let upstream = UnixStream::connect(&path).await.unwrap();
                connections.spawn(pump(client, upstream, Arc::clone(&shared)));
            }
        });
        Self { port, counts, _tasks: tasks }
    }

    fn read(&self) -> [usize; 3] {
        let c = &self.counts;
        [&c.round_trips, &c.statements, &c.bytes].map(|counter| counter.load(Ordering::Relaxed))
    }
}

async fn pump(mut client: TcpStream, mut server: UnixStream, counts: Arc<Counts>) {
    client.set_nodelay(true).unwrap();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let (mut messages, mut waited) = (Vec::new(), true);
    let mut started = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                messages.extend_from_slice(&up[..n]);
                let statements = take_messages(&mut messages, &mut started);
                counts.statements.fetch_add(statements, Ordering::Relaxed);
                counts.round_trips.fetch_add(usize::from(waited && statements > 0), Ordering::Relaxed);
                waited &= statements == 0;
                counts.bytes.fetch_add(n, Ordering::Relaxed);
                if server.write_all(&up[..n]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                waited = true;
                counts.bytes.fetch_add(n, Ordering::Relaxed);
                if client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}

/// Takes whole messages of the protocol's version 3 off the front; returns how many of them are statements.
fn take_messages(bytes: &mut Vec<u8>, started: &mut bool) -> usize {
    let mut statements = 0;
    loop {
        // The first message, and the question for TLS before it, have no type.
        let head = usize::from(*started);
        let Some(length) = bytes.get(head..head + 4) else { return statements };
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize + head;
        if bytes.len() < length {
            return statements;
        }
        let message: Vec<u8> = bytes.drain(..length).collect();
        if *started {
            statements += usize::from(matches!(message[0], b'E' | b'Q'));
        } else {
            // 1234.5679 asks for TLS, and the real first message follows.
            *started = message[4..8] != 80_877_103_u32.to_be_bytes();
        }
    }
}

/// A relay behind a meter that has nothing to do, and no sweep or canary that would disturb the counts.
struct Quiet {
    outbox: Outbox,
    ably: LocalAbly,
    meter: Meter,
    _relay: crate::support::relay::RelayProcess,
}

impl Quiet {
    async fn start(hint: &str) -> Self {
        let outbox = Outbox::create(hint).await;
        let ably = LocalAbly::start().await;
        let client = outbox.connect().await;
        let row = client
            .query_one(
                "select current_setting('unix_socket_directories'), current_setting('port')",
                &[],
            )
            .await
            .unwrap();
        let (directory, port): (String, String) = (row.get(0), row.get(1));
        let meter = Meter::start(format!("{directory}/.s.PGSQL.{port}")).await;
        let url = format!(
            "postgresql://postgres@127.0.0.1:{}/{}?sslmode=disable",
            meter.port,
            outbox.database.name()
        );
        let relay = RelayCommand::new(&url, &ably)
            .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
            .env("OUTBOX_RELAY_CANARY_INTERVAL", "5m")
            .start();
        relay.wait_until_listening();
        let quiet = Self { outbox, ably, meter, _relay: relay };
        // The first group makes the connection that records, and prepares its statements.
        quiet.work("warm", 1).await;
        quiet.work("warmer", 3).await;
        quiet
    }

    /// Commits `events` events of ten tenants at once and counts until all are published.
    async fn work(&self, tenant: &str, events: i64) -> [usize; 3] {
        let client = connect(&self.outbox.database.dsn()).await;
        let settled = "select not exists (select from outbox.event where status = 'pending')";
        let mut before = self.meter.read();
        // Whatever the last work still says.
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let now = self.meter.read();
            if now == before {
                break;
            }
            before = now;
        }
        let stats = self.ably.stats().await["accepted_messages"].as_u64().unwrap();
        if events == 1 {
            insert(&client, tenant, r#"{"n": 1}"#).await;
        } else {
            let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
                 select $1::text || n % 10, 'KitchenTask', 'task-1', 'kitchen.task.claimed', jsonb_build_object('n', n, 'pad', repeat('x', 280))
                   from generate_series(1, $2::bigint) n";
            client.execute(sql, &[&tenant, &events]).await.unwrap();
        }
        let wanted = stats + events.unsigned_abs();
        self.ably
            .wait_until("the events", async |s| s["accepted_messages"].as_u64() >= Some(wanted))
            .await;
        wait_until(&client, settled).await;
        // The claim that finds nothing more belongs to it.
        let mut now = self.meter.read();
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let later = self.meter.read();
            if later == now {
                break;
            }
            now = later;
        }
        [now[0] - before[0], now[1] - before[1], now[2] - before[2]]
    }

    /// The least of five: a sweep or a late ring may add a claim that finds nothing.
    async fn least(&self, tenant: &str, events: i64, warm: i64) -> [usize; 3] {
        let mut least = [usize::MAX; 3];
        for _ in 0..5 {
            // The next claim asks for what the last one has taught: small events, so many tenants; and one
            // each, or more.
            self.work("warm", warm).await;
            let counts = self.work(tenant, events).await;
            least = std::array::from_fn(|i| least[i].min(counts[i]));
        }
        least
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_event_costs_five_round_trips() {
    let quiet = Quiet::start("costlone").await;
    let [round_trips, statements, bytes] = quiet.least("lone", 1, 1).await;
    // Claim, settle; a claim that finds nothing, which is rolled back; and a look at the flag after a ring, for
    // however many events. The notification is none.
    assert!(round_trips <= 5, "{round_trips} round trips for one event");
    assert!(statements <= 9, "{statements} statements for one event");
    assert!(bytes <= 4_000, "{bytes} bytes for one event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_cost_two_round_trips_more_than_one() {
    let quiet = Quiet::start("costmany").await;
    let [round_trips, statements, bytes] = quiet.least("many", 1_000, 3).await;
    // 100 events a tenant are one group each, recorded together before they leave, and then locked.
    // Beside them, four times a second at most: where claims may begin, whether anything waits below, and a claim after it.
    assert!(round_trips <= 10, "{round_trips} round trips for 1,000 events");
    assert!(statements <= 24, "{statements} statements for 1,000 events");
    assert!(bytes <= 600_000, "{bytes} bytes for 1,000 events");
}
