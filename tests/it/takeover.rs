//! One of two relays is killed: the other has its tenants at once, without the sweep.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::insert_numbers;
use crate::drain::{assert_complete_and_in_order, in_flight};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, wait_until};
use crate::support::relay::{RelayCommand, RelayProcess};

/// Without a sweep: it must not be what finds anything.
fn start(outbox: &Outbox, ably: &LocalAbly) -> RelayProcess {
    let relay = RelayCommand::new(&outbox.database.dsn(), ably)
        .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
        .env("OUTBOX_RELAY_CHANNEL_RATE", "0")
        .start();
    relay.wait_until_listening();
    relay
}

/// A claim has ended, and none within the last tenth of a second.
const QUIET: &str = "select coalesce(clock_timestamp() - max(state_change) > interval '100 ms', false) \
                       from pg_stat_activity where datname = current_database() and query = 'rollback' and state = 'idle'";

/// Server processes that hold the lock of a tenant.
const HOLDERS: &str = "select pid from pg_locks where locktype = 'advisory' and granted \
                        and database = (select oid from pg_database where datname = current_database())";

#[tokio::test(flavor = "multi_thread")]
async fn the_next_event_of_a_killed_relays_tenant_takes_the_others_with_it() {
    let (outbox, ably) = (Outbox::create("takeover").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let first = start(&outbox, &ably);
    ably.fault(r#"{"kind":"hang_before","delay_ms":60000,"times":1}"#).await;
    insert_numbers(&client, "a", 0..1).await;
    in_flight(&ably, 1).await;
    let second = start(&outbox, &ably);
    insert_numbers(&client, "a", 1..2).await;
    assert_eq!(ably.accepted().await, [], "a tenant in flight is passed over");
    // The server is slow to notice that the relay is gone: the bell rings before the lock is free.
    let holder: i32 = client.query_one(HOLDERS, &[]).await.unwrap().get(0);
    let server = Pid::from_raw(holder);
    kill(server, Signal::SIGSTOP).unwrap();
    first.kill();
    insert_numbers(&client, "a", 2..3).await;
    // The claim for which it rang is over, and found the tenant locked.
    wait_until(&client, QUIET).await;
    kill(server, Signal::SIGCONT).unwrap();
    let got = ably.wait_for(3).await;
    assert_complete_and_in_order(&got, 1, 3);
    assert_eq!(second.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_kept_writers_silent_and_is_killed_is_replaced_by_one_that_dozed() {
    const UP: &str = "select last_value > 1000 * extract(epoch from clock_timestamp()) \
                        from outbox.awake_until";
    let (outbox, ably) = (Outbox::create("silent").await, LocalAbly::start().await);
    let (client, watch) = (outbox.connect().await, outbox.connect().await);
    let mut events = 0;
    for _ in 0..4 {
        let first = start(&outbox, &ably);
        while !watch.query_one(UP, &[]).await.unwrap().get::<_, bool>(0) {
            insert_numbers(&client, "a", events..events + 1).await;
            events += 1;
        }
        // It hears nothing until it looks.
        let second = start(&outbox, &ably);
        let more = async |from| insert_numbers(&client, "a", from..from + 20).await;
        more(events).await;
        first.kill();
        more(events + 20).await;
        events += 40;
        let got = ably.wait_for(usize::try_from(events).unwrap()).await;
        assert_complete_and_in_order(&got, 1, events);
        assert_eq!(second.terminate(), Some(0));
    }
}
