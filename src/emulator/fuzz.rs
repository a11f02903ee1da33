//! Fuzz entry points: bodies of publishes and batches, WebSocket frames, faults.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::EmulatorConfig;
use super::admin::read_faults;
use super::attach::Start;
use super::batch::read_specs;
use super::faults::{FaultBoard, Target};
use super::group::Group;
use super::history::HistoryQuery;
use super::hub::{Hub, Limits};
use super::mailbox::mailbox;
use super::protocol::{Inbound, MODES_ALL};

/// Now, in ms since 1970, for all of them.
const NOW_MS: u64 = 1_800_000_000_000;

fn hub() -> Hub {
    let config = EmulatorConfig { retained_messages_max: 64, ..EmulatorConfig::default() };
    Hub::new(Limits::from(&config), "series".into())
}

/// A body of `POST /channels/x/messages` and of `POST /messages`.
pub(crate) fn publish(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    if let Ok(group) = Group::parse(body, 65_536, || "base".into()) {
        assert!(group.bytes <= 65_536);
        let hub = hub();
        let mut channels = hub.lock();
        let first = channels.publish("x", &group, None, NOW_MS);
        let again = channels.publish("x", &group, None, NOW_MS);
        if let (Ok(first), Ok(again), true) = (first, again, group.key.is_some()) {
            assert!(!first.duplicate && again.duplicate, "a key is accepted once");
            assert_eq!(first.first, again.first);
        }
        drop(channels);
        read_back(&hub, "x", "", None);
    }
    if let Ok(specs) = read_specs(body) {
        assert!(!specs.is_empty());
    }
}

/// A frame of a WebSocket client, into a channel that has messages already.
pub(crate) fn websocket(data: &[u8]) {
    let Ok(inbound) = serde_json::from_slice::<Inbound>(data) else { return };
    let hub = hub();
    let name = inbound.channel.unwrap_or_else(|| "x".to_owned());
    for n in 0..3 {
        if let Ok(group) = Group::parse(&format!("{{\"data\":\"{n}\"}}"), 65_536, || n.to_string())
        {
            _ = hub.lock().publish(&name, &group, None, NOW_MS);
        }
    }
    if let Some(messages) = &inbound.messages
        && let Ok(group) = Group::parse(messages.get(), 65_536, || "base".into())
    {
        _ = hub.lock().publish(&name, &group, Some(&Arc::from("connection")), NOW_MS);
    }
    _ = inbound.flags.unwrap_or(0) & MODES_ALL;
    let rewind = inbound.params.as_ref().and_then(|p| p.get("rewind")).map(Value::to_string);
    read_back(&hub, &name, &inbound.channel_serial.unwrap_or_default(), rewind.as_deref());
}

/// Attaches and asks for the history, both from where the input says.
fn read_back(hub: &Hub, name: &str, serial: &str, rewind: Option<&str>) {
    let reset = CancellationToken::new();
    let (post, _inbox) = mailbox(1 << 20, reset, None);
    let starts = [Ok(Start::After(serial)), Start::rewind(rewind.unwrap_or("1")), Ok(Start::Now)];
    for start in starts.into_iter().flatten() {
        if let Ok(attached) = hub.lock().subscribe(name, post.clone(), start, NOW_MS) {
            for replay in &attached.backlog {
                assert!(replay.skip < replay.frame.messages.len(), "an empty replay");
                let text: Result<Value, _> = serde_json::from_str(&replay.frame.text());
                assert!(text.is_ok(), "a frame is JSON");
            }
        }
    }
    for (name, value) in [("cursor", serial), ("from_serial", serial), ("limit", "2")] {
        let params = HashMap::from([(name.to_owned(), value.to_owned())]);
        if let Ok(query) = HistoryQuery::parse(&params) {
            let page = hub.lock().history("x", &query, NOW_MS);
            assert!(page.items.len() <= 100);
        }
    }
}

/// A body of `POST /_emulator/faults`, and what the faults then do.
pub(crate) fn faults(data: &[u8]) {
    let Ok(faults) = read_faults(data) else { return };
    let board = FaultBoard::default();
    for fault in faults {
        _ = board.install(fault);
    }
    for _ in 0..3 {
        board.strike(Target::Publish("x"), || 0.5);
        board.strike(Target::Batch(&["x", "y"]), || 0.5);
        board.strike(Target::Spec("y"), || 0.5);
    }
    assert!(serde_json::to_string(&board.list()).is_ok());
}
