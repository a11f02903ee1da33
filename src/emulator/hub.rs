//! The channels: what was accepted, who hears it, what is remembered.
//!
//! One lock over all of them: accepting, storing and handing to every mailbox is one step, so all
//! subscribers of a channel see one order, and nobody sees a message that was not accepted. Nothing
//! waits or writes to a socket under the lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::EmulatorConfig;
use super::dedup::{DedupWindow, First};
use super::error::Refused;
use super::frame::{Accepted, Frame};
use super::group::{Group, check_channel};
use super::mailbox::{Delivery, Mailbox};
use super::rate::RateLimit;
use super::serial::Serial;

/// Bytes that one channel takes in a second on every Ably plan: 1 MiB.
const CHANNEL_BYTES_PER_SECOND: u64 = 1 << 20;

/// The limits of [`EmulatorConfig`] that concern channels; times in ms.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    dedup_window_ms: u64,
    rate_per_second: u32,
    pub(super) retention_ms: u64,
    messages_max: usize,
    bytes_max: usize,
    ids_max: usize,
    channels_max: usize,
}

impl From<&EmulatorConfig> for Limits {
    fn from(config: &EmulatorConfig) -> Self {
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self {
            dedup_window_ms: ms(config.dedup_window),
            rate_per_second: config.channel_rate_per_second,
            retention_ms: ms(config.retention),
            messages_max: config.retained_messages_max,
            bytes_max: config.retained_bytes_max,
            ids_max: config.remembered_ids_max,
            channels_max: config.channels_max,
        }
    }
}

/// What a publish is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) first: First,
    /// Nothing was stored nor delivered: the id had been taken before.
    pub(super) duplicate: bool,
}

#[derive(Debug)]
pub(super) struct Subscriber {
    attachment: u64,
    mailbox: Mailbox,
}

#[derive(Debug)]
pub(super) struct Channel {
    name: Arc<str>,
    dedup: DedupWindow,
    rate: RateLimit,
    bandwidth: RateLimit,
    /// Frames of the ring that are this channel's.
    pub(super) history: VecDeque<Arc<Frame>>,
    /// Of this channel nothing up to here is certain to be in `history`.
    pub(super) evicted_through: Serial,
    pub(super) subscribers: Vec<Subscriber>,
    active_ms: u64,
}

/// Everything under the lock.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) limits: Limits,
    pub(super) series: Arc<str>,
    by_name: HashMap<Arc<str>, Channel>,
    /// All retained frames in the order of acceptance.
    pub(super) ring: VecDeque<Arc<Frame>>,
    ring_messages: usize,
    ring_bytes: usize,
    pub(super) last: Serial,
    /// Messages accepted since the start.
    pub(super) accepted: u64,
    /// Repetitions that were not delivered again, in messages.
    pub(super) duplicates: u64,
    /// Subscribers that were too slow.
    pub(super) slow_disconnected: u64,
    remembered_ids: usize,
    /// The newest position of any channel that was removed for being idle.
    forgotten_through: Serial,
    next_attachment: u64,
}

/// The channels behind their lock.
#[derive(Debug)]
pub(super) struct Hub(Mutex<Channels>);

impl Hub {
    /// `series` names this run in every serial.
    pub(super) fn new(limits: Limits, series: Arc<str>) -> Self {
        Self(Mutex::new(Channels::new(limits, series)))
    }

    /// The channels. A panic elsewhere leaves them usable: every step keeps them consistent.
    pub(super) fn lock(&self) -> MutexGuard<'_, Channels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channels {
    pub(super) fn new(limits: Limits, series: Arc<str>) -> Self {
        Self {
            limits,
            series,
            by_name: HashMap::new(),
            ring: VecDeque::new(),
            ring_messages: 0,
            ring_bytes: 0,
            last: Serial::START,
            accepted: 0,
            duplicates: 0,
            slow_disconnected: 0,
            remembered_ids: 0,
            forgotten_through: Serial::START,
            next_attachment: 0,
        }
    }

