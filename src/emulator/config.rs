//! What an emulator can be told, and its defaults.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::error::EmulatorError;
use crate::domain::message::MESSAGE_BYTES_MAX_DEFAULT;

/// The key that an emulator takes when it is told no other: for development only.
pub const API_KEY_DEFAULT: &str = "dev.local:emulator";

/// Settings of an [`super::Emulator`]. `..EmulatorConfig::default()` fills what you leave out.
#[derive(Clone)]
pub struct EmulatorConfig {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The one key that is accepted, as Ably writes keys: `app.key:secret`. Default [`API_KEY_DEFAULT`].
    pub api_key: String,
    /// How long a message id is remembered per channel. Default 120 s, as Ably's.
    pub dedup_window: Duration,
    /// Publishes per channel and second; an atomic group counts as one. Default 50, which is every Ably
    /// plan's. 0 is unlimited and also lifts the limit of 1 MiB per channel and second.
    pub channel_rate_per_second: u32,
    /// Largest publish in bytes as Ably counts them. Default 65,536, which every plan takes.
    pub message_bytes_max: usize,
    /// Largest request body or WebSocket frame in bytes. Default 524,288: the smaller of the two limits
    /// that Ably documents (512 KiB per POST body, 2 MiB per batch), so that what passes here passes there.
    pub body_bytes_max: usize,
    /// How far back history, rewind and resume reach, and how long messages are kept in memory at most.
    /// Default 120 s, as Ably's without persistence.
    pub retention: Duration,
    /// Messages kept in memory, over all channels. Default 100,000; the oldest go first.
    pub retained_messages_max: usize,
    /// Bytes of messages kept in memory, over all channels. Default 64 MiB; the oldest go first.
    pub retained_bytes_max: usize,
    /// Message ids remembered over all channels. Default 1,000,000; beyond it publishing answers 503,
    /// because forgetting one early would deliver a duplicate.
    pub remembered_ids_max: usize,
    /// Channels at a time. Default 10,000 (Ably's standard plan); idle ones make room.
    pub channels_max: usize,
    /// Connections at a time. Default 1,024; more wait to be accepted.
    pub connections_max: usize,
    /// Bytes that may wait for one subscriber before it is disconnected. Default 16 MiB.
    pub subscriber_bytes_max: usize,
    /// Silence after which a subscriber gets a sign of life. Default 10 s; clients give up after 25 s.
    pub heartbeat: Duration,
}

impl Default for EmulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            api_key: API_KEY_DEFAULT.to_owned(),
            dedup_window: Duration::from_secs(120),
            channel_rate_per_second: 50,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            body_bytes_max: 524_288,
            retention: Duration::from_secs(120),
            retained_messages_max: 100_000,
            retained_bytes_max: 64 << 20,
            remembered_ids_max: 1_000_000,
            channels_max: 10_000,
            connections_max: 1_024,
            subscriber_bytes_max: 16 << 20,
            heartbeat: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for EmulatorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_name = self.api_key.split_once(':').map_or("(malformed)", |(name, _)| name);
        f.debug_struct("EmulatorConfig")
            .field("listen", &self.listen)
            .field("api_key", &format_args!("{key_name}:***"))
            .field("dedup_window", &self.dedup_window)
            .field("channel_rate_per_second", &self.channel_rate_per_second)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("retention", &self.retention)
            .field("retained_messages_max", &self.retained_messages_max)
            .field("retained_bytes_max", &self.retained_bytes_max)
            .field("remembered_ids_max", &self.remembered_ids_max)
            .field("channels_max", &self.channels_max)
            .field("connections_max", &self.connections_max)
            .field("subscriber_bytes_max", &self.subscriber_bytes_max)
            .field("heartbeat", &self.heartbeat)
            .finish()
    }
}

impl EmulatorConfig {
    /// # Errors
    /// When a limit is zero that must not be, naming it.
    pub(super) fn check(&self) -> Result<(), EmulatorError> {
        for (name, value) in [
            ("message_bytes_max", self.message_bytes_max),
            ("body_bytes_max", self.body_bytes_max),
            ("retained_messages_max", self.retained_messages_max),
            ("retained_bytes_max", self.retained_bytes_max),
            ("remembered_ids_max", self.remembered_ids_max),
            ("channels_max", self.channels_max),
            ("connections_max", self.connections_max),
            ("subscriber_bytes_max", self.subscriber_bytes_max),
        ] {
            if value == 0 {
                return Err(EmulatorError::ZeroLimit { name });
            }
        }
        if self.heartbeat.is_zero() {
            return Err(EmulatorError::ZeroLimit { name: "heartbeat" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_key_name_and_never_the_secret() {
        let config =
            EmulatorConfig { api_key: "app.key:s3cret".into(), ..EmulatorConfig::default() };
        let text = format!("{config:?}");
        assert!(text.contains("app.key:***") && !text.contains("s3cret"), "{text}");
        let config = EmulatorConfig { api_key: "s3cret".into(), ..EmulatorConfig::default() };
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        assert!(EmulatorConfig::default().check().is_ok());
        let config = EmulatorConfig { channels_max: 0, ..EmulatorConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("channels_max"));
    }
}
