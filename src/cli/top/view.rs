//! What `top` shows, and what keys do to it. Pure.

use std::collections::VecDeque;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::store::stats::Stats;

/// Looks over which rates are taken: PostgreSQL's statistics lag by a second.
const SAMPLES_MAX: usize = 10;

/// Backlogs that are kept for the chart: as many as a wide terminal has columns.
const HISTORY_MAX: usize = 300;

/// The panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Tenants,
    Types,
    Holds,
    DeadLetters,
    Relays,
}

impl Panel {
    pub(super) const ALL: [Self; 5] =
        [Self::Tenants, Self::Types, Self::Holds, Self::DeadLetters, Self::Relays];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Tenants => "Tenants",
            Self::Types => "Types",
            Self::Holds => "Holds",
            Self::DeadLetters => "Dead letters",
            Self::Relays => "Relays",
        }
    }
}

/// What follows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Draw,
    End,
}

/// Events a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    /// Written.
    pub(super) written: f64,
    /// Settled.
    pub(super) settled: f64,
}

/// The state.
#[derive(Debug)]
pub(super) struct View {
    pub(super) database: String,
    pub(super) colours: bool,
    pub(super) stats: Option<Stats>,
    /// Why the last look failed.
    pub(super) trouble: Option<String>,
    pub(super) rates: Option<Rates>,
    pub(super) history: VecDeque<u64>,
    pub(super) panel: usize,
    pub(super) scroll: usize,
    pub(super) paused: bool,
    samples: VecDeque<(Instant, i64, i64)>,
}

impl View {
    pub(super) fn new(database: String, colours: bool) -> Self {
        Self {
            database,
            colours,
            stats: None,
            trouble: None,
            rates: None,
            history: VecDeque::new(),
            panel: 0,
            scroll: 0,
            paused: false,
            samples: VecDeque::new(),
        }
    }

    /// Takes a look's numbers, unless the picture is to stay as it is.
    pub(super) fn seen(&mut self, seen: Result<Stats, String>, now: Instant) {
        if self.paused {
            return;
        }
        match seen {
            Ok(stats) => {
                self.trouble = None;
                self.sample(&stats, now);
                if let Some(pending) = &stats.pending {
                    self.history.push_back(u64::try_from(pending.events).unwrap_or_default());
                    if self.history.len() > HISTORY_MAX {
                        self.history.pop_front();
                    }
                }
                self.stats = Some(stats);
            }
            Err(error) => self.trouble = Some(error),
        }
    }

    fn sample(&mut self, stats: &Stats, now: Instant) {
        let (Some(published), Some(table)) = (&stats.published, &stats.table) else { return };
        self.samples.push_back((now, published.last_position, table.updates));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        let Some((first, position, updates)) = self.samples.front() else { return };
        let seconds = now.saturating_duration_since(*first).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown without fractions")]
        let rate = |new: i64, old: i64| (new - old).max(0) as f64 / seconds;
        self.rates = (seconds > 0.0).then(|| Rates {
            written: rate(published.last_position, *position),
            settled: rate(table.updates, *updates),
        });
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> After {
        let panels = Panel::ALL.len();
        #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal has many keys")]
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return After::End,
            // In raw mode the terminal makes no signal of it.
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return After::End,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::Right => self.show((self.panel + 1) % panels),
            KeyCode::BackTab | KeyCode::Left => self.show((self.panel + panels - 1) % panels),
            KeyCode::Down => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            _ => {}
        }
        After::Draw
    }

    fn show(&mut self, panel: usize) {
        (self.panel, self.scroll) = (panel, 0);
    }
}