    /// Accepts a publish, stores it and hands it to every subscriber, or refuses it whole.
    ///
    /// # Errors
    /// 40010 for the name, 42913 and 42914 over the channel's rates, 40114 and 50004 for the emulator's own bounds.
    pub(super) fn publish(
        &mut self,
        channel: &str,
        group: &Group,
        connection_id: Option<&Arc<str>>,
        now_ms: u64,
    ) -> Result<Published, Refused> {
        let rate = u64::from(self.limits.rate_per_second);
        let window = self.limits.dedup_window_ms;
        let channel = self.channel(channel, now_ms)?;
        channel.check_rates(rate, group.bytes, now_ms)?;
        let forgotten = channel.dedup.expire(now_ms, window);
        let first = group.key.as_deref().and_then(|key| channel.dedup.first(key));
        let name = Arc::clone(&channel.name);
        self.remembered_ids = self.remembered_ids.saturating_sub(forgotten);
        if let Some(first) = first {
            self.duplicates += group.messages.len() as u64;
            return Ok(Published { first, duplicate: true });
        }
        if group.key.is_some() && self.remembered_ids >= self.limits.ids_max {
            return Err(Refused::new(
                503,
                50_004,
                "The emulator remembers too many message ids; raise remembered_ids_max",
            ));
        }
        self.last = self.last.next(now_ms);
        let first = First { serial: self.last, count: group.messages.len() };
        let accepted = Accepted {
            accepted_before: self.accepted,
            serial: self.last,
            series: Arc::clone(&self.series),
            channel: Arc::clone(&name),
            timestamp: now_ms,
            connection_id: connection_id.cloned(),
        };
        self.accepted += group.messages.len() as u64;
        let frame = Arc::new(Frame::new(accepted, group.messages.clone(), group.ephemeral));
        if let Some(channel) = self.by_name.get_mut(&name) {
            if let Some(key) = &group.key {
                channel.dedup.remember(key, first, now_ms);
                self.remembered_ids += 1;
            }
            self.slow_disconnected += channel.deliver(&frame);
        }
        self.retain(frame);
        Ok(Published { first, duplicate: false })
    }

