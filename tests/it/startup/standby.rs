//! A real standby where the primary belongs.

use super::server::Place;
use super::{remedy_of, run_fails};
use crate::startup::server::{port, server};
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::insert;
use crate::support::relay::RelayCommand;
use crate::support::server_process::Standby;

/// `database` at the standby, as the superuser.
fn at(standby: &Standby, database: &str) -> String {
    let directory = standby.directory.display();
    format!("host={directory} port={} user=postgres dbname={database}", standby.port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_for_publishing_and_said_to_be_deaf_for_listening() {
    let (place, ably) = (Place::with_outbox().await, LocalAbly::start().await);
    let standby = Standby::of(server().socket_dir(), port(), &[]);
    for more in ["", " target_session_attrs=any"] {
        let failed = run_fails(&(at(&standby, &place.name) + more), &[]);
        failed.is(69, &["standby"], &["primary", "target_session_attrs=read-write"]);
    }
    let client = place.admin().await;
    for more in ["", " target_session_attrs=any"] {
        let relay = RelayCommand::new(&place.admin_url(), &ably)
            .env("DIRECT_URL", &(at(&standby, &place.name) + more))
            .env("OUTBOX_RELAY_SWEEP_INTERVAL", "5m")
            .start();
        relay.wait_for_log("cannot hear the bell", 1);
        let remedy = remedy_of(&relay, "standby");
        assert!(remedy.contains("DIRECT_URL") && remedy.contains("primary"), "{remedy}");
        let before = ably.accepted().await.len();
        for n in 0..20 {
            insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        }
        ably.wait_for(before + 20).await;
        assert_eq!(relay.complaints().len(), 1, "{:#?}", relay.complaints());
        assert_eq!(relay.terminate(), Some(0));
    }
}
