//! Which troubles the metrics of a row's relays must show, may show, and must not.

use super::figures::Memory;
use super::row::{Fault, First, Row};

/// How sure a sign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    /// To show it would be a lie.
    Never,
    /// Chance decides.
    May,
    /// Not to show it would be a lie.
    Must,
}

/// A trouble, and where it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Outage,
    ThrottledChannel,
    ThrottledAccount,
    KeyRefused,
    ListenerLost,
    DatabaseFailed,
    Swept,
}

impl Sign {
    pub(crate) const ALL: [Self; 7] = [
        Self::Outage,
        Self::ThrottledChannel,
        Self::ThrottledAccount,
        Self::KeyRefused,
        Self::ListenerLost,
        Self::DatabaseFailed,
        Self::Swept,
    ];

    /// The counters that show it, each by itself.
    fn counters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Outage => &[("breaker_opened_total", r#"{class="outage"}"#)],
            Self::ThrottledChannel => &[
                ("throttled_total", r#"{scope="channel"}"#),
                ("publishes_total", r#"{result="throttled_channel"}"#),
            ],
            Self::ThrottledAccount => &[
                ("throttled_total", r#"{scope="account"}"#),
                ("breaker_opened_total", r#"{class="throttled_account"}"#),
            ],
            Self::KeyRefused => &[("breaker_opened_total", r#"{class="configuration"}"#)],
            Self::ListenerLost => &[("listener_losses_total", "")],
            Self::DatabaseFailed => &[("database_failures_total", "")],
            Self::Swept => &[("sweep_found_events_total", "")],
        }
    }

    /// In the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::ThrottledChannel => "channel throttled",
            Self::ThrottledAccount => "account throttled",
            Self::KeyRefused => "key refused",
            Self::ListenerLost => "listener lost",
            Self::DatabaseFailed => "database",
            Self::Swept => "swept",
        }
    }
}

/// What a row's metrics have to say of each trouble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs([Word; Sign::ALL.len()]);

impl Signs {
    pub(crate) fn of(row: &Row) -> Self {
        let mut signs = Self([Word::Never; Sign::ALL.len()]);
        if row.ably.lost_replies > 0 {
            signs.add(Word::May, &[Sign::Outage]);
        }
        if row.first == First::ClocksFast {
            // Time-outs of half a second, on a machine that may be busy.
            let all = [Sign::Outage, Sign::ListenerLost, Sign::DatabaseFailed, Sign::Swept];
            signs.add(Word::May, &all);
        }
        for fault in row.faults {
            signs.add_fault(fault, row.first);
        }
        signs
    }

    fn add(&mut self, word: Word, signs: &[Sign]) {
        for sign in signs {
            let known = &mut self.0[*sign as usize];
            *known = (*known).max(word);
        }
    }

    fn add_fault(&mut self, fault: &Fault, first: First) {
        use Sign::{DatabaseFailed, KeyRefused, ListenerLost, Outage, Swept};
        use Word::{May, Must};
        match fault {
            Fault::Nothing(_) => {}
            // Whoever comes next finds events that have waited, by whatever reason it looks.
            Fault::CrashAt(_) | Fault::TermAt(_) | Fault::TermAtStart | Fault::Term => {
                self.add(May, &[Swept]);
            }
            Fault::KillAll | Fault::Replicas(_) => self.add(May, &[Swept]),
            Fault::KillInRequest { .. } => self.add(May, &[Swept, Outage]),
            Fault::StopAt(..) => {
                self.add(May, &[Swept, Outage, DatabaseFailed, ListenerLost]);
            }
            Fault::Backends | Fault::Restart | Fault::Crash => {
                self.add(Must, &[ListenerLost]);
                self.add(May, &[DatabaseFailed, Swept]);
            }
            Fault::Promote | Fault::PromoteBesideReader => {
                self.add(Must, &[ListenerLost]);
                self.add(May, &[DatabaseFailed, Swept]);
            }
            Fault::Listeners => {
                self.add(Must, &[ListenerLost]);
                self.add(May, &[Swept]);
            }
            Fault::Blackhole(_) if first == First::PostgresByProxy => {
                self.add(May, &[ListenerLost, DatabaseFailed, Swept]);
            }
            Fault::Blackhole(_) => self.add(May, &[Outage]),
            Fault::Refuse(_) | Fault::AnHourAway => self.add(Must, &[Outage]),
            Fault::TriggerOff => self.add(Must, &[Swept]),
            // Another relay sweeps while one is at work on them.
            Fault::BulkCopy | Fault::Backlog(_) => self.add(May, &[Swept]),
            Fault::Ably(json, _) => {
                let sign = if json.contains("throttle_channel") {
                    (Must, Sign::ThrottledChannel)
                } else if json.contains("throttle_") {
                    (Must, Sign::ThrottledAccount)
                } else if json.contains("unauthorized") {
                    (Must, KeyRefused)
                } else if json.contains(r#""kind":"status""#) {
                    (Must, Outage)
                } else {
                    (May, Outage)
                };
                self.add(sign.0, &[sign.1]);
            }
        }
    }

    /// Whether a batch may have been committed without its relay knowing.
    pub(crate) fn may_miss_commits(self) -> bool {
        self.0[Sign::DatabaseFailed as usize] > Word::Never
    }

    /// What the relays have shown, and each lie in a line.
    pub(crate) fn judge(self, memory: &Memory) -> (Vec<&'static str>, Vec<String>) {
        let (mut shown, mut lies) = (Vec::new(), Vec::new());
        for sign in Sign::ALL {
            let mut any = false;
            for (metric, labels) in sign.counters() {
                let count = memory.counted(metric).get(*labels).copied().unwrap_or_default();
                any |= count > 0.0;
                match self.0[sign as usize] {
                    Word::Never if count > 0.0 => {
                        lies.push(format!("{metric}{labels} is {count}, and nothing of that was"));
                    }
                    Word::Must if count == 0.0 => {
                        lies.push(format!("{metric}{labels} is 0, whatever happened"));
                    }
                    Word::Never | Word::May | Word::Must => {}
                }
            }
            if any {
                shown.push(sign.name());
            }
        }
        (shown, lies)
    }
}