    /// The channel, created when it does not exist yet.
    pub(super) fn channel(&mut self, name: &str, now_ms: u64) -> Result<&mut Channel, Refused> {
        check_channel(name)?;
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= self.limits.channels_max {
                return Err(Refused::new(
                    403,
                    40_114,
                    format!("Channel limit reached ({} at a time)", self.limits.channels_max),
                ));
            }
            let name: Arc<str> = name.into();
            let channel = Channel {
                name: Arc::clone(&name),
                dedup: DedupWindow::default(),
                rate: RateLimit::full(self.limits.rate_per_second.into(), now_ms),
                bandwidth: RateLimit::full(CHANNEL_BYTES_PER_SECOND, now_ms),
                history: VecDeque::new(),
                evicted_through: self.forgotten_through,
                subscribers: Vec::new(),
                active_ms: now_ms,
            };
            self.by_name.insert(name, channel);
        }
        let Some(channel) = self.by_name.get_mut(name) else {
            return Err(Refused::new(500, 50_000, "The channel vanished"));
        };
        channel.active_ms = now_ms;
        Ok(channel)
    }

    /// The channel, if it exists.
    pub(super) fn existing(&self, name: &str) -> Option<&Channel> {
        self.by_name.get(name)
    }

    /// Channels at the moment.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Adds a listener and returns its attachment.
    pub(super) fn add_subscriber(
        &mut self,
        name: &str,
        mailbox: Mailbox,
        now_ms: u64,
    ) -> Result<u64, Refused> {
        self.next_attachment += 1;
        let attachment = self.next_attachment;
        self.channel(name, now_ms)?.subscribers.push(Subscriber { attachment, mailbox });
        Ok(attachment)
    }

    /// Ends an attachment.
    pub(super) fn unsubscribe(&mut self, name: &str, attachment: u64, now_ms: u64) {
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.subscribers.retain(|s| s.attachment != attachment);
            channel.active_ms = now_ms;
        }
    }

    fn retain(&mut self, frame: Arc<Frame>) {
        if let Some(channel) = self.by_name.get_mut(&frame.channel) {
            channel.history.push_back(Arc::clone(&frame));
        }
        self.ring_messages += frame.messages.len();
        self.ring_bytes += frame.bytes;
        self.ring.push_back(frame);
        let now_ms = self.ring.back().map_or(0, |newest| newest.timestamp);
        self.evict(now_ms);
    }

    /// Forgets frames beyond the limits of count and bytes, and those that history no longer reaches.
    fn evict(&mut self, now_ms: u64) {
        let old = now_ms.saturating_sub(self.limits.retention_ms);
        while self.ring_messages > self.limits.messages_max
            || self.ring_bytes > self.limits.bytes_max
            || self.ring.front().is_some_and(|oldest| oldest.timestamp < old)
        {
            let Some(evicted) = self.ring.pop_front() else { break };
            self.ring_messages -= evicted.messages.len();
            self.ring_bytes -= evicted.bytes;
            if let Some(channel) = self.by_name.get_mut(&evicted.channel) {
                channel.evicted_through = channel.evicted_through.max(evicted.serial);
                // A channel that was removed as idle and came back does not hold its old frames.
                if channel.history.front().is_some_and(|f| f.serial == evicted.serial) {
                    channel.history.pop_front();
                }
            }
        }
    }

    /// Forgets expired ids and idle channels. Called once in a while: publishing forgets only its own.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        self.evict(now_ms);
        let (window, retention) = (self.limits.dedup_window_ms, self.limits.retention_ms);
        let (mut forgotten, mut through) = (0, self.forgotten_through);
        self.by_name.retain(|_, channel| {
            forgotten += channel.dedup.expire(now_ms, window);
            channel.subscribers.retain(|s| !s.mailbox.is_gone());
            let idle = channel.subscribers.is_empty()
                && channel.dedup.is_empty()
                && now_ms.saturating_sub(channel.active_ms) > retention;
            if idle {
                let newest = channel.history.back().map_or(channel.evicted_through, |f| f.serial);
                through = through.max(newest);
            }
            !idle
        });
        self.remembered_ids = self.remembered_ids.saturating_sub(forgotten);
        self.forgotten_through = through;
    }
}

impl Channel {
    /// # Errors
    /// 42913 for too many publishes, 42914 for too many bytes. A rate of 0 is unlimited in both.
    fn check_rates(&mut self, rate: u64, bytes: usize, now_ms: u64) -> Result<(), Refused> {
        if rate == 0 {
            return Ok(());
        }
        if !self.rate.take(rate, 1, now_ms) {
            return Err(Refused::new(
                429,
                42_913,
                format!("Rate limit exceeded; {rate} messages per second on this channel"),
            ));
        }
        if !self.bandwidth.take(CHANNEL_BYTES_PER_SECOND, bytes as u64, now_ms) {
            return Err(Refused::new(
                429,
                42_914,
                format!(
                    "Bandwidth exceeded; {CHANNEL_BYTES_PER_SECOND} bytes per second on this channel"
                ),
            ));
        }
        Ok(())
    }

    /// Hands the frame to everybody and says how many were too slow for it.
    fn deliver(&mut self, frame: &Arc<Frame>) -> u64 {
        let mut slow = 0;
        self.subscribers.retain(|subscriber| {
            let mailbox = &subscriber.mailbox;
            if mailbox.no_echo.is_some() && mailbox.no_echo == frame.connection_id {
                return true;
            }
            if mailbox.is_gone() {
                return false;
            }
            let delivery = Delivery { attachment: subscriber.attachment, frame: Arc::clone(frame) };
            let taken = mailbox.push(delivery);
            slow += u64::from(!taken);
            taken
        });
        slow
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
