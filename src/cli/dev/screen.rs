//! What `dev` writes to stdout.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cli::failure::Failure;
use crate::cli::logging::Colours;
use crate::cli::output;
use crate::config::Environment;
use crate::dev::banner::Banner;
use crate::dev::producer::Ledger;
use crate::dev::report::Arrival;
use crate::dev::subscriber::{Delivery, Envelope};
use crate::dev::wording::{Seen, Style, event_json, event_text, summary_json, summary_text};

/// An event older than this when it arrives was not just written: its time says nothing of latency.
const ESTIMATE_MAX: Duration = Duration::from_secs(60);

/// Text or JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    json: bool,
    style: Style,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        let colours = match Colours::of(&Environment::of_process()) {
            Colours::Never => false,
            Colours::Auto => std::io::stdout().is_terminal(),
            Colours::Always => true,
        };
        Self { json, style: Style::new(colours) }
    }

    pub(super) fn banner(self, banner: &Banner<'_>) -> Result<(), Failure> {
        output::line(&if self.json { banner.json() } else { banner.text(self.style) })
    }

    /// Counts a delivery, if it is a sample event, and shows it.
    pub(super) fn delivery(
        self,
        delivery: &Delivery,
        ledger: &Ledger,
        task_prefix: &str,
    ) -> Result<(), Failure> {
        let time = wall_time(delivery.received);
        let seen = Seen { time, latency: None, estimated: false, duplicate: false };
        let seen = match &delivery.envelope {
            Some(event) if event.aggregate_id.starts_with(task_prefix) => {
                match ledger.arrived(&event.id, delivery.received) {
                    Arrival::First { latency } => Seen { latency: Some(latency), ..seen },
                    Arrival::Duplicate => Seen { duplicate: true, ..seen },
                }
            }
            Some(event) => Seen { latency: estimate(event, time), estimated: true, ..seen },
            None => seen,
        };
        output::line(&if self.json {
            event_json(delivery, seen)
        } else {
            event_text(delivery, seen, self.style)
        })
    }

    pub(super) fn summary(self, published: u64, ledger: &Ledger) -> Result<(), Failure> {
        let (counts, latency) = {
            let report = ledger.report();
            (report.counts(), report.percentiles())
        };
        output::line(&if self.json {
            summary_json(published, counts, latency)
        } else {
            summary_text(published, counts, latency)
        })
    }
}

fn wall_time(received: Instant) -> Timestamp {
    let now = Timestamp::now();
    // Fails only at the ends of time.
    now.checked_sub(received.elapsed()).unwrap_or(now)
}

/// The time since an event that somebody else wrote: by its own clock, so only about right.
fn estimate(event: &Envelope, received: Timestamp) -> Option<Duration> {
    let occurred: Timestamp = event.occurred_at.parse().ok()?;
    let since = Duration::try_from(received.duration_since(occurred)).ok()?;
    (since <= ESTIMATE_MAX).then_some(since)
}
