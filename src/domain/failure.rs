//! What can go wrong when a message is published, and what is done about it: one table.
//!
//! The codes are Ably's (`ably-common/errors`, read 2026-08). What is unknown is never retried for
//! ever, and what is an outage never counts against an event: after an hour without Ably no row has
//! failed.

use std::time::Duration;

/// Kind of a failed publish; the action belongs to the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// This event cannot be published, whatever happens: it becomes `failed`, its tenant goes on.
    Content,
    /// This tenant's channel is over its rate: the tenant is held, nobody else.
    ThrottledChannel,
    /// The account is over its rate: the whole publisher slows down.
    ThrottledAccount,
    /// Network, time-out, 5xx: the same request again, with the same ids. Consumes no attempts.
    Outage,
    /// Key or account: everything pauses until somebody mends it. Consumes no attempts.
    Configuration,
    /// The key may not publish to this channel: the tenant is held, visibly. Consumes no attempts.
    Capability,
    /// A refusal that this table does not know: content after [`UNKNOWN_ATTEMPTS_MAX`] attempts.
    Unknown,
}

/// How often a refusal of unknown meaning is tried before the event is `failed`.
pub const UNKNOWN_ATTEMPTS_MAX: i32 = 5;

impl FailureClass {
    /// Classifies an answer by HTTP status and Ably code; the code decides where it is known.
    ///
    /// A failure without any answer (network, DNS, TLS, time-out) is an [`FailureClass::Outage`] and
    /// does not come here.
    pub fn of_answer(status: u16, code: Option<u32>) -> Self {
        match code {
            Some(code) => Self::of_code(code).unwrap_or_else(|| Self::of_status(status)),
            None => Self::of_status(status),
        }
    }

    fn of_code(code: u32) -> Option<Self> {
        Some(match code {
            // "Issue it again": the outcome was not decided on merits.
            40_033 => Self::Outage,
            40_000 | 40_001 | 40_003 | 40_004 | 40_006 | 40_008..=40_013 | 40_016 => Self::Content,
            40_030..=40_032 | 40_034 | 40_099 | 42_200..=42_299 => Self::Content,
            40_160 => Self::Capability,
            40_005 | 40_017 | 40_100..=40_159 | 40_161..=40_199 => Self::Configuration,
            40_300..=40_399 | 40_400 | 40_500 => Self::Configuration,
            42_913 | 42_914 => Self::ThrottledChannel,
            42_900..=42_999 | 90_021 => Self::ThrottledAccount,
            50_000..=59_999 => Self::Outage,
            _ => return None,
        })
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 404 | 405 => Self::Configuration,
            408 => Self::Outage,
            413 => Self::Content,
            429 => Self::ThrottledAccount,
            400..=499 => Self::Unknown,
            // 5xx, and answers that are not HTTP as Ably speaks it (a captive portal's 302).
            _ => Self::Outage,
        }
    }

    /// The class in logs and in the outbox's `hold.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::ThrottledChannel => "throttled_channel",
            Self::ThrottledAccount => "throttled_account",
            Self::Outage => "outage",
            Self::Configuration => "configuration",
            Self::Capability => "capability",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it concerns every event: publishing as a whole pauses.
    pub fn interrupts(self) -> bool {
        match self {
            Self::Outage | Self::ThrottledAccount | Self::Configuration => true,
            Self::Content | Self::ThrottledChannel | Self::Capability | Self::Unknown => false,
        }
    }

    /// What an operator should do, in one line.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Content => "the event is stored as failed with its error; mend the producer",
            Self::ThrottledChannel => {
                "the tenant is over Ably's rate per channel; it is slowed down"
            }
            Self::ThrottledAccount => "the account is over its Ably rate; publishing slows down",
            Self::Outage => "nothing is lost: the same messages are sent again when Ably answers",
            Self::Configuration => {
                "check ABLY_API_KEY and the state of the Ably app; publishing resumes by itself"
            }
            Self::Capability => "give the key the publish capability for this tenant's channel",
            Self::Unknown => "see the error's code at Ably; the event fails after a few attempts",
        }
    }
}

/// Why a tenant has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// Its last publish failed like this.
    Failure(FailureClass),
    /// Relays kept going down while its events were in flight.
    Crashes,
}

impl HoldReason {
    /// The reason in logs and in the outbox's `hold.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure(class) => class.as_str(),
            Self::Crashes => "crashes",
        }
    }

    /// What an operator should do, in one line.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Failure(class) => class.remedy(),
            Self::Crashes => {
                "look at how the relays ended (memory, signals, panics) and at the tenant's first pending event; \
                 it is tried again by itself"
            }
        }
    }
}

/// A publish that Ably did not accept, or of which it is not known whether it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishFailure {
    /// What is done about it.
    pub class: FailureClass,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Ably's error code, when there was one.
    pub code: Option<u32>,
    /// One line for humans; never holds payloads or secrets.
    pub message: String,
    /// `Retry-After`, when the answer had one.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for PublishFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match (self.status, self.code) {
            (Some(status), Some(code)) => write!(f, " (HTTP {status}, Ably code {code})"),
            (Some(status), None) => write!(f, " (HTTP {status})"),
            (None, Some(code)) => write!(f, " (Ably code {code})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for PublishFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_has_its_class() {
        let table: &[(u16, u32, FailureClass)] = &[
            (413, 40_009, FailureClass::Content),
            (400, 40_010, FailureClass::Content),
            (400, 40_013, FailureClass::Content),
            (400, 40_016, FailureClass::Content),
            (400, 40_031, FailureClass::Content),
            (400, 40_032, FailureClass::Content),
            (422, 42_211, FailureClass::Content),
            (429, 42_913, FailureClass::ThrottledChannel),
            (429, 42_914, FailureClass::ThrottledChannel),
            (429, 42_917, FailureClass::ThrottledAccount),
            (429, 42_918, FailureClass::ThrottledAccount),
            (429, 42_922, FailureClass::ThrottledAccount),
            (429, 90_021, FailureClass::ThrottledAccount),
            (400, 40_033, FailureClass::Outage),
            (500, 50_000, FailureClass::Outage),
            (503, 50_003, FailureClass::Outage),
            (401, 40_101, FailureClass::Configuration),
            (401, 40_112, FailureClass::Configuration),
            (401, 40_142, FailureClass::Configuration),
            (400, 40_005, FailureClass::Configuration),
            (403, 40_300, FailureClass::Configuration),
            (404, 40_400, FailureClass::Configuration),
            (401, 40_160, FailureClass::Capability),
            (400, 40_777, FailureClass::Unknown),
        ];
        for (status, code, class) in table {
            assert_eq!(FailureClass::of_answer(*status, Some(*code)), *class, "{status}/{code}");
        }
    }

    #[test]
    fn an_answer_without_a_code_goes_by_its_status() {
        for (status, class) in [
            (500, FailureClass::Outage),
            (502, FailureClass::Outage),
            (302, FailureClass::Outage),
            (408, FailureClass::Outage),
            (429, FailureClass::ThrottledAccount),
            (401, FailureClass::Configuration),
            (404, FailureClass::Configuration),
            (413, FailureClass::Content),
            (418, FailureClass::Unknown),
        ] {
            assert_eq!(FailureClass::of_answer(status, None), class, "{status}");
        }
    }
}
