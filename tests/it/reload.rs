//! Settings that change while the relay runs: at SIGHUP, and when a secret file holds something else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use outbox_relay::emulator::EmulatorConfig;

use crate::support::local_ably::{LIMIT, LocalAbly};
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::{RelayCommand, RelayProcess};

/// What the emulator takes.
const KEY: &str = "app.key:hunter2-good";

/// A well-formed key of the same app that it does not.
const REFUSED: &str = "app.key:hunter2-bad";

struct Place {
    dir: tempfile::TempDir,
    ably: LocalAbly,
    outbox: Outbox,
}

impl Place {
    async fn new(name: &str) -> Self {
        let config = EmulatorConfig {
            channel_rate_per_second: 0,
            api_key: KEY.to_owned(),
            ..EmulatorConfig::default()
        };
        let (ably, outbox) = (LocalAbly::with(config).await, Outbox::create(name).await);
        Self { dir: tempfile::tempdir().unwrap(), ably, outbox }
    }

    /// Writes a file as editors do, and secrets' managers: another one in its place.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let (path, new) = (self.dir.path().join(name), self.dir.path().join("new"));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    fn command(&self) -> RelayCommand {
        RelayCommand::new(&self.outbox.database.dsn(), &self.ably).without("ABLY_API_KEY")
    }

    fn start(&self, config: &Path, key: &Path) -> RelayProcess {
        let config = config.to_str().unwrap();
        self.command().arg("--config").arg(config).env("ABLY_API_KEY_FILE", text(key)).start()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// No line holds a secret.
fn is_silent(relay: &RelayProcess) {
    let log = relay.log();
    assert!(!log.iter().any(|line| line.to_string().contains("hunter2")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_swapped_in_its_file_is_used_without_a_signal_and_at_once() {
    let place = Place::new("swap").await;
    // As Kubernetes mounts a secret: `key` -> `..data/key`, and `..data` is a link that is replaced.
    for (version, key) in [("one", REFUSED), ("two", KEY)] {
        std::fs::create_dir(place.dir.path().join(version)).unwrap();
        place.write(&format!("{version}/key"), key);
    }
    let data = place.dir.path().join("..data");
    symlink("one", &data).unwrap();
    let key = place.dir.path().join("key");
    symlink("..data/key", &key).unwrap();
    let relay = place.start(&place.write("relay.toml", ""), &key);
    relay.wait_until_listening();
    let client = place.outbox.connect().await;
    insert(&client, "a", "{\"n\":0}").await;
    relay.wait_for_log("publishing is paused", 1);
    let next = place.dir.path().join("..data_tmp");
    symlink("two", &next).unwrap();
    std::fs::rename(next, data).unwrap();
    place.ably.wait_for(1).await;
    relay.wait_for_log("settings reloaded: ably.api_key", 1);
    // One that Ably refuses is not taken: publishing goes on.
    place.write("two/key", REFUSED);
    relay.wait_for_log("settings not reloaded, the old ones stay: Ably refuses the new key", 1);
    insert(&client, "a", "{\"n\":1}").await;
    place.ably.wait_for(2).await;
    // Nor one of another app, which waits for a restart; nor what is no key.
    place.write("two/key", "other.key:hunter2");
    relay.wait_for_log("needs a restart: ably.api_key (a key of another app)", 1);
    place.write("two/key", "hunter2\n");
    relay.wait_for_log("settings not reloaded, the old ones stay: ably.api_key", 1);
    insert(&client, "a", "{\"n\":2}").await;
    place.ably.wait_for(3).await;
    is_silent(&relay);
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_and_log_level_change_at_a_signal_and_the_rest_is_named() {
    let place = Place::new("rates").await;
    let config = |rate: &str, level: &str, more: &str| {
        let text = format!("[relay]\nchannel_rate = {rate}\n[log]\nlevel = \"{level}\"\n{more}");
        place.write("relay.toml", &text)
    };
    let (file, key) = (config("1", "info", ""), place.write("key", KEY));
    let relay = place.start(&file, &key);
    relay.wait_until_listening();
    // Thirty at one a second take 25 s, for five may be ahead; at 0 there is no limit.
    config("0", "debug", "[shutdown]\ngrace = \"7s\"\n[http]\nlisten = \"127.0.0.1:1\"\n");
    relay.signal(Signal::SIGHUP);
    relay.wait_for_log("settings reloaded: relay.channel_rate, log.level", 1);
    relay.wait_for_log("changed, and needs a restart: shutdown.grace, http.listen", 1);
    let client = place.outbox.connect().await;
    let begun = Instant::now();
    for n in 0..30 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        place.ably.wait_for(n + 1).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?} at no limit", begun.elapsed());
    let debug =
        |relay: &RelayProcess| relay.log().iter().filter(|line| line["level"] == "DEBUG").count();
    // The level is in force.
    let deadline = Instant::now() + LIMIT;
    while debug(&relay) == 0 {
        assert!(Instant::now() < deadline, "{:#?}", relay.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A file that is wrong changes nothing, says why, and publishing goes on.
    config("\"hunter2\"", "info", "");
    relay.signal(Signal::SIGHUP);
    relay.wait_for_log("settings not reloaded, the old ones stay: relay.channel_rate", 1);
    insert(&client, "a", "{\"n\":30}").await;
    place.ably.wait_for(31).await;
    config("0", "debug", "");
    relay.signal(Signal::SIGHUP);
    relay.wait_for_log("settings reloaded: nothing has changed", 1);
    // Back to a slow rate: the burst of five, then one a second.
    config("1", "error", "");
    relay.signal(Signal::SIGHUP);
    relay.wait_for_log("SIGHUP", 4);
    let begun = Instant::now();
    for n in 31..40 {
        insert(&client, "a", &format!("{{\"n\":{n}}}")).await;
        place.ably.wait_for(n + 1).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?} at one a second", begun.elapsed());
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_reloads_for_itself() {
    let place = Place::new("reloadone").await;
    let two = Outbox::create("reloadtwo").await;
    let key = place.write("key", KEY);
    let source = |name: &str, dsn: &str, rate: &str| {
        let text = format!(
            "[database]\nurl = \"{dsn}\"\n[ably]\napi_key_file = \"{}\"\n[relay]\nchannel_rate = {rate}\n",
            key.display()
        );
        place.write(name, &text)
    };
    let (dsn, other) = (place.outbox.database.dsn(), two.database.dsn());
    let files = [source("one.toml", &dsn, "40"), source("two.toml", &other, "40")];
    let [one, two_file] = &files;
    let relay = place
        .command()
        .without("DATABASE_URL")
        .arg("--source")
        .arg(text(one))
        .arg("--source")
        .arg(text(two_file))
        .start();
    relay.wait_until_listening();
    relay.wait_for_log("listening", 2);
    source("one.toml", &dsn, "30");
    source("two.toml", &other, "nonsense");
    relay.signal(Signal::SIGHUP);
    relay.wait_for_log("settings reloaded: relay.channel_rate", 1);
    relay.wait_for_log("settings not reloaded", 1);
    let of = |text: &str| {
        let log = relay.log();
        let line = log.iter().find(|l| l["message"].as_str().is_some_and(|m| m.contains(text)));
        line.unwrap()["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(of("settings reloaded: relay"), "one");
    assert_eq!(of("settings not reloaded"), "two");
    for (outbox, n) in [(&place.outbox, 1), (&two, 2)] {
        let client = outbox.connect().await;
        insert(&client, "a", "{\"n\":0}").await;
        place.ably.wait_for(n).await;
    }
    is_silent(&relay);
    assert_eq!(relay.terminate(), Some(0));
}
