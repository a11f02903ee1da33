//! Reading back what a channel had: filters, order, pages.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::error::Refused;
use super::frame::Frame;
use super::hub::Channels;
use super::serial::Serial;

/// A history request; times in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryQuery {
    start: u64,
    end: u64,
    limit: usize,
    forwards: bool,
    /// Continue behind this message (Ably's page links are opaque; ours carry it).
    cursor: Option<String>,
    /// Nothing newer than this position (`untilAttach`).
    until: Option<String>,
}

/// One page and where the next begins.
#[derive(Debug)]
pub(super) struct Page {
    /// Frames with the index of a message in each.
    pub(super) items: Vec<(Arc<Frame>, usize)>,
    /// Serial of the last item, when there are more.
    next: Option<String>,
}

impl HistoryQuery {
    /// # Errors
    /// 40003 for a parameter that cannot be read.
    pub(super) fn parse(params: &HashMap<String, String>) -> Result<Self, Refused> {
        let limit = match params.get("limit") {
            None => 100,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=1_000).contains(limit))
                .ok_or_else(|| Refused::bad(40_003, "Invalid limit: use 1 to 1000"))?,
        };
        let forwards = match params.get("direction").map(String::as_str) {
            None | Some("backwards") => false,
            Some("forwards") => true,
            Some(_) => {
                return Err(Refused::bad(40_003, "Invalid direction: use forwards or backwards"));
            }
        };
        Ok(Self {
            start: time(params, "start")?.unwrap_or(0),
            end: time(params, "end")?.unwrap_or(u64::MAX),
            limit,
            forwards,
            cursor: params.get("cursor").cloned(),
            until: params.get("from_serial").or_else(|| params.get("fromSerial")).cloned(),
        })
    }

    /// `Link` of a page, relative to the request's own last path segment.
    pub(super) fn links(&self, page: &Page, segment: &str) -> String {
        let mut base = format!(
            "./{segment}?limit={}&direction={}",
            self.limit,
            if self.forwards { "forwards" } else { "backwards" }
        );
        // Writing to a String cannot fail.
        if self.start != 0 {
            _ = write!(base, "&start={}", self.start);
        }
        if self.end != u64::MAX {
            _ = write!(base, "&end={}", self.end);
        }
        if let Some(until) = self.until.as_deref().filter(|u| Serial::parse(u).is_some()) {
            _ = write!(base, "&from_serial={until}");
        }
        let cursor = |at: Option<&str>| at.map_or_else(String::new, |at| format!("&cursor={at}"));
        let current = self.cursor.as_deref().filter(|c| Serial::parse(c).is_some());
        let mut links =
            format!("<{base}>; rel=\"first\", <{base}{}>; rel=\"current\"", cursor(current));
        if let Some(next) = &page.next {
            _ = write!(links, ", <{base}{}>; rel=\"next\"", cursor(Some(next)));
        }
        links
    }
}

/// Milliseconds, or an RFC 3339 time.
fn time(params: &HashMap<String, String>, name: &str) -> Result<Option<u64>, Refused> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let ms = text.parse::<u64>().ok().or_else(|| {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    });
    ms.map(Some)
        .ok_or_else(|| Refused::bad(40_003, format!("Invalid {name}: use milliseconds since 1970")))
}

impl Channels {
    /// A page of a channel's history, no further back than the retention.
    pub(super) fn history(&self, name: &str, query: &HistoryQuery, now_ms: u64) -> Page {
        let start = query.start.max(now_ms.saturating_sub(self.limits.retention_ms));
        let until = query.until.as_deref().and_then(Serial::parse).map(|p| p.serial);
        let wanted = |frame: &Frame| {
            !frame.ephemeral
                && (start..=query.end).contains(&frame.timestamp)
                && until.is_none_or(|until| frame.serial <= until)
        };
        let frames = self.existing(name).map(|c| &c.history).into_iter().flatten();
        let mut all: Vec<_> = frames
            .filter(|f| wanted(f))
            .flat_map(|f| (0..f.messages.len()).map(move |index| (f, index)))
            .collect();
        if !query.forwards {
            all.reverse();
        }
        if let Some(cursor) = query.cursor.as_deref().and_then(Serial::parse) {
            let at = (cursor.serial, cursor.index.unwrap_or(usize::MAX));
            all.retain(|(f, index)| {
                let own = (f.serial, *index);
                if query.forwards { own > at } else { own < at }
            });
        }
        let more = all.len() > query.limit;
        all.truncate(query.limit);
        let next = all.last().filter(|_| more).map(|(f, index)| f.message_serial(*index));
        Page { items: all.into_iter().map(|(f, index)| (Arc::clone(f), index)).collect(), next }
    }
}
