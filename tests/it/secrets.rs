//! No secret leaves the process by what it writes, whatever happens and however much is logged.

use outbox_relay::emulator::EmulatorConfig;

use crate::support::local_ably::LocalAbly;
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::RelayCommand;

/// In the database password, the key's secret and the payloads; no line may have it, nor its usual encodings.
const SECRET: &str = "hunter2";

/// The key, and as HTTP's basic authentication carries it.
const KEY: &str = "app.key:hunter2-of-ably";
const KEY_IN_BASE64: &str = "YXBwLmtleTpodW50ZXIyLW9mLWFibHk";

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_relay_that_logs_everything_writes_no_secret_and_no_payload() {
    let config = EmulatorConfig {
        channel_rate_per_second: 0,
        api_key: KEY.to_owned(),
        ..EmulatorConfig::default()
    };
    let (outbox, ably) = (Outbox::create("secrets").await, LocalAbly::with(config).await);
    let client = outbox.connect().await;
    let dsn = format!("{} password=hunter2-of-postgres", outbox.database.dsn());
    let relay = RelayCommand::new(&dsn, &ably)
        .env("ABLY_API_KEY", KEY)
        .env(
            "OUTBOX_RELAY_LOG_LEVEL",
            "trace,h2=trace,hyper=trace,reqwest=trace,rustls=trace,tokio_postgres=trace",
        )
        .start();
    relay.wait_until_listening();
    let secret_payload = |n: u32| format!("{{\"n\":{n},\"card\":\"hunter2-of-a-customer\"}}");
    for n in 0..20 {
        insert(&client, &format!("t{}", n % 3), &secret_payload(n)).await;
    }
    // One that is refused here, in the log with its error.
    insert(&client, "no:channel", &secret_payload(20)).await;
    relay.wait_for_log("failed", 1);
    ably.wait_for(20).await;
    // Ably away, then the key refused: both are reported with what Ably says.
    for (fault, reported) in [
        (r#"{"kind":"status","status":503,"code":50003,"times":2}"#, "503"),
        (r#"{"kind":"status","status":401,"code":40101,"times":1}"#, "40101"),
    ] {
        ably.fault(fault).await;
        insert(&client, "t0", &secret_payload(30)).await;
        relay.wait_for_log(reported, 1);
        ably.clear_faults().await;
    }
    // PostgreSQL away.
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()";
    client.batch_execute(cut).await.unwrap();
    ably.wait_for(22).await;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", relay.pid())).unwrap();
    let mut all: Vec<String> = relay.log().iter().map(ToString::to_string).collect();
    // Libraries stay silent even when they are asked by name: they would print what they carry.
    assert!(all.len() > 7 && all.iter().any(|line| line.contains("\"DEBUG\"")), "{all:#?}");
    all.push(String::from_utf8_lossy(&arguments).into_owned());
    for line in &all {
        assert!(!line.contains(SECRET) && !line.contains(KEY_IN_BASE64), "{line}");
    }
    assert_eq!(relay.terminate(), Some(0));
}
