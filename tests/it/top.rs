//! How the outbox is, in numbers: `stats` once, `top` in a real terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::support::command::run;
use crate::support::local_ably::{LIMIT, LocalAbly};
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::RelayProcess;

/// Some published, two tenants waiting, one failed event, a hold and a pause.
async fn filled(hint: &str) -> (Outbox, String) {
    let outbox = Outbox::create(hint).await;
    let (client, url) = (outbox.connect().await, outbox.database.dsn());
    for n in 0..12 {
        insert(&client, if n % 3 == 0 { "small" } else { "large" }, "{}").await;
    }
    client
        .batch_execute(
            r#"update outbox.event set status = 'published', published_at = created_at + interval '2 s' where seq <= 3;
               update outbox.event set status = 'failed', error = '{"code":"ABLY_ERROR","ablyErrorCode":40009}' where seq = 4;
               insert into outbox.hold (tenant_id, until, reason, message) values ('large', 'infinity', 'blocked', 'm')"#,
        )
        .await
        .unwrap();
    run(&url, &["pause", "--type", "x.y", "--by", "alice"]).says("paused");
    (outbox, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_say_what_waits_what_was_published_and_what_has_failed() {
    let (outbox, url) = filled("stats").await;
    let seen = run(&url, &["stats", "--json"]).objects();
    let seen = &seen[0];
    assert_eq!((&seen["pending"]["events"], &seen["pending"]["more"]), (&8.into(), &false.into()));
    let tenants = &seen["pending"]["tenants"];
    assert_eq!((&tenants[0]["name"], &tenants[0]["events"]), (&"large".into(), &6.into()));
    assert_eq!(seen["pending"]["types"][0]["name"], "kitchen.task.claimed");
    assert_eq!(seen["published"]["last_5_minutes"], 3);
    assert!((seen["published"]["latency_p50_seconds"].as_f64().unwrap() - 2.0).abs() < 0.01);
    assert_eq!(seen["dead_letters"]["codes"][0]["name"], "40009");
    assert_eq!(
        (&seen["holds"][0]["reason"], &seen["pauses"][0]["actor"]),
        (&"blocked".into(), &"alice".into())
    );
    assert!(seen["table"]["index_bytes"].as_i64().unwrap() > 0);
    assert_eq!(seen["relays"].as_array().unwrap().len(), 0, "not even this command");

    let ably = LocalAbly::start().await;
    let relay = RelayProcess::start(&url, &ably);
    relay.wait_until_listening();
    let shown = run(&url, &["stats", "--top", "1"]);
    for part in [
        "dead letters  1",
        "40009",
        "type x.y",
        concat!("outbox-relay ", env!("CARGO_PKG_VERSION")),
    ] {
        shown.says(part);
    }
    drop(outbox);
}

/// `top` in a terminal of its own.
struct Terminal {
    child: Child,
    master: File,
    shown: Arc<Mutex<String>>,
    size: Winsize,
}

impl Terminal {
    fn open(url: &str, environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
        let child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .arg("top")
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("DATABASE_URL", url)
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied())
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .expect("top");
        let master = File::from(master);
        let (mut output, shown) =
            (master.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let text = Arc::clone(&shown);
        // Ends with the terminal's last user.
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, master, shown, size }
    }

    fn wait_for(&self, part: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.shown.lock().unwrap().contains(part) {
            assert!(Instant::now() < deadline, "no {part:?} in {:?}", self.shown.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn press(&mut self, keys: &str) {
        self.shown.lock().unwrap().clear();
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// It has ended well, and the terminal is as it was.
    fn ends(mut self) {
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "top does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.wait_for("\u{1b}[?1049l");
        self.wait_for("\u{1b}[?25h");
        let flags = tcgetattr(&self.master).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "{flags:?}");
        assert_eq!(self.size.ws_row, 24);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already; a test that failed must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_it_live_obeys_keys_and_gives_the_terminal_back() {
    let (outbox, url) = filled("top").await;
    let mut top = Terminal::open(&url, &[]);
    top.wait_for("\u{1b}[?1049h");
    // Only what changes is written, blanks apart: so words are waited for that nothing else stood beneath.
    top.wait_for("large");
    top.wait_for("PAUSED: type x.y by alice");
    assert!(top.shown.lock().unwrap().contains("\u{1b}[38;5;"), "colours");
    let client = outbox.connect().await;
    insert(&client, "another", "{}").await;
    top.wait_for("another");
    top.press("\t");
    top.wait_for("kitchen.task.claimed");
    // Right, by its sequence.
    top.press("\u{1b}[C");
    top.wait_for("blocked");
    top.press("p");
    top.wait_for("[picture");
    top.press("q");
    top.ends();

    let mut interrupted = Terminal::open(&url, &[("NO_COLOR", "1")]);
    interrupted.wait_for("large");
    assert!(!interrupted.shown.lock().unwrap().contains("[38;5;"), "NO_COLOR");
    // Ctrl-C, which is a key in raw mode.
    interrupted.press("\u{3}");
    interrupted.ends();

    let terminated = Terminal::open(&url, &[]);
    terminated.wait_for("large");
    let pid = Pid::from_raw(i32::try_from(terminated.child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    terminated.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_top_names_stats() {
    let (_outbox, url) = filled("topless").await;
    run(&url, &["top"]).fails(2, &["outbox-relay stats"]);
}
