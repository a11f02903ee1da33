//! Fuzz entry point: a stream of server-sent events.

use super::sse::SseParser;

/// The same events, however the stream is cut; the first byte says how.
pub(crate) fn stream(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let mut whole = SseParser::default();
    let expected = whole.feed(stream);
    let mut parser = SseParser::default();
    let mut events = Vec::new();
    for chunk in stream.chunks(usize::from(cut).max(1)) {
        match parser.feed(chunk) {
            Ok(more) => events.extend(more),
            Err(error) => {
                assert_eq!(expected, Err(error));
                return;
            }
        }
    }
    assert_eq!(expected, Ok(events));
}
