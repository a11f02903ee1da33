//! Faults on demand, for REST publishes only: before accepting, and after it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Refused;

/// Faults at a time.
const FAULTS_MAX: usize = 100;

/// Longest delay or silence, in ms: ten minutes.
const DELAY_MS_MAX: u64 = 600_000;

/// How long a lost reply keeps the client waiting unless told, in ms.
const SILENCE_MS: u64 = 60_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Wait `delay_ms`, then go on.
    Delay,
    /// Answer with `status`/`code`; nothing is accepted.
    Status,
    /// Accept, then answer with `status`/`code` all the same.
    StatusAfter,
    /// 429/42913: this channel is over its rate.
    ThrottleChannel,
    /// 429/42917: the account is over its rate.
    ThrottleAccount,
    /// 429/42922 as Ably's edge answers: a page of HTML, the code in a header only.
    ThrottleEdge,
    /// 401/40101.
    Unauthorized,
    /// Drop the connection without accepting.
    ResetBefore,
    /// Accept, then drop the connection without a reply.
    ResetAfter,
    /// Accept nothing and stay silent for `delay_ms`, then drop the connection.
    HangBefore,
    /// Accept, stay silent for `delay_ms`, then drop the connection.
    ReplyLost,
}

/// A fault as the admin endpoint takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    kind: Kind,
    /// HTTP status; each kind has its own default.
    status: Option<u16>,
    /// Ably's code; each kind has its own default.
    code: Option<u32>,
    message: Option<String>,
    delay_ms: Option<u64>,
    /// How often; absent or null is until cleared.
    times: Option<u64>,
    /// Only this channel. In a batch it then fails that channel's result and not the request.
    channel: Option<String>,
    /// 0 to 1; absent is always.
    probability: Option<f64>,
}

/// What a publish is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// A publish to one channel.
    Publish(&'a str),
    /// A batch as a whole: its channels.
    Batch(&'a [&'a str]),
    /// One channel's part of a batch.
    Spec(&'a str),
}

/// What a fault does to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Answer { refused: Refused, after: bool },
    EdgePage,
    Reset { after: bool },
    Silence { after: bool, length: Duration },
}

impl Effect {
    /// Whether the publish is accepted first.
    pub(super) fn is_after(&self) -> bool {
        match self {
            Self::EdgePage => false,
            Self::Answer { after, .. } | Self::Reset { after } | Self::Silence { after, .. } => {
                *after
            }
        }
    }
}

/// All faults that struck one publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) delay: Duration,
    pub(super) effect: Option<Effect>,
}

/// A fault and how often it struck.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Installed {
    pub(super) id: u64,
    #[serde(flatten)]
    fault: Fault,
    pub(super) hits: u64,
}

/// The faults that are installed, in order: the first that fits strikes; delays add up.
#[derive(Debug, Default)]
pub(super) struct FaultBoard(Mutex<(u64, Vec<Installed>)>);

impl FaultBoard {
    /// Adds a fault behind the others and returns its number.
    ///
    /// # Errors
    /// 40003 for a value out of range or too many faults.
    pub(super) fn install(&self, fault: Fault) -> Result<u64, Refused> {
        if fault.status.is_some_and(|s| !(400..600).contains(&s)) {
            return Err(Refused::bad(40_003, "Invalid status: use 400 to 599"));
        }
        if fault.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(Refused::bad(40_003, "Invalid probability: use 0 to 1"));
        }
        if fault.delay_ms.is_some_and(|ms| ms > DELAY_MS_MAX) {
            return Err(Refused::bad(40_003, "Invalid delay_ms: at most 600000"));
        }
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if board.1.len() >= FAULTS_MAX {
            return Err(Refused::bad(
                40_003,
                "Too many faults; DELETE /_emulator/faults clears them",
            ));
        }
        board.0 += 1;
        let id = board.0;
        board.1.push(Installed { id, fault, hits: 0 });
        Ok(id)
    }

    /// Removes all and returns what they did.
    pub(super) fn clear(&self) -> Vec<Installed> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// What is installed, also what has struck its last time.
    pub(super) fn list(&self) -> Vec<Installed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// What happens to this publish; `random` gives numbers in 0..1.
    pub(super) fn strike(&self, target: Target<'_>, mut random: impl FnMut() -> f64) -> Strike {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strike = Strike::default();
        for installed in &mut board.1 {
            let fault = &installed.fault;
            if fault.times.is_some_and(|times| installed.hits >= times)
                || !fault.fits(target)
                || fault.probability.is_some_and(|p| random() >= p)
            {
                continue;
            }
            installed.hits += 1;
            if fault.kind == Kind::Delay {
                strike.delay += Duration::from_millis(fault.delay_ms.unwrap_or(0));
            } else {
                strike.effect = fault.effect();
                break;
            }
        }
        strike
    }
}

