//! Keys, endpoints and ports that are wrong.

use std::net::TcpListener;

use outbox_relay::emulator::EmulatorConfig;

use super::server::Place;
use super::{KEY, fails, remedy_of, stays_calm};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{count, insert};
use crate::support::relay::RelayCommand;

/// `run` with this key and endpoint on a database that is never asked.
fn run_with(key: &str, endpoint: &str) -> super::Failed {
    let url = "postgres://u:hunter2@127.0.0.1:1/d";
    fails(&["run"], &[("DATABASE_URL", url), ("ABLY_API_KEY", key), ("ABLY_ENDPOINT", endpoint)])
}

#[test]
fn a_malformed_key_is_a_configuration_error() {
    for key in ["hunter2", "app.hunter2", "app:hunter2", "app.key:", ".key:hunter2"] {
        run_with(key, "main").is(78, &["ably.api_key", "ABLY_API_KEY"], &["whole", "dashboard"]);
    }
}

#[test]
fn an_endpoint_that_is_none_is_a_configuration_error() {
    for (endpoint, cause, remedy) in [
        ("no sense", "ably.endpoint", "host name"),
        ("ftp://127.0.0.1", "ftp", "base URL"),
        ("https://u:hunter2@h", "ably.endpoint", "host name"),
        ("app.key:hunter2-secret", "API key", "ABLY_API_KEY"),
        ("https://h/path", "more than scheme, host and port", "remove"),
        ("http://example.com", "unencrypted", "https://"),
        ("http://10.0.0.1:80", "unencrypted", "https://"),
    ] {
        run_with(KEY, endpoint).is(78, &[cause], &[remedy]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_pauses_loudly_and_goes_on_when_it_is_accepted() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let client = place.admin().await;
    let relay = RelayCommand::new(&place.admin_url(), &ably).env("ABLY_API_KEY", KEY).start();
    relay.wait_until_listening();
    insert(&client, "a", r#"{"n":0}"#).await;
    relay.wait_for_log("publishing is paused", 1);
    stays_calm(&relay).await;
    assert!(remedy_of(&relay, "publishing is paused").contains("ABLY_API_KEY"));
    let complaints = relay.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    assert_eq!(complaints[0]["level"], "ERROR");
    assert_eq!(count(&client, "pending").await, 1);

    let listen = ably.stop().await;
    let accepting = EmulatorConfig { listen, api_key: KEY.into(), ..EmulatorConfig::default() };
    let ably = LocalAbly::with(accepting).await;
    ably.wait_for(1).await;
    relay.wait_for_log("Ably accepts events again", 1);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_run_with_a_wrong_key_is_refused_and_loses_nothing() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let client = place.admin().await;
    insert(&client, "a", r#"{"n":0}"#).await;
    let environment = [
        ("DATABASE_URL", &*place.admin_url()),
        ("ABLY_API_KEY", KEY),
        ("ABLY_ENDPOINT", &*ably.url()),
    ];
    let failed = fails(&["run", "--once"], &environment);
    failed.is(77, &["40400"], &["check ABLY_API_KEY"]);
    assert_eq!(count(&client, "pending").await, 1);
}

#[test]
fn an_occupied_port_is_unavailable_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = fails(&["emulator", "--listen", &address], &[]);
    failed.is(69, &[&address, "in use"], &["another port", "127.0.0.1:0"]);
    // TEST-NET-1 belongs to no machine.
    let failed = fails(&["emulator", "--listen", "192.0.2.1:8080"], &[]);
    failed.is(69, &["192.0.2.1:8080"], &["an address of this machine"]);
}
