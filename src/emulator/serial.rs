//! Positions: every accepted publish gets a serial, strictly increasing over all channels.
//!
//! Ably's are per channel. One sequence for all is stricter, and lets one SSE event id stand for a
//! position in every channel of that stream.

use std::fmt;

/// Position of one accepted publish: `<14-digit ms>-<3-digit counter>`. Text order is publish order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Serial {
    ms: u64,
    counter: u16,
}

impl Serial {
    /// Before every publish.
    pub(super) const START: Self = Self { ms: 0, counter: 0 };

    /// The next one, at a clock that may stand still or go back.
    pub(super) fn next(self, now_ms: u64) -> Self {
        if now_ms > self.ms {
            Self { ms: now_ms, counter: 0 }
        } else if self.counter < 999 {
            Self { ms: self.ms, counter: self.counter + 1 }
        } else {
            Self { ms: self.ms + 1, counter: 0 }
        }
    }

    /// The position just before: of no publish, and after every earlier one.
    pub(super) fn previous(self) -> Self {
        match self.counter.checked_sub(1) {
            Some(counter) => Self { ms: self.ms, counter },
            None => Self { ms: self.ms.saturating_sub(1), counter: 999 },
        }
    }

    /// Reads `<ms>-<counter>@<series>` and, behind it, a message's `:<index>`.
    pub(super) fn parse(text: &str) -> Option<Parsed<'_>> {
        let (position, rest) = text.split_once('@')?;
        let (ms, counter) = position.split_once('-')?;
        let (series, index) = match rest.split_once(':') {
            Some((series, index)) => (series, Some(index.parse().ok()?)),
            None => (rest, None),
        };
        let serial = Self { ms: ms.parse().ok()?, counter: counter.parse().ok()? };
        Some(Parsed { serial, series, index })
    }

    /// With the series: the wire's `channelSerial`.
    pub(super) fn in_series(self, series: &str) -> String {
        format!("{self}@{series}")
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}-{:03}", self.ms, self.counter)
    }
}

/// A serial as a client sent it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) serial: Serial,
    /// Which emulator run gave it.
    pub(super) series: &'a str,
    /// Of a message in its publish; `None` for the publish itself, so after all its messages.
    pub(super) index: Option<usize>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_serial_reads_back_what_it_writes() {
        let serial = Serial::START.next(1_795_408_783_100).next(0);
        assert_eq!(serial.in_series("abc"), "01795408783100-001@abc");
        let parsed = Serial::parse("01795408783100-001@abc:007").unwrap();
        assert_eq!(parsed, Parsed { serial, series: "abc", index: Some(7) });
        assert_eq!(Serial::parse("01795408783100-001@abc").unwrap().index, None);
        for bad in ["", "1", "1-2", "x-1@a", "1-x@a", "1-1@a:x"] {
            assert_eq!(Serial::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn serials_increase_as_values_and_as_text(clock in prop::collection::vec(0..5_u64, 1..4_000)) {
            let mut last = Serial::START;
            for now in clock {
                let next = last.next(now);
                prop_assert!(next > last && next.to_string() > last.to_string());
                last = next;
            }
        }
    }
}
