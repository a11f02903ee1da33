//! What an operator pauses is published by no relay, and nothing else waits for it.

use std::time::{Duration, Instant};

use crate::dead_letters::numbers;
use crate::http::url_of;
use crate::support::command::run;
use crate::support::local_ably::{LocalAbly, http};
use crate::support::outbox::{Outbox, count, wait_until};
use crate::support::postgres::TestClient;
use crate::support::relay::{RelayCommand, RelayProcess};

/// An outbox with two relays.
struct Site {
    client: TestClient,
    ably: LocalAbly,
    relays: [RelayProcess; 2],
    url: String,
}

impl Site {
    async fn start(hint: &str) -> Self {
        let (outbox, ably) = (Outbox::create(hint).await, LocalAbly::start().await);
        let url = outbox.database.dsn();
        let relays = [(); 2].map(|()| {
            RelayCommand::new(&url, &ably).env("OUTBOX_RELAY_HTTP_LISTEN", "127.0.0.1:0").start()
        });
        relays.iter().for_each(RelayProcess::wait_until_listening);
        let client = outbox.connect().await;
        Self { client, ably, relays, url }
    }

    /// Waits until each relay has said so often that something is paused.
    fn wait_until_paused(&self, times: usize) {
        self.relays.iter().for_each(|r| r.wait_for_log("an operator has paused", times));
    }

