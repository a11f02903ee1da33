//! W3C Trace Context's `traceparent`: in which trace an event was written.

/// Length of a `traceparent` of version 00, in bytes (W3C Trace Context, 3.2). Later versions may be longer; they are
/// not kept, for the database does not keep them either.
const LENGTH: usize = 55;

/// A trace and the span in it that wrote the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Never all zero.
    pub trace_id: u128,
    /// Never zero.
    pub span_id: u64,
    /// Bit 0: the trace is recorded.
    pub flags: u8,
}

impl TraceParent {
    /// Reads one; `None` for anything else: whoever wrote it by hand must not stop a relay.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let dashes = [2, 35, 52];
        let mut bytes = text.bytes().enumerate();
        let formed = text.len() == LENGTH
            && bytes.all(|(at, c)| if dashes.contains(&at) { c == b'-' } else { hex(c) });
        if !formed || text.starts_with("ff") {
            return None;
        }
        let trace_id = u128::from_str_radix(text.get(3..35)?, 16).ok()?;
        let span_id = u64::from_str_radix(text.get(36..52)?, 16).ok()?;
        let flags = u8::from_str_radix(text.get(53..)?, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, flags })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standards_example_is_read_and_what_it_forbids_is_not() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = TraceParent::parse(text).unwrap();
        assert_eq!(
            (read.trace_id, read.span_id, read.flags),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, 1)
        );
        for (from, to) in [
            ("00-", "ff-"),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("4bf9", "4BF9"),
            ("-01", "-0g"),
            ("-01", "-01-x"),
            ("-01", "_01"),
        ] {
            assert_eq!(TraceParent::parse(&text.replacen(from, to, 1)), None, "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in any::<String>(), flags in any::<u8>(), trace in 1..u128::MAX, span in 1..u64::MAX) {
            _ = TraceParent::parse(&text);
            let written = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            prop_assert_eq!(TraceParent::parse(&written), Some(TraceParent { trace_id: trace, span_id: span, flags }));
        }
    }
}
