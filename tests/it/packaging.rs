//! What is in `packaging/` fits this program, and systemd is told what its unit waits for.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox_relay::config::reference;

use crate::support::local_ably::{LIMIT, LocalAbly};
use crate::support::outbox::{Outbox, insert};
use crate::support::relay::RelayCommand;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file of `packaging/`.
fn files(below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The words of `text` that look like a setting's variable.
fn variables(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let ours = |name: &&str| {
        let known = ["OUTBOX_RELAY_", "DATABASE_URL", "DIRECT_URL", "ABLY_"];
        known.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with('_')
    };
    text.split(word).filter(ours).collect()
}

#[test]
fn every_variable_in_a_package_is_one_of_the_programs() {
    let table = reference::markdown();
    let known = variables(&table);
    let mut seen = 0;
    for file in files(&Path::new(ROOT).join("packaging")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in variables(&text) {
            assert!(known.contains(name), "{}: {name} is no setting", file.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    assert_eq!(variables("A: OUTBOX_RELAY_NO_SUCH=1"), BTreeSet::from(["OUTBOX_RELAY_NO_SUCH"]));
}

#[test]
fn every_package_starts_commands_that_there_are() {
    let commands = [
        ("container/Dockerfile", r#"CMD ["run"]"#, &["run"][..]),
        ("container/Dockerfile", r#""health", "--live""#, &["health", "--live"]),
        ("systemd/outbox-relay.service", "outbox-relay run\n", &["run"]),
        ("compose/compose.yaml", r#"["migrate", "up"]"#, &["migrate", "up"]),
        (
            "compose/compose.yaml",
            r#"["emulator", "--listen", "#,
            &["emulator", "--listen", "127.0.0.1:0"],
        ),
        ("kubernetes/deployment.yaml", r#"args: ["run"]"#, &["run"]),
        ("kubernetes/migrate.yaml", r#"args: ["migrate", "up"]"#, &["migrate", "up"]),
        (
            "helm/outbox-relay/templates/migrate.yaml",
            r#"args: ["migrate", "up"]"#,
            &["migrate", "up"],
        ),
    ];
    for (file, says, command) in commands {
        let text = std::fs::read_to_string(Path::new(ROOT).join("packaging").join(file)).unwrap();
        assert!(text.contains(says), "{file}: {says}");
        let program = env!("CARGO_BIN_EXE_outbox-relay");
        let help = Command::new(program).args(command).arg("--help").output().unwrap();
        assert!(help.status.success(), "{command:?}");
    }
}

#[test]
fn the_tools_that_read_a_package_find_nothing_wrong_with_it() {
    let python = Path::new(ROOT).join("tests/python");
    let interpreter = python.join("venv/bin/python");
    if !python.join("venv/bin/hadolint").exists() {
        eprintln!("not run: no hadolint in tests/python/venv; scripts/test installs it");
        return;
    }
    let ran = Command::new(interpreter)
        .arg(python.join("packages.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    for what in [
        "hadolint: ",
        "kubernetes: deployment.yaml",
        "helm lint: ",
        "helm template with ",
        "compose: ",
    ] {
        assert!(said.contains(what), "{what:?} is not in {said}");
    }
}

#[test]
fn systemd_finds_the_unit_well_made_and_little_exposed() {
    let analyze = |arguments: &[&str], unit: &Path| {
        let output = Command::new("systemd-analyze").args(arguments).arg(unit).output().ok()?;
        let both = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&both).into_owned()))
    };
    let unit = Path::new(ROOT).join("packaging/systemd/outbox-relay.service");
    // `verify` wants the program to be there.
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("outbox-relay.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    let program = env!("CARGO_BIN_EXE_outbox-relay");
    std::fs::write(&copy, text.replace("/usr/local/bin/outbox-relay", program)).unwrap();
    let Some((fine, said)) = analyze(&["verify"], &copy) else {
        println!("no systemd-analyze here: the unit is not checked");
        return;
    };
    assert!(fine && said.trim().is_empty(), "{said}");
    // Exposure in tenths, at most: 1.2 is what is left for a service that uses the network.
    let (fine, said) = analyze(&["security", "--offline=true", "--threshold=15"], &copy).unwrap();
    assert!(fine, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_relay_is_ready_alive_and_stopping() {
    let (outbox, ably) = (Outbox::create("systemd").await, LocalAbly::start().await);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let said = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a message in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "400000")
        .start();
    assert!(said().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(said(), "WATCHDOG=1");
    }
    // `ExecReload` is this signal: systemd is told when that begins and when it is over.
    relay.signal(nix::sys::signal::Signal::SIGHUP);
    let reload: Vec<_> =
        std::iter::repeat_with(said).filter(|s| s != "WATCHDOG=1").take(2).collect();
    assert!(reload[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reload:?}");
    assert!(reload[1].starts_with("READY=1\n"), "{reload:?}");
    let client = outbox.connect().await;
    insert(&client, "a", "{\"n\":1}").await;
    ably.wait_for(1).await;
    let ended = std::thread::spawn(|| relay.terminate());
    while !said().starts_with("STOPPING=1\n") {}
    assert_eq!(ended.join().unwrap(), Some(0));
}