impl Fault {
    fn fits(&self, target: Target<'_>) -> bool {
        let is_for = |channel: &str| self.channel.as_deref().is_none_or(|own| own == channel);
        match target {
            Target::Publish(channel) => is_for(channel),
            Target::Batch(channels) => !self.strikes_specs() && channels.iter().any(|c| is_for(c)),
            Target::Spec(channel) => self.strikes_specs() && is_for(channel),
        }
    }

    /// In a batch: answers about a channel are that channel's result, all else is the request's.
    fn strikes_specs(&self) -> bool {
        match self.kind {
            Kind::ThrottleChannel => true,
            Kind::Status | Kind::StatusAfter | Kind::ThrottleAccount | Kind::Unauthorized => {
                self.channel.is_some()
            }
            Kind::Delay
            | Kind::ThrottleEdge
            | Kind::ResetBefore
            | Kind::ResetAfter
            | Kind::HangBefore
            | Kind::ReplyLost => false,
        }
    }

    fn effect(&self) -> Option<Effect> {
        let answer = |status, code, message: &str, after| Effect::Answer {
            refused: Refused::new(
                self.status.unwrap_or(status),
                self.code.unwrap_or(code),
                self.message.as_deref().unwrap_or(message),
            ),
            after,
        };
        let length = Duration::from_millis(self.delay_ms.unwrap_or(SILENCE_MS));
        Some(match self.kind {
            Kind::Delay => return None,
            Kind::Status => answer(503, 50_003, "A fault was installed", false),
            Kind::StatusAfter => answer(503, 50_003, "Timed out; it may have been published", true),
            Kind::ThrottleChannel => answer(429, 42_913, "Rate limit exceeded on channel", false),
            Kind::ThrottleAccount => answer(429, 42_917, "Account message rate exceeded", false),
            Kind::ThrottleEdge => Effect::EdgePage,
            Kind::Unauthorized => answer(401, 40_101, "Invalid credentials", false),
            Kind::ResetBefore => Effect::Reset { after: false },
            Kind::ResetAfter => Effect::Reset { after: true },
            Kind::HangBefore => Effect::Silence { after: false, length },
            Kind::ReplyLost => Effect::Silence { after: true, length },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(faults: &[&str]) -> FaultBoard {
        let board = FaultBoard::default();
        for fault in faults {
            board.install(serde_json::from_str(fault).unwrap()).unwrap();
        }
        board
    }

    fn code(strike: &Strike) -> Option<u32> {
        match &strike.effect {
            Some(Effect::Answer { refused, .. }) => Some(refused.code),
            _ => None,
        }
    }

    #[test]
    fn a_fault_strikes_its_times_and_counts_them() {
        let board = board(&[r#"{"kind":"status","status":500,"code":50000,"times":2}"#]);
        let hits = (0..5).filter(|_| code(&board.strike(Target::Publish("a"), || 0.0)).is_some());
        assert_eq!(hits.count(), 2);
        assert_eq!(board.list()[0].hits, 2);
        assert_eq!(board.clear().len(), 1);
        assert!(board.list().is_empty());
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_strikes() {
        let board = board(&[
            r#"{"kind":"delay","delay_ms":5}"#,
            r#"{"kind":"delay","delay_ms":7}"#,
            r#"{"kind":"throttle_account"}"#,
            r#"{"kind":"unauthorized"}"#,
        ]);
        let strike = board.strike(Target::Publish("a"), || 0.0);
        assert_eq!((strike.delay, code(&strike)), (Duration::from_millis(12), Some(42_917)));
    }

    #[test]
    fn a_channels_fault_is_its_result_in_a_batch_and_a_connections_is_the_requests() {
        let status = board(&[r#"{"kind":"status","channel":"a"}"#]);
        assert_eq!(status.strike(Target::Batch(&["a", "b"]), || 0.0), Strike::default());
        assert_eq!(status.strike(Target::Spec("b"), || 0.0), Strike::default());
        assert_eq!(code(&status.strike(Target::Spec("a"), || 0.0)), Some(50_003));
        let reset = board(&[r#"{"kind":"reset_after","channel":"a"}"#]);
        assert_eq!(reset.strike(Target::Spec("a"), || 0.0), Strike::default());
        assert_eq!(reset.strike(Target::Batch(&["b"]), || 0.0), Strike::default());
        let strike = reset.strike(Target::Batch(&["b", "a"]), || 0.0);
        assert_eq!(strike.effect, Some(Effect::Reset { after: true }));
    }

    #[test]
    fn probability_and_ranges_are_kept() {
        let half = board(&[r#"{"kind":"status","probability":0.5}"#]);
        assert!(half.strike(Target::Publish("a"), || 0.5).effect.is_none());
        assert!(half.strike(Target::Publish("a"), || 0.4).effect.is_some());
        for bad in [
            r#"{"kind":"status","status":200}"#,
            r#"{"kind":"status","probability":2}"#,
            r#"{"kind":"delay","delay_ms":600001}"#,
        ] {
            assert!(half.install(serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"status","tiems":1}"#).is_err());
    }
}
