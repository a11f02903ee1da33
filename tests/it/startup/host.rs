//! Machines that are odd: nothing can be written to, there is no `/tmp`, the directory is gone.

use std::io::Write as _;
use std::process::Command;

use super::{KEY, fails};
use crate::support::local_ably::{LocalAbly, ably_environment};
use crate::support::outbox::{Outbox, insert};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outbox-relay");

/// A mount namespace in which everything that is written to is read-only, `/tmp` and `/dev/shm` included; none where
/// the kernel gives none to this user.
fn read_only(arguments: &[&str]) -> Option<Command> {
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        if !nix::unistd::Uid::effective().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-ec", script, "sh"]);
        command
    };
    // Each file system by itself: a read-only `/` leaves those mounted below as they are. Some may refuse.
    let script = "mount --make-rprivate /
        cut -d' ' -f2 /proc/self/mounts | grep -vE '^/(proc|sys)' | while read -r at; do
          mount -o remount,bind,ro \"$at\" 2>/dev/null || true
        done
        ! (: >\"${TMPDIR:-/tmp}/outbox-relay-writable\") 2>/dev/null
        exec \"$@\"";
    let probe = in_namespace(script).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "no mount namespaces here: read-only is not tried");
        return None;
    }
    let mut command = in_namespace(script);
    command.arg(PROGRAM).args(arguments);
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_publishes_with_a_read_only_root() {
    let (outbox, ably) = (Outbox::create("readonly").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert(&client, "a", "{\"n\":1}").await;
    let Some(mut relay) = read_only(&["run", "--once"]) else { return };
    relay.env("DATABASE_URL", outbox.database.dsn()).envs(ably_environment(&ably));
    let output = relay.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ably.wait_for(1).await.len(), 1);
}

#[test]
fn what_must_write_says_where_it_cannot_and_what_would_help() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    for arguments in [
        &["migrate", "print", "--format", "flyway", "--out", file.to_str().unwrap()][..],
        &["types", "generate", "--lang", "typescript", "--out", file.to_str().unwrap()],
        &["dev"],
    ] {
        let Some(mut command) = read_only(arguments) else { return };
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}: {said}");
        let last: Vec<_> = said.lines().rev().take(2).collect();
        let [remedy, cause] = last[..] else { panic!("{arguments:?}: {said}") };
        assert!(cause.starts_with("error: ") && cause.contains("Read-only file system"), "{said}");
        assert!(remedy.starts_with("remedy: ") && remedy.contains("writ"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_needs_no_tmp_no_home_and_no_directory_of_its_own() {
    let (outbox, ably) = (Outbox::create("notmp").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    insert(&client, "a", "{\"n\":1}").await;
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    // The shell's directory goes before the program starts: nobody else can be in one that is not there.
    let output = Command::new("sh")
        .args(["-c", "rmdir \"$PWD\"; exec \"$@\"", "sh", PROGRAM, "run", "--once"])
        .current_dir(&gone)
        .env_clear()
        .env("TMPDIR", gone.join("nowhere"))
        .env("HOME", "/nonexistent")
        .env("DATABASE_URL", outbox.database.dsn())
        .envs(ably_environment(&ably))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ably.wait_for(1).await.len(), 1);
}

#[test]
fn a_configuration_file_that_cannot_be_read_is_named() {
    let nowhere = std::env::temp_dir().join("nowhere/outbox-relay.toml");
    let environment = [("ABLY_API_KEY", KEY), ("DATABASE_URL", "postgres://u:hunter2@h/d")];
    let failed = fails(&["run", "--config", nowhere.to_str().unwrap()], &environment);
    failed.is(78, &["nowhere/outbox-relay.toml"], &["TOML file that this user can read"]);
}
