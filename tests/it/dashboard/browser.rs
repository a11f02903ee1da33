//! What people see and do, in Chromium.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;
use crate::emulator_client::js_client::JsClient;
use outbox_relay::emulator::API_KEY_DEFAULT;

#[tokio::test(flavor = "multi_thread")]
async fn each_panel_shows_what_is_there_and_payloads_only_when_asked() {
    let site = Site::acting("panels").await;
    let _client = site.fill().await;
    run("panels", &site.page(), &["hunter2-payload"]).await;
    assert!(site.relay.says("was shown to dashboard"), "the log notes who looked at a payload");
    let log = format!("{:?}", site.relay.log());
    assert!(!log.contains("hunter2"), "and not what they saw");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_events_are_looked_at_requeued_published_and_seen_by_the_subscriber() {
    let site = Site::acting("requeueui").await;
    let client = site.outbox.connect().await;
    let channels = ["tenant:broken"];
    let mut subscriber = JsClient::subscribe(&site.ably.url(), API_KEY_DEFAULT, &channels).await;
    site.fail_three(&client).await;
    run("requeue", &site.page(), &[]).await;
    wait_until(&client, "select count(*) = 3 from outbox.event where status = 'published'").await;
    assert_eq!(subscriber.message_ids(3).await.len(), 3);
    let row = client
        .query_one("select actor, action, reason, count, filter::text from outbox.audit", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("dashboard", "requeue"));
    assert_eq!((row.get::<_, &str>(2), row.get::<_, i64>(3)), ("the consumer is mended", 3));
    assert!(row.get::<_, &str>(4).contains("40031"));
    assert_eq!(subscriber.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_released_things_paused_and_resumed_and_events_discarded() {
    let site = Site::acting("actui").await;
    let client = site.outbox.connect().await;
    site.fail_three(&client).await;
    client
        .batch_execute(
            "insert into outbox.hold (tenant_id, until, reason, message)
             values ('held', 'infinity', 'blocked', 'an event failed')",
        )
        .await
        .unwrap();
    insert(&client, "held", "{}").await;
    run("act", &site.page(), &[]).await;
    wait_until(&client, "select exists (select from outbox.event where tenant_id = 'held' and status = 'published')").await;
    let discarded = client
        .query_one("select count(*) from outbox.event where error ? 'discarded'", &[])
        .await
        .unwrap();
    assert_eq!(discarded.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_changes_nothing_unless_it_may() {
    let site = Site::start("readonlyui", &[]).await;
    let _client = site.fill().await;
    run("readonly", &site.page(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_the_audit_log_says_who() {
    let environment = [
        ("OUTBOX_RELAY_HTTP_DASHBOARD_TOKEN", TOKEN),
        ("OUTBOX_RELAY_HTTP_DASHBOARD_ACTIONS", "on"),
    ];
    let site = Site::start("signedin", &environment).await;
    site.fail_three(&site.outbox.connect().await).await;
    run("signedIn", &site.page(), &[TOKEN]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_the_keyboard_and_the_focus_is_seen() {
    let site = Site::acting("keyboard").await;
    let _client = site.fill().await;
    run("keyboard", &site.page(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_view_fits_dark_light_and_on_a_phone() {
    let site = Site::acting("looks").await;
    let _client = site.fill().await;
    // Kept: `target/tmp/dashboard/*.png` are there to be looked at.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    std::fs::create_dir_all(&pictures).unwrap();
    run("looks", &site.page(), &[pictures.to_str().unwrap()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_it_is_stale_and_comes_back_with_the_relay() {
    let (outbox, ably) = (Outbox::create("stale").await, LocalAbly::start().await);
    let start = |listen: &str| {
        let command = RelayCommand::new(&outbox.database.dsn(), &ably);
        command.env("OUTBOX_RELAY_HTTP_LISTEN", listen).start()
    };
    let relay = start("127.0.0.1:0");
    let url = url_of(&relay);
    let mut child = scenario("stale", &format!("{url}/dashboard/"), &[]).spawn().expect("node");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(SCENARIO_MAX, lines.next_line()).await;
        line.expect("a line in time").unwrap().unwrap_or_default()
    };
    assert_eq!(next().await, "{\"type\":\"live\"}");
    relay.kill();
    assert_eq!(next().await, "{\"type\":\"stale\"}");
    let _relay = start(url.trim_start_matches("http://"));
    assert_eq!(next().await, "{\"type\":\"done\"}");
}