    async fn insert(&self, tenant: &str, event_type: &str, n: i64) {
        let sql = "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
                   values ($1, 'A', '1', $2, jsonb_build_object('n', $3::bigint))";
        self.client.execute(sql, &[&tenant, &event_type, &n]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_everything_is_paused_writers_go_on_and_after_it_all_goes_in_order_within_a_second() {
    let site = Site::start("pauseall").await;
    site.insert("a", "x.y", 0).await;
    site.ably.wait_for(1).await;
    run(&site.url, &["pause", "--all", "--reason", "consumers down", "--by", "alice"])
        .says("paused everything");
    site.wait_until_paused(1);
    for n in 1..=50 {
        site.insert("a", "x.y", n).await;
        site.insert("b", "x.y", n).await;
    }
    // Nothing tells that nothing happens; on a slow machine this proves less, and never fails wrongly.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(site.ably.accepted().await.len(), 1);
    assert_eq!(count(&site.client, "pending").await, 100);

    let shown = run(&site.url, &["holds", "list", "--json"]).objects();
    assert_eq!((&shown[0]["paused"], &shown[0]["actor"]), (&"all".into(), &"alice".into()));
    run(&site.url, &["holds", "list"]).says("by alice: consumers down");
    for relay in &site.relays {
        let (url, client) = (url_of(relay), http());
        let ready = client.get(format!("{url}/readyz?verbose")).send().await.unwrap();
        assert_eq!(ready.status(), 200, "a restart would not help");
        assert!(ready.text().await.unwrap().contains("paused: everything"));
        // The look at the database is up to 2 s old, and left out where a busy machine made it take longer.
        let all = "outbox_relay_pauses{scope=\"all\"} 1";
        let told = async || {
            let metrics = client.get(format!("{url}/metrics")).send().await.unwrap();
            metrics.text().await.unwrap().contains(all)
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !told().await {
            assert!(Instant::now() < deadline, "never in the metrics: {all}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    run(&site.url, &["resume", "--tenant", "a"]).fails(65, &["not paused: tenant a"]);
    run(&site.url, &["resume", "--all", "--by", "bob"]).says("resumed everything");
    let resumed = Instant::now();
    let got = site.ably.wait_for(101).await;
    assert!(resumed.elapsed() < Duration::from_secs(1), "{:?}", resumed.elapsed());
    assert_eq!(numbers(&got, "a"), (0..=50).collect::<Vec<_>>());
    assert_eq!(numbers(&got, "b"), (1..=50).collect::<Vec<_>>());
    for relay in &site.relays {
        relay.wait_for_log("nothing is paused any more", 1);
    }
    let audit = "select string_agg(actor || ' ' || action || ' ' || coalesce(filter::text, ''), ', ' order by id)
                   from outbox.audit";
    let audit: String = site.client.query_one(audit, &[]).await.unwrap().get(0);
    assert_eq!(audit, r#"alice pause {"all": true}, bob resume {"all": true}"#);
    run(&site.url, &["resume", "--all"]).fails(65, &["not paused: everything"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_a_tenant_touches_nobody_else_and_survives_its_holds() {
    let site = Site::start("pausetenant").await;
    run(&site.url, &["pause", "--tenant", "a", "--tenant", "c"]).says("paused tenant c");
    // What a relay notes and ends of itself is not the operator's pause.
    let hold = "insert into outbox.hold (tenant_id, until, reason, message) values ('a', now(), 'outage', 'm')";
    site.client.batch_execute(hold).await.unwrap();
    run(&site.url, &["holds", "release", "--all"]).says("released a");
    for n in 0..10 {
        site.insert("a", "x.y", n).await;
        site.insert("b", "x.y", n).await;
    }
    let got = site.ably.wait_for(10).await;
    assert_eq!(numbers(&got, "b"), (0..10).collect::<Vec<_>>());
    site.insert("b", "x.y", 10).await;
    let got = site.ably.wait_for(11).await;
    assert_eq!((numbers(&got, "a").len(), numbers(&got, "b").len()), (0, 11));
    run(&site.url, &["resume", "--tenant", "a"]).says("resumed tenant a");
    assert_eq!(numbers(&site.ably.wait_for(21).await, "a"), (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_event_of_a_paused_type_its_tenant_waits_and_nobody_else() {
    let site = Site::start("pausetype").await;
    run(&site.url, &["pause", "--type", "bad.type"]).says("paused type bad.type");
    // In one transaction, so that one claim sees a run with the paused type in its middle.
    site.client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select t, 'A', '1', case when t = 'a' and n = 3 then 'bad.type' else 'x.y' end, jsonb_build_object('n', n)
               from generate_series(0, 9) n, unnest(array['a', 'b']) t order by n",
        )
        .await
        .unwrap();
    // More tenants than a claim takes, all of them behind the pause.
    site.client
        .batch_execute(
            "insert into outbox.event (tenant_id, aggregate_type, aggregate_id, event_type, payload)
             select 'all-' || n, 'A', '1', 'bad.type', '{\"n\":1}' from generate_series(1, 150) n",
        )
        .await
        .unwrap();
    site.insert("b", "x.y", 10).await;
    let got = site.ably.wait_for(14).await;
    assert_eq!(numbers(&got, "b"), (0..=10).collect::<Vec<_>>());
    assert_eq!(numbers(&got, "a"), [0, 1, 2]);
    // What Ably has is settled a moment later.
    let rest = "select count(*) = 157 from outbox.event where status = 'pending'";
    wait_until(&site.client, rest).await;
    assert!(site.relays.iter().all(|relay| relay.complaints().is_empty()));
    run(&site.url, &["resume", "--type", "bad.type"]).says("resumed type bad.type");
    let got = site.ably.wait_for(171).await;
    assert_eq!(numbers(&got, "a"), (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_for_a_time_ends_by_itself() {
    let site = Site::start("pausefor").await;
    let paused = Instant::now();
    run(&site.url, &["pause", "--all", "--for", "2500ms"]).says("paused everything");
    site.wait_until_paused(1);
    site.insert("a", "x.y", 0).await;
    site.ably.wait_for(1).await;
    let took = paused.elapsed();
    // Nobody rings then, and the sweep comes every 5 s or later.
    assert!(took > Duration::from_millis(2_400) && took < Duration::from_secs(4), "{took:?}");
    run(&site.url, &["resume", "--all"]).fails(65, &["not paused"]);
    run(&site.url, &["pause", "--all", "--for", "0s"]).fails(2, &["no time"]);
    run(&site.url, &["pause"]).fails(2, &["--all"]);
    run(&site.url, &["pause", "--all", "--tenant", "a"]).fails(2, &["cannot be used with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_at_the_pause_is_settled() {
    let site = Site::start("pauseflight").await;
    site.ably.fault(r#"{"kind":"delay","delay_ms":1500,"times":1}"#).await;
    for n in 0..3 {
        site.insert("a", "x.y", n).await;
    }
    let under_way = "select exists (select from pg_locks l join pg_stat_activity s using (pid)
        where l.locktype = 'advisory' and s.datname = current_database() and s.state = 'idle in transaction')";
    wait_until(&site.client, under_way).await;
    let before = count(&site.client, "published").await;
    run(&site.url, &["pause", "--all"]).says("paused everything");
    wait_until(&site.client, "select exists (select from outbox.event where status = 'published')")
        .await;
    site.wait_until_paused(1);
    assert!(count(&site.client, "published").await > before);
    let sent = site.ably.accepted().await.len();
    assert_eq!(i64::try_from(sent).unwrap(), count(&site.client, "published").await);
    run(&site.url, &["resume", "--all"]).says("resumed");
    assert_eq!(numbers(&site.ably.wait_for(3).await, "a"), [0, 1, 2]);
}
