//! Server-sent events from a stream of bytes, however it is cut. Pure.

/// The longest line and the longest data of one event. Ably's messages have at most 256 KiB, which
/// JSON in JSON can double, and an envelope around them.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// The last id up to here, empty when there was none: where to go on after a disconnection.
    pub(super) id: String,
    /// `message` unless the stream says otherwise.
    pub(super) kind: String,
    pub(super) data: String,
}

/// A line or an event that never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds an event of more than {EVENT_BYTES_MAX} bytes")]
pub(super) struct TooLong;

/// What has been read of the event that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    id: String,
    kind: String,
    data: Option<String>,
}

impl SseParser {
    /// Takes the next bytes of the stream and gives the events that they complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is of no use then.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&String::from_utf8_lossy(&line))?);
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Result<Option<SseEvent>, TooLong> {
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.kind),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                    if data.len() > EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments (nothing before the colon), `retry`, and what is not known.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let kind = std::mem::take(&mut self.kind);
        let data = self.data.take()?;
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(SseEvent { id: self.id.clone(), kind, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: &str, kind: &str, data: &str) -> SseEvent {
        SseEvent { id: id.to_owned(), kind: kind.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = ":keepalive\n\nid: 1@a:000\nevent: message\ndata: {\"a\":\"ä\"}\n\n\
        : a comment\r\ndata:two\r\ndata:  lines\r\nretry: 5\r\n\r\nid: 3\revent: error\rdata\r\rdata: lost";

    fn expected() -> Vec<SseEvent> {
        vec![
            event("1@a:000", "message", "{\"a\":\"ä\"}"),
            event("1@a:000", "message", "two\n lines"),
            event("3", "error", ""),
        ]
    }

    #[test]
    fn events_are_read_as_the_standard_has_it() {
        assert_eq!(SseParser::default().feed(STREAM.as_bytes()), Ok(expected()));
    }

    #[test]
    fn an_event_that_never_ends_is_an_error_and_no_memory() {
        let chunk = "x".repeat(1 << 16);
        for (prefix, line_end) in [("data: ", ""), ("data: ", "\n"), ("", "")] {
            let mut parser = SseParser::default();
            let line = format!("{prefix}{chunk}{line_end}");
            let fed = (0..32).try_for_each(|_| parser.feed(line.as_bytes()).map(|_| ()));
            assert_eq!(fed, Err(TooLong));
        }
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_changes_nothing(
            cuts in prop::collection::vec(0..STREAM.len(), 0..40),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = SseParser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.feed(&STREAM.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(events, expected());
        }

        #[test]
        fn any_bytes_in_any_chunks_give_the_same(
            bytes in prop::collection::vec(prop::sample::select(b"id:event data\n\r\n\r\n\xc3\xa4".to_vec()), 0..200),
            size in 1..9_usize,
        ) {
            let whole = SseParser::default().feed(&bytes);
            let mut parser = SseParser::default();
            let mut pieces = Vec::new();
            for chunk in bytes.chunks(size) {
                pieces.extend(parser.feed(chunk).unwrap());
            }
            prop_assert_eq!(whole, Ok(pieces));
        }
    }
}
