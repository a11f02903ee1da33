//! Generated types, compiled by their own compilers and used on real messages.

#[rustfmt::skip]
#[expect(unreachable_pub, clippy::use_self, reason = "as generated")]
mod generated;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outbox_relay::registry::event_types::Registry;
use outbox_relay::registry::types::{Language, generate};
use serde_json::{Value, json};

use super::commands::run;
use crate::support::local_ably::LocalAbly;
use crate::support::outbox::Outbox;
use crate::support::relay::RelayCommand;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn schemas() -> PathBuf {
    Path::new(ROOT).join("tests/it/registry/schemas")
}

fn registry() -> Registry {
    Registry::open(&schemas()).unwrap()
}

/// An order that uses every word of its schema.
fn order() -> Value {
    let price = json!({"amount": 9.5, "currency": "EUR"});
    let part = json!({"sku": "bolt", "price": price});
    json!({
        "orderId": "0197e2f4-5b0a-7c3e-8f6d-1a2b3c4d5e6f", "total": price, "channel": "in-store", "type": "order",
        "lines": [{"sku": "door", "price": price, "parts": [part], "instead-of": part}], "note": "éé\u{1f600}",
        "tags": {"a": "b"}, "ship to": {"city": "Graz", "zip": 8010}, "payment": {"card": "1234"}, "anything": [null, 1],
    })
}

/// Events of every type: type, payload, and what the program in TypeScript says.
fn events() -> Vec<(&'static str, Value, &'static str)> {
    let task = |time: &str, percent: Option<u8>| {
        let mut payload =
            json!({"taskId": "t-1", "employeeId": "e-1", time: "2026-01-23T10:30:00Z"});
        if let Some(percent) = percent {
            payload["progressPercent"] = percent.into();
        }
        payload
    };
    vec![
        ("kitchen.task.claimed", task("claimedAt", None), "e-1 claimed t-1"),
        ("kitchen.task.progress", task("updatedAt", Some(40)), "t-1 is at 40"),
        ("kitchen.task.released", task("releasedAt", None), "t-1 was released"),
        ("orders.order.created", order(), "in-store 9.5 Graz bolt"),
        ("orders.order.deleted", json!({"orderId": "o"}), "o by nobody"),
    ]
}

