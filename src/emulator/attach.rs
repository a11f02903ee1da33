//! Where a subscriber begins: now, some messages back, or where it was cut off.

use std::cmp::Ordering;
use std::sync::Arc;

use super::error::Refused;
use super::frame::Frame;
use super::hub::Channels;
use super::mailbox::Mailbox;
use super::serial::Serial;

/// Messages that a rewind returns at most; Ably documents 100 for a count.
const REWIND_MESSAGES_MAX: usize = 100;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// With the next message.
    Now,
    /// After a channel serial or message serial that an earlier subscription had.
    After(&'a str),
    /// With this many of the last messages.
    Last(usize),
    /// With the messages of this many ms.
    Since(u64),
}

impl Start<'_> {
    /// Reads `rewind`: `10` (messages), `15s` or `2m`.
    ///
    /// # Errors
    /// 40003 for anything else.
    pub(super) fn rewind(text: &str) -> Result<Self, Refused> {
        let (digits, unit_ms) = match text.strip_suffix('s') {
            Some(digits) => (digits, Some(1_000_u64)),
            None => text.strip_suffix('m').map_or((text, None), |digits| (digits, Some(60_000))),
        };
        let number: u64 = digits.parse().map_err(|_| {
            Refused::bad(40_003, format!("Invalid rewind {text:?}: use a count, 15s or 2m"))
        })?;
        Ok(match unit_ms {
            Some(unit) => Self::Since(number.saturating_mul(unit)),
            None => Self::Last(usize::try_from(number).unwrap_or(usize::MAX)),
        })
    }
}

/// A frame to replay, without the messages that the subscriber had already.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    pub(super) frame: Arc<Frame>,
    /// Messages of it to leave out.
    pub(super) skip: usize,
}

/// A subscription that has begun.
#[derive(Debug)]
pub(super) struct Attached {
    /// Its number; deliveries carry it.
    pub(super) attachment: u64,
    /// Nothing was missed, or `backlog` holds all of it.
    pub(super) resumed: bool,
    /// The position *before* the backlog: a client that is cut off again before it has the backlog
    /// comes back with this.
    pub(super) position: String,
    /// To be sent before anything of the mailbox.
    pub(super) backlog: Vec<Replay>,
}

impl Channels {
    /// Begins a subscription. Backlog and mailbox join without gap or overlap: both are decided under
    /// one lock.
    ///
    /// # Errors
    /// As [`Channels::channel`].
    pub(super) fn subscribe(
        &mut self,
        name: &str,
        mailbox: Mailbox,
        start: Start<'_>,
        now_ms: u64,
    ) -> Result<Attached, Refused> {
        let attachment = self.add_subscriber(name, mailbox, now_ms)?;
        let now = || Attached {
            attachment,
            resumed: false,
            position: self.last.in_series(&self.series),
            backlog: Vec::new(),
        };
        let Some(backlog) = self.backlog(name, start, now_ms) else { return Ok(now()) };
        if let Start::After(serial) = start {
            let position = serial.split_once(':').map_or_else(
                || serial.to_owned(),
                // Half of a group was seen: its own serial would skip the rest.
                |(serial, _)| {
                    backlog.first().filter(|r| r.skip > 0).map_or_else(
                        || serial.to_owned(),
                        |r| r.frame.serial.previous().in_series(&self.series),
                    )
                },
            );
            return Ok(Attached { attachment, resumed: true, position, backlog });
        }
        let Some(first) = backlog.first() else { return Ok(now()) };
        let position = first.frame.serial.previous().in_series(&self.series);
        Ok(Attached { attachment, resumed: false, position, backlog })
    }

    /// `None` when the position is of another run, or what followed it is no longer there.
    fn backlog(&self, name: &str, start: Start<'_>, now_ms: u64) -> Option<Vec<Replay>> {
        let channel = self.existing(name)?;
        let oldest_ms = now_ms.saturating_sub(self.limits.retention_ms);
        let stored = || channel.history.iter().filter(move |f| f.timestamp >= oldest_ms);
        let kept = || stored().filter(|f| !f.ephemeral);
        let whole = |frame: &Arc<Frame>| Replay { frame: Arc::clone(frame), skip: 0 };
        match start {
            Start::Now => None,
            Start::Since(ms) => {
                let since = now_ms.saturating_sub(ms);
                Some(kept().filter(|f| f.timestamp >= since).map(whole).collect())
            }
            Start::Last(count) => {
                let mut wanted = count.min(REWIND_MESSAGES_MAX);
                let mut replays = Vec::new();
                let newest_first: Vec<_> = kept().collect();
                for frame in newest_first.into_iter().rev() {
                    if wanted == 0 {
                        break;
                    }
                    let taken = frame.messages.len().min(wanted);
                    wanted -= taken;
                    let skip = frame.messages.len() - taken;
                    replays.push(Replay { frame: Arc::clone(frame), skip });
                }
                replays.reverse();
                Some(replays)
            }
            Start::After(text) => {
                let after = Serial::parse(text).filter(|p| p.series == &*self.series)?;
                let seen = |frame: &Frame| match frame.serial.cmp(&after.serial) {
                    Ordering::Less => usize::MAX,
                    Ordering::Equal => after.index.map_or(usize::MAX, |i| i.saturating_add(1)),
                    Ordering::Greater => 0,
                };
                let too_old = channel.history.iter().rev().find(|f| f.timestamp < oldest_ms);
                let lost = too_old.map_or(channel.evicted_through, |f| f.serial);
                if after.serial < lost.max(channel.evicted_through) {
                    return None;
                }
                let replays = kept().filter_map(|frame| {
                    let skip = seen(frame);
                    (skip < frame.messages.len()).then(|| Replay { frame: Arc::clone(frame), skip })
                });
                Some(replays.collect())
            }
        }
    }
}
