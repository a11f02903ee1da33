//! How a relay is, as its coordinator knows it, and what follows: alive, ready, degraded. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::failure::FailureClass;
use crate::store::pause::Paused;

/// The coordinator wakes at least every 30 s, for its summary. After twice that it hangs.
const TICK_MAX: Duration = Duration::from_secs(60);

/// What the coordinator has noted.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    /// When its loop last went round; `None` before it runs.
    pub(super) tick: Option<Instant>,
    /// Why PostgreSQL cannot be worked with, since when.
    pub(super) database: Option<(String, Instant)>,
    /// Why Ably accepts nothing, since when.
    pub(super) publisher: Option<(FailureClass, String, Instant)>,
    /// Whether notifications arrive.
    pub(super) listening: bool,
    /// What an operator has paused.
    pub(super) paused: Paused,
    /// Whether it has been told to stop.
    pub(super) stopping: bool,
}

/// How one part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Fine,
    /// Events go late, or wait for something that no restart of this process brings.
    Degraded,
    /// This process does not do its work.
    Failing,
}

impl Grade {
    /// The grade in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// One part's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `loop`, `claims`, `listener`, `ably`, `pause` or `shutdown`.
    pub name: &'static str,
    /// How it is.
    pub grade: Grade,
    /// Why, in one line; without secrets.
    pub says: String,
}

impl Check {
    fn new(name: &'static str, grade: Grade, says: impl Into<String>) -> Self {
        Self { name, grade, says: says.into() }
    }
}

/// Whether the process does anything at all. Never depends on PostgreSQL or Ably: a restart helps neither.
pub(super) fn liveness(noted: &Noted, now: Instant) -> Check {
    match noted.tick {
        None => Check::new("loop", Grade::Fine, "starting"),
        Some(tick) if now.saturating_duration_since(tick) > TICK_MAX => {
            let silent = now.saturating_duration_since(tick).as_secs();
            Check::new(
                "loop",
                Grade::Failing,
                format!("silent for {silent} s: restart the process"),
            )
        }
        Some(_) => Check::new("loop", Grade::Fine, "running"),
    }
}

/// Every part, for readiness.
pub(super) fn readiness(noted: &Noted, now: Instant) -> Vec<Check> {
    let for_s = |since: Instant| now.saturating_duration_since(since).as_secs();
    let claims = match (&noted.database, noted.tick) {
        (_, None) => Check::new("claims", Grade::Failing, "starting: not connected yet"),
        (Some((cause, since)), _) => {
            let says = format!("PostgreSQL cannot be worked with for {} s: {cause}", for_s(*since));
            Check::new("claims", Grade::Failing, says)
        }
        (None, Some(_)) => Check::new("claims", Grade::Fine, "PostgreSQL can be worked with"),
    };
    let listener = if noted.listening {
        Check::new("listener", Grade::Fine, "notifications arrive")
    } else {
        Check::new("listener", Grade::Degraded, "notifications do not arrive: polling")
    };
    let ably = match &noted.publisher {
        None => Check::new("ably", Grade::Fine, "no trouble known"),
        Some((class, cause, since)) => {
            // Only somebody can mend a key, and until then this relay does nothing.
            let grade = match class {
                FailureClass::Configuration => Grade::Failing,
                FailureClass::Outage
                | FailureClass::ThrottledAccount
                | FailureClass::ThrottledChannel
                | FailureClass::Capability
                | FailureClass::Content
                | FailureClass::Unknown => Grade::Degraded,
            };
            let says = format!("{} for {} s: {cause}", class.as_str(), for_s(*since));
            Check::new("ably", grade, says)
        }
    };
    let pause = (noted.paused != Paused::default()).then(|| {
        // A pause of some is somebody's decision and no trouble; one of everything stops all events.
        let grade = if noted.paused.everything { Grade::Degraded } else { Grade::Fine };
        let says = format!("paused: {}; see `outbox-relay holds list`", noted.paused.in_words());
        Check::new("pause", grade, says)
    });
    let stopping = noted
        .stopping
        .then(|| Check::new("shutdown", Grade::Failing, "stopping: nothing more is claimed"));
    let always = [liveness(noted, now), claims, listener, ably];
    always.into_iter().chain(pause).chain(stopping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(noted: &Noted, now: Instant) -> Grade {
        readiness(noted, now).into_iter().map(|check| check.grade).max().unwrap()
    }

    #[test]
    fn readiness_is_about_what_a_restart_or_another_relay_could_mend() {
        let now = Instant::now();
        let fine = Noted { tick: Some(now), listening: true, ..Noted::default() };
        assert_eq!(worst(&fine, now), Grade::Fine);
        assert_eq!(worst(&Noted::default(), now), Grade::Failing, "starting");
        let deaf = Noted { listening: false, ..fine.clone() };
        assert_eq!(worst(&deaf, now), Grade::Degraded);
        let away = Noted { database: Some(("gone".into(), now)), ..fine.clone() };
        assert_eq!(worst(&away, now), Grade::Failing);
        for (class, grade) in [
            (FailureClass::Outage, Grade::Degraded),
            (FailureClass::ThrottledAccount, Grade::Degraded),
            (FailureClass::Configuration, Grade::Failing),
        ] {
            let trouble = Noted { publisher: Some((class, "no".into(), now)), ..fine.clone() };
            assert_eq!(worst(&trouble, now), grade, "{class:?}");
        }
        let everything = Paused { everything: true, ..Paused::default() };
        assert_eq!(worst(&Noted { paused: everything, ..fine.clone() }, now), Grade::Degraded);
        let some = Paused { tenants: 2, ..Paused::default() };
        let noted = Noted { paused: some, ..fine.clone() };
        assert_eq!(worst(&noted, now), Grade::Fine);
        assert!(readiness(&noted, now).iter().any(|check| check.says.contains("2 tenants")));
        assert_eq!(worst(&Noted { stopping: true, ..fine }, now), Grade::Failing);
    }

    #[test]
    fn a_loop_that_hangs_is_not_alive_and_nothing_else_matters() {
        let now = Instant::now();
        let noted =
            Noted { database: Some(("gone".into(), now)), tick: Some(now), ..Noted::default() };
        assert_eq!(liveness(&noted, now + TICK_MAX).grade, Grade::Fine);
        assert_eq!(liveness(&noted, now + TICK_MAX * 2).grade, Grade::Failing);
        assert_eq!(liveness(&Noted::default(), now).grade, Grade::Fine);
    }
}