/// Envelopes that went from the outbox through a validating relay to (the emulator of) Ably.
async fn real_messages() -> Vec<String> {
    let (outbox, ably) = (Outbox::create("typed").await, LocalAbly::start().await);
    let client = outbox.connect().await;
    for (event_type, payload, _) in events() {
        let sql = "select outbox.enqueue('tenant-abc', $1, $2::text::jsonb, 'Thing', '1')";
        client.query_one(sql, &[&event_type, &payload.to_string()]).await.unwrap();
    }
    let mut relay = RelayCommand::new(&outbox.database.dsn(), &ably)
        .arg("--once")
        .arg("--registry")
        .arg(schemas().to_str().unwrap())
        .env("OUTBOX_RELAY_REGISTRY_VALIDATE", "reject")
        .start();
    assert_eq!(relay.wait(), Some(0), "{:#?}", relay.log());
    let texts = ably.wait_for_texts(5).await;
    texts.into_iter().map(|(_, text)| text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_rust_reads_real_messages_and_writes_them_back() {
    let messages = real_messages().await;
    assert_eq!(messages.len(), 5);
    for text in messages {
        let event: generated::RealtimeEvent = serde_json::from_str(&text).unwrap();
        assert_eq!(event.version, generated::ENVELOPE_VERSION);
        match &event.event {
            generated::Event::KitchenTaskProgress(progress) => {
                assert_eq!(progress.progress_percent, 40);
            }
            generated::Event::OrdersOrderCreated(order) => {
                assert_eq!(order.channel, generated::OrdersOrderCreatedPayloadChannel::InStore);
                assert_eq!(order.ship_to.as_ref().unwrap().zip, Some(8010));
                assert_eq!(order.lines[0].instead_of.as_ref().unwrap().sku, "bolt");
            }
            generated::Event::KitchenTaskClaimed(_)
            | generated::Event::KitchenTaskReleased(_)
            | generated::Event::OrdersOrderDeleted(_) => {}
        }
        let back = serde_json::to_value(&event).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(&text).unwrap());
        assert!(registry().check(&back).is_ok());
    }
}

#[test]
fn generated_rust_is_what_the_compiler_has_seen() {
    // `TYPES_WRITE=1 cargo test --test it types` writes the file instead of comparing it.
    let text = generate(&registry(), Language::Rust, &[]);
    if std::env::var_os("TYPES_WRITE").is_some() {
        std::fs::write(Path::new(ROOT).join("tests/it/registry/types/generated.rs"), text).unwrap();
        return;
    }
    assert_eq!(text, include_str!("types/generated.rs"), "run it with TYPES_WRITE=1");
}

/// A directory in which TypeScript finds the packages of `tests/js`.
fn workshop(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let modules = Path::new(ROOT).join("tests/js/node_modules").canonicalize().unwrap();
    assert!(modules.join("typescript").is_dir(), "run: npm ci --prefix tests/js");
    std::os::unix::fs::symlink(modules, directory.join("node_modules")).unwrap();
    std::fs::write(directory.join("package.json"), r#"{"type": "module"}"#).unwrap();
    directory
}

fn compile(directory: &Path) {
    let output = Command::new("node")
        .args(["node_modules/typescript/bin/tsc", "--strict", "--noUncheckedIndexedAccess"])
        .args(["--exactOptionalPropertyTypes", "--module", "nodenext", "--target", "es2022"])
        .args(["--types", "node", "--skipLibCheck", "--outDir", "out", "consumer.ts"])
        .current_dir(directory)
        .output()
        .expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What the consumer says to each message.
fn consume(directory: &Path, messages: &[Value]) -> Vec<Value> {
    let mut child = Command::new("node")
        .arg("out/consumer.js")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for message in messages {
        writeln!(stdin, "{message}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_typescript_and_zod_compile_under_strict_and_read_real_messages() {
    let directory = workshop("generated-types");
    for (lang, file) in [("typescript", "events.ts"), ("zod", "zod.ts")] {
        let registry = schemas();
        let args = [
            "types",
            "generate",
            "--registry",
            registry.to_str().unwrap(),
            "--lang",
            lang,
            "--out",
            file,
        ];
        let (code, stdout, stderr) = run(&args, &directory, "");
        assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    }
    std::fs::copy(
        Path::new(ROOT).join("tests/js/events_consumer.ts"),
        directory.join("consumer.ts"),
    )
    .unwrap();
    compile(&directory);
    let message = |text: &String| {
        let data: Value = serde_json::from_str(text).unwrap();
        json!({"name": data["eventType"], "data": data})
    };
    let messages: Vec<Value> = real_messages().await.iter().map(message).collect();
    let expected: Vec<Value> = events().iter().map(|(.., says)| json!({"says": says})).collect();
    assert_eq!(consume(&directory, &messages), expected);
    zod_judges_as_the_registry(&directory, &messages, &expected);
}

/// Zod refuses what the registry refuses, at the same place, and takes what it takes.
fn zod_judges_as_the_registry(directory: &Path, messages: &[Value], expected: &[Value]) {
    let (registry, mut wrong) = (registry(), Vec::new());
    for (index, pointer, value) in [
        (0, "/data/payload/taskId", json!("")),
        (0, "/data/payload/claimedAt", json!("2026-01-23T10:30:00+01:00")),
        (1, "/data/payload/progressPercent", json!(101)),
        (1, "/data/payload/progressPercent", json!(0.5)),
        (3, "/data/payload/channel", json!("phone")),
        (3, "/data/payload/note", json!("four")),
        (3, "/data/payload/lines", json!([])),
        (3, "/data/payload/lines/0/price/amount", json!(-1)),
        (3, "/data/payload/ship to/zip", json!("8010")),
        (3, "/data/payload/orderId", json!("no uuid")),
        (3, "/data/tenantId", json!("")),
        (3, "/data/tenantId", json!(" \u{85}")),
        (3, "/data/tenantId", json!("a:b")),
        (3, "/data/tenantId", json!("*")),
        (3, "/data/tenantId", json!("a,b")),
        (3, "/data/tenantId", json!("[a")),
        (3, "/data/tenantId", json!("a\n")),
        (3, "/data/tenantId", json!("a\u{9f}")),
        (3, "/data/tenantId", json!("é".repeat(1_021))),
        (3, "/data/aggregateId", json!("\u{a0}")),
        (3, "/data/occurredAt", json!("2026-01-23t10:30:00Z")),
        (3, "/data/occurredAt", json!("2026-01-23T10:30:00z")),
        (3, "/data/version", json!(2)),
    ] {
        let mut message = messages[index].clone();
        *message.pointer_mut(pointer).unwrap() = value;
        let path = pointer.strip_prefix("/data").unwrap();
        let problems = registry.check(&message["data"]).unwrap_err();
        assert!(problems.as_slice().iter().any(|p| p.path == path), "{path}: {problems}");
        wrong.push((path.trim_start_matches('/'), message));
    }
    for tenant in ["a[b", "é".repeat(1_020).as_str(), "a b/ü\u{feff}"] {
        let mut message = messages[0].clone();
        message["data"]["tenantId"] = tenant.into();
        assert!(registry.check(&message["data"]).is_ok());
        assert_eq!(consume(directory, &[message]), expected[..1], "{tenant}");
    }
    let answers =
        consume(directory, &wrong.iter().map(|(_, message)| message.clone()).collect::<Vec<_>>());
    for ((path, _), answer) in wrong.iter().zip(answers) {
        // In recursive types and unions zod may stop above.
        let paths = answer["paths"].as_array().unwrap_or_else(|| panic!("{path}: {answer}"));
        assert!(paths.iter().any(|p| path.starts_with(p.as_str().unwrap())), "{path}: {answer}");
    }
}

#[test]
fn one_json_schema_says_the_same_as_the_registry() {
    let all = generate(&registry(), Language::JsonSchema, &[]);
    assert!(all.contains("urn:event:orders.order.created"));
    let kitchen = generate(&registry(), Language::JsonSchema, &["kitchen".to_owned()]);
    assert!(!kitchen.contains("orders"), "{kitchen}");
    // Without references ids are of no use, and a registry's file has none within.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("an.envelope.json");
    std::fs::write(file, kitchen.replace("\"$id\"", "\"x-id\"")).unwrap();
    let validator = Registry::of_directory(directory.path()).unwrap();
    let (event_type, payload, _) = events().remove(0);
    let mut envelope = json!({
        "id": "1", "version": 1, "tenantId": "t", "aggregateType": "A", "aggregateId": "a",
        "occurredAt": "2026-01-23T10:30:00Z", "eventType": event_type, "payload": payload,
    });
    assert_eq!(validator.check_payload("an.envelope", &envelope), Ok(()));
    for (name, value) in [
        ("tenantId", "a:b"),
        ("tenantId", "[a"),
        ("tenantId", "a\n"),
        ("tenantId", " "),
        ("aggregateId", " "),
        ("occurredAt", "2026-01-23t10:30:00Z"),
    ] {
        let mut wrong = envelope.clone();
        wrong[name] = value.into();
        let problems = validator.check_payload("an.envelope", &wrong).unwrap_err();
        assert_eq!(problems.as_slice()[0].path, format!("/payload/{name}"), "{value:?}");
    }
    envelope["payload"]["taskId"] = json!("");
    assert!(validator.check_payload("an.envelope", &envelope).is_err());
}

#[test]
fn an_incompatible_change_is_refused_with_file_path_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let now = directory.path().join("now");
    std::fs::create_dir(&now).unwrap();
    let old = schemas();
    for file in ["orders.order.created.json", "orders.order.deleted.json"] {
        std::fs::copy(old.join(file), now.join(file)).unwrap();
    }
    let check = || {
        let args = ["types", "check", "--registry", "now", "--against", old.to_str().unwrap()];
        run(&args, directory.path(), "")
    };
    assert_eq!(check(), (Some(0), "compatible\n".into(), String::new()));
    let file = now.join("orders.order.created.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"city\": {", "\"town\": {")).unwrap();
    std::fs::remove_file(now.join("orders.order.deleted.json")).unwrap();
    let (code, stdout, stderr) = check();
    assert_eq!(code, Some(65), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].contains("now/orders.order.created.json: /properties/ship to/properties/city was removed; keep it"),
        "{stdout}"
    );
    assert!(lines[1].contains("orders.order.deleted.json: the schema is gone"), "{stdout}");
    assert!(stderr.contains("2 changes"), "{stderr}");
}
