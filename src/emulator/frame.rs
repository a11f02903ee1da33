//! One accepted publish, and how it is written for WebSocket, SSE and history.

use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::group::Message;
use super::protocol::action;
use super::serial::Serial;

/// One accepted publish. Never changes; shared by history and every subscriber.
#[derive(Debug)]
pub(super) struct Frame {
    /// How many messages the emulator had accepted before, over all channels.
    pub(super) accepted_before: u64,
    pub(super) serial: Serial,
    pub(super) series: Arc<str>,
    pub(super) channel: Arc<str>,
    /// When it was accepted, in ms since 1970.
    pub(super) timestamp: u64,
    /// Of a publish over a WebSocket.
    pub(super) connection_id: Option<Arc<str>>,
    pub(super) messages: Vec<Message>,
    /// Memory it takes, about.
    pub(super) bytes: usize,
    pub(super) ephemeral: bool,
    /// Written once, however many subscribers there are.
    text: OnceLock<Utf8Bytes>,
}

/// A message in JSON as Ably writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireMessage<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    extras: Option<&'a RawValue>,
    serial: String,
    /// `message.create`
    action: u8,
    /// Where one stream carries several channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireFrame<'a> {
    action: u8,
    id: String,
    channel: &'a str,
    channel_serial: String,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    messages: Vec<WireMessage<'a>>,
}

/// What a publish is accepted with.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) accepted_before: u64,
    pub(super) serial: Serial,
    pub(super) series: Arc<str>,
    pub(super) channel: Arc<str>,
    pub(super) timestamp: u64,
    pub(super) connection_id: Option<Arc<str>>,
}

impl Frame {
    pub(super) fn new(accepted: Accepted, messages: Vec<Message>, ephemeral: bool) -> Self {
        let Accepted { accepted_before, serial, series, channel, timestamp, connection_id } =
            accepted;
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let text = |m: &Message| m.id.len() + of(&m.name) + of(&m.data) + of(&m.extras);
        // Twice the text, because the written frame is kept beside it, and the structures around.
        let bytes = messages.iter().map(|m| 2 * text(m) + 400).sum::<usize>() + 200;
        Self {
            accepted_before,
            serial,
            series,
            channel,
            timestamp,
            connection_id,
            messages,
            bytes,
            ephemeral,
            text: OnceLock::new(),
        }
    }

    /// `<serial>@<series>`
    pub(super) fn channel_serial(&self) -> String {
        self.serial.in_series(&self.series)
    }

    /// `<serial>@<series>:<index>`
    pub(super) fn message_serial(&self, index: usize) -> String {
        message_serial(self.serial, &self.series, index)
    }

    /// One of its messages; with the channel's name where a stream mixes channels.
    pub(super) fn message(&self, index: usize, with_channel: bool) -> Option<WireMessage<'_>> {
        let message = self.messages.get(index)?;
        Some(WireMessage {
            id: &message.id,
            name: message.name.as_deref(),
            data: message.data.as_deref(),
            encoding: message.encoding.as_deref(),
            client_id: message.client_id.as_deref(),
            connection_id: self.connection_id.as_deref(),
            timestamp: self.timestamp,
            // It was JSON when it came in.
            extras: message.extras.as_deref().and_then(|e| serde_json::from_str(e).ok()),
            serial: self.message_serial(index),
            action: 0,
            channel: with_channel.then_some(&*self.channel),
        })
    }

    /// The protocol message `MESSAGE` with all its messages.
    pub(super) fn text(&self) -> Utf8Bytes {
        self.text.get_or_init(|| self.text_after(0)).clone()
    }

    /// The protocol message `MESSAGE` without its first messages.
    pub(super) fn text_after(&self, skip: usize) -> Utf8Bytes {
        let frame = WireFrame {
            action: action::MESSAGE,
            id: self.channel_serial(),
            channel: &self.channel,
            channel_serial: self.channel_serial(),
            timestamp: self.timestamp,
            connection_id: self.connection_id.as_deref(),
            messages: (skip..self.messages.len())
                .filter_map(|index| self.message(index, false))
                .collect(),
        };
        // Strings and numbers always serialise.
        serde_json::to_string(&frame).unwrap_or_default().into()
    }
}

/// `<serial>@<series>:<index>`
pub(super) fn message_serial(serial: Serial, series: &str, index: usize) -> String {
    format!("{serial}@{series}:{index:03}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::group::Group;

    #[test]
    fn a_frame_is_what_the_official_client_reads() {
        let json = r#"[{"id":"b:0","name":"n","data":{"a":1},"extras":{"headers":{"h":12345678901234567890123}}},{"id":"b:1"}]"#;
        let group = Group::parse(json, 1_000, String::new).unwrap();
        let accepted = Accepted {
            accepted_before: 0,
            serial: Serial::START.next(5),
            series: "s".into(),
            channel: "tenant:a".into(),
            timestamp: 5,
            connection_id: None,
        };
        assert_eq!(
            Frame::new(accepted, group.messages, false).text().as_str(),
            r#"{"action":15,"id":"00000000000005-000@s","channel":"tenant:a","channelSerial":"00000000000005-000@s","timestamp":5,"messages":[{"id":"b:0","name":"n","data":"{\"a\":1}","encoding":"json","timestamp":5,"extras":{"headers":{"h":12345678901234567890123}},"serial":"00000000000005-000@s:000","action":0},{"id":"b:1","timestamp":5,"serial":"00000000000005-000@s:001","action":0}]}"#
        );
    }
}
