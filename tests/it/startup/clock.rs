//! A machine whose clock says 1970, as one without a battery does until NTP has set it.

use crate::doctor::Ward;
use crate::support::clock;
use crate::support::local_ably::{Got, LocalAbly};
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::RelayCommand;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_in_1970_publishes_in_order_and_ends_in_order() {
    let (outbox, ably) = (Outbox::create("epoch").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("LD_PRELOAD", clock::library())
        .env("CLOCK_SKEW_S", &clock::to_1970())
        .start();
    relay.wait_until_listening();
    // Groups, too: their ids have a time in them.
    for n in 0..50 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
    }
    let got = ably.wait_for(50).await;
    assert!(got.iter().map(Got::n).eq(0..50), "{got:?}");
    // Its log shows that the clock was wrong at all.
    let log = relay.log();
    let time = log[0]["timestamp"].as_str().unwrap_or_default();
    assert!(time.starts_with("1970-01-01T"), "{:#?}", log[0]);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_in_1970_names_the_clock_and_what_sets_it() {
    let (outbox, ably) = (Outbox::create("epochdoctor").await, LocalAbly::start().await);
    let ward = Ward::new(&outbox.database.dsn(), &ably)
        .env("LD_PRELOAD", clock::library())
        .env("CLOCK_SKEW_S", &clock::to_1970());
    let found = ward.look();
    found.assert("postgres.clock", "warning", "NTP");
    found.assert("ably.clock", "warning", "NTP");
}
