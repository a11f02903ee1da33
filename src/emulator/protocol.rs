//! Protocol messages of Ably's WebSocket, in JSON, as far as the emulator speaks them.

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::Refused;

/// `action` of a protocol message.
pub(super) mod action {
    pub(in crate::emulator) const HEARTBEAT: u8 = 0;
    pub(in crate::emulator) const ACK: u8 = 1;
    pub(in crate::emulator) const NACK: u8 = 2;
    pub(in crate::emulator) const CONNECTED: u8 = 4;
    pub(in crate::emulator) const DISCONNECT: u8 = 5;
    pub(in crate::emulator) const CLOSE: u8 = 7;
    pub(in crate::emulator) const CLOSED: u8 = 8;
    pub(in crate::emulator) const ERROR: u8 = 9;
    pub(in crate::emulator) const ATTACH: u8 = 10;
    pub(in crate::emulator) const ATTACHED: u8 = 11;
    pub(in crate::emulator) const DETACH: u8 = 12;
    pub(in crate::emulator) const DETACHED: u8 = 13;
    pub(in crate::emulator) const PRESENCE: u8 = 14;
    pub(in crate::emulator) const MESSAGE: u8 = 15;
}

/// `flags` of ATTACHED: a backlog follows.
pub(super) const HAS_BACKLOG: u64 = 1 << 1;
/// `flags` of ATTACHED: continuity was kept.
pub(super) const RESUMED: u64 = 1 << 2;
/// `flags` of ATTACH and ATTACHED: the mode that lets messages through.
pub(super) const SUBSCRIBE: u64 = 1 << 18;
/// PRESENCE, PUBLISH, SUBSCRIBE and PRESENCE_SUBSCRIBE: what a client gets that asks for none.
pub(super) const MODES_ALL: u64 = 0b1111 << 16;

/// What a client sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inbound {
    pub(super) action: u8,
    pub(super) id: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) channel_serial: Option<String>,
    pub(super) flags: Option<u64>,
    pub(super) params: Option<Value>,
    pub(super) msg_serial: Option<u64>,
    pub(super) messages: Option<Box<RawValue>>,
}

/// The first frame. `resume_failed` tells a client that its old connection is unknown.
pub(super) fn connected(details: Details<'_>, resume_failed: bool) -> Utf8Bytes {
    let mut frame = json!({
        "action": action::CONNECTED,
        "connectionId": details.connection_id,
        "connectionDetails": {
            "connectionKey": details.connection_key,
            "clientId": details.client_id,
            "maxMessageSize": details.message_bytes_max,
            "maxFrameSize": details.frame_bytes_max,
            "connectionStateTtl": 120_000,
            "maxIdleInterval": details.idle_ms_max,
            "serverId": "emulator",
        },
    });
    if resume_failed {
        let refused = Refused::bad(80_018, "The connection to resume is not of this emulator run");
        frame["error"] = refused.to_json();
    }
    text(&frame)
}

/// What a client is told about its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Details<'a> {
    pub(super) connection_id: &'a str,
    pub(super) connection_key: &'a str,
    pub(super) client_id: &'a str,
    pub(super) message_bytes_max: usize,
    pub(super) frame_bytes_max: usize,
    /// Silence after which the client may give up, in ms.
    pub(super) idle_ms_max: u64,
}

/// A frame of the emulator's own making.
pub(super) fn text(frame: &Value) -> Utf8Bytes {
    frame.to_string().into()
}

/// ERROR for the connection, or for one channel.
pub(super) fn error(refused: &Refused, channel: Option<&str>) -> Utf8Bytes {
    let mut frame = json!({ "action": action::ERROR, "error": refused.to_json() });
    if let Some(channel) = channel {
        frame["channel"] = channel.into();
    }
    text(&frame)
}

/// ACK of one frame, whatever it held: `count` is of frames.
pub(super) fn ack(msg_serial: u64, serials: &[String]) -> Utf8Bytes {
    text(&json!({
        "action": action::ACK, "msgSerial": msg_serial, "count": 1, "res": [{ "serials": serials }],
    }))
}

/// NACK of one frame.
pub(super) fn nack(msg_serial: u64, refused: &Refused) -> Utf8Bytes {
    text(&json!({
        "action": action::NACK, "msgSerial": msg_serial, "count": 1, "error": refused.to_json(),
    }))
}

/// ERROR in msgpack, for clients that asked for msgpack: they could not read it in JSON, and would
/// report a broken connection instead of the remedy.
pub(super) fn msgpack_error(refused: &Refused) -> Vec<u8> {
    let mut out = vec![0x82];
    push_str(&mut out, "action");
    out.push(action::ERROR);
    push_str(&mut out, "error");
    out.push(0x83);
    for (name, number) in [("code", refused.code), ("statusCode", refused.status.into())] {
        push_str(&mut out, name);
        out.push(0xce);
        out.extend(number.to_be_bytes());
    }
    push_str(&mut out, "message");
    push_str(&mut out, &refused.message);
    out
}

/// A msgpack string of up to 65,535 bytes (str 16).
fn push_str(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.push(0xda);
    out.extend(length.to_be_bytes());
    out.extend(&text.as_bytes()[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_counts_its_frame_and_writes_serial_0() {
        let ack = ack(0, &["a".into(), "b".into()]);
        let ack: Value = serde_json::from_str(&ack).unwrap();
        assert_eq!(
            ack,
            json!({"action": 1, "msgSerial": 0, "count": 1, "res": [{"serials": ["a", "b"]}]})
        );
    }

    #[test]
    fn modes_are_the_four_bits_that_the_official_client_checks() {
        assert_eq!(MODES_ALL, 983_040);
    }
}
