//! Whether payloads are checked, and what becomes of those that do not match: one place for producers and
//! for the relay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::event_types::Registry;
use super::problem::Problems;

/// A type of events that do not match is warned about this often; between two lines they are counted.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Event types whose lines are timed apart; the rest share one. Types come from rows, so anybody may invent them.
const WARNED_TYPES_MAX: usize = 100;

/// What is done about a payload that does not match its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValidateMode {
    /// Nothing; it is not looked at.
    #[default]
    Off,
    /// It goes on, with a line in the log.
    Warn,
    /// It is refused; so is an event type that has no schema.
    Reject,
}

impl ValidateMode {
    /// The names, as settings have them.
    pub const NAMES: &[&str] = &["off", "warn", "reject"];

    /// The mode of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "off" => Some(Self::Off),
            "warn" => Some(Self::Warn),
            "reject" => Some(Self::Reject),
            _ => None,
        }
    }
}

/// A registry and a mode. Cheap to clone; clones share what they have warned of.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    reject: bool,
    warned: Mutex<HashMap<String, Warned>>,
}

/// When a type was last warned of, and how many events have not been told of since.
#[derive(Debug)]
struct Warned {
    at: Instant,
    untold: u64,
}

impl Validation {
    /// Checks against this registry, unless the mode is [`ValidateMode::Off`].
    pub fn new(mode: ValidateMode, registry: Registry) -> Self {
        let reject = mode == ValidateMode::Reject;
        let warned = Mutex::new(HashMap::new());
        let inner = (mode != ValidateMode::Off).then(|| Inner { registry, reject, warned });
        Self { inner: inner.map(Arc::new) }
    }

    /// Whether payloads are looked at.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Whether what does not match must not be published.
    pub fn rejects(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.reject)
    }

    /// Checks the payload of an event, JSON text.
    ///
    /// # Errors
    /// In mode [`ValidateMode::Reject`], when it does not match or its type has no schema.
    pub fn admit(&self, id: &str, event_type: &str, payload: &str) -> Result<(), Problems> {
        let Some(inner) = &self.inner else { return Ok(()) };
        let Err(problems) = inner.registry.check_payload_text(event_type, payload) else {
            return Ok(());
        };
        if inner.reject {
            return Err(problems);
        }
        if let Some(untold) = inner.turn(event_type, Instant::now()) {
            warn!(
                event_id = id,
                event_type,
                untold,
                remedy =
                    "mend the producer or the schema; `outbox-relay events validate` checks events",
                "event {id} does not match the schema of its type: {problems}"
            );
        }
        Ok(())
    }
}

impl Inner {
    /// Whether to say something about this type now; if so, how many have gone untold.
    fn turn(&self, event_type: &str, now: Instant) -> Option<u64> {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = warned.contains_key(event_type) || warned.len() < WARNED_TYPES_MAX;
        let key = if known { event_type } else { "" };
        let Some(entry) = warned.get_mut(key) else {
            warned.insert(key.to_owned(), Warned { at: now, untold: 0 });
            return Some(0);
        };
        if now.duration_since(entry.at) < WARN_INTERVAL {
            entry.untold += 1;
            return None;
        }
        entry.at = now;
        Some(std::mem::take(&mut entry.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(mode: ValidateMode) -> Validation {
        Validation::new(mode, Registry::built_in().unwrap())
    }

    #[test]
    fn only_reject_refuses() {
        for (mode, refused) in
            [(ValidateMode::Off, false), (ValidateMode::Warn, false), (ValidateMode::Reject, true)]
        {
            let validation = validation(mode);
            assert_eq!(validation.admit("1", "kitchen.task.claimed", "{}").is_err(), refused);
            assert_eq!(validation.admit("1", "unknown.type", "{}").is_err(), refused);
            assert_eq!(validation.is_on(), mode != ValidateMode::Off);
        }
        assert!(Validation::default().admit("1", "a.b", "{").is_ok());
        assert!(ValidateMode::NAMES.iter().all(|name| ValidateMode::named(name).is_some()));
    }

    #[test]
    fn a_type_is_warned_of_once_a_minute_and_memory_is_bounded() {
        let validation = validation(ValidateMode::Warn);
        let inner = validation.inner.unwrap();
        let start = Instant::now();
        assert_eq!(inner.turn("a.b", start), Some(0));
        assert_eq!(inner.turn("a.b", start + Duration::from_secs(1)), None);
        assert_eq!(inner.turn("c.d", start), Some(0));
        assert_eq!(inner.turn("a.b", start + WARN_INTERVAL), Some(1));
        for n in 0..1_000 {
            inner.turn(&format!("type.{n}"), start);
        }
        assert_eq!(inner.warned.lock().unwrap().len(), WARNED_TYPES_MAX + 1);
    }
}
