//! What the last look at the database has seen, as metrics. Left out altogether when it is not known.

use std::fmt::Error;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::store::observe::{Observation, TableHealth};

/// The reasons of holds; others are counted as `other`.
const REASONS: [&str; 9] = [
    "throttled_channel",
    "throttled_account",
    "outage",
    "configuration",
    "capability",
    "content",
    "unknown",
    "crashes",
    "blocked",
];

/// The last observation.
#[derive(Debug, Default)]
pub(super) struct Observed(Mutex<Option<Observation>>);

impl Observed {
    pub(super) fn set(&self, observation: Option<Observation>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = observation;
    }

    pub(super) fn get(&self) -> Option<Observation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let observation = self.get();
        let mut out = Gauges(&mut encoder);
        out.integer(
            "database_up",
            "1 when the last look at the database succeeded; the metrics that come from it are missing otherwise.",
            i64::from(observation.is_some()),
        )?;
        let Some(seen) = observation else { return Ok(()) };
        out.integer(
            "pending_events",
            "Events that wait to be published, counted up to 10,000.",
            seen.pending,
        )?;
        out.seconds(
            "oldest_pending_age",
            "Age of the oldest pending event; 0 when nothing waits.",
            seen.oldest_pending_age.unwrap_or_default(),
        )?;
        out.integer(
            "dead_letters",
            "Failed events about which nobody has decided, counted up to 10,000.",
            seen.dead_letters,
        )?;
        out.seconds(
            "oldest_dead_letter_age",
            "Time since the oldest of them was written; 0 when there is none.",
            seen.oldest_dead_letter_age.unwrap_or_default(),
        )?;
        out.held(&seen.held)?;
        out.paused(&seen.paused)?;
        out.ratio(
            "notify_queue_usage",
            "Share of the server's notification queue that is used; at 1 commits that notify fail.",
            seen.notify_queue_usage,
        )?;
        seen.table.map_or(Ok(()), |table| out.table(table))
    }
}

struct Gauges<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Gauges<'_, '_> {
    fn integer(&mut self, name: &str, help: &str, value: i64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.float(name, help, &Unit::Seconds, value)
    }

    fn ratio(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.float(name, help, &Unit::Other("ratio".to_owned()), value)
    }

    fn float(&mut self, name: &str, help: &str, unit: &Unit, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, Some(unit), MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn held(&mut self, held: &[(String, i64)]) -> Result<(), Error> {
        let count = |wanted: &dyn Fn(&str) -> bool| -> i64 {
            held.iter().filter(|(reason, _)| wanted(reason)).map(|(_, count)| count).sum()
        };
        let known = REASONS.map(|name| ([("reason", name)], count(&|reason| reason == name)));
        let other = ([("reason", "other")], count(&|reason| !REASONS.contains(&reason)));
        let (name, help) = ("held_tenants", "Tenants on hold, by reason.");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in known.into_iter().chain([other]) {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn paused(&mut self, paused: &[(String, i64)]) -> Result<(), Error> {
        let (name, help) =
            ("pauses", "What an operator has paused, by scope; `all` is 1 while everything is.");
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for scope in ["all", "tenant", "type"] {
            let value = paused.iter().filter(|(s, _)| s == scope).map(|(_, n)| n).sum::<i64>();
            ConstGauge::new(value).encode(family.encode_family(&[("scope", scope)])?)?;
        }
        Ok(())
    }

    fn table(&mut self, table: TableHealth) -> Result<(), Error> {
        self.integer(
            "table_live_tuples",
            "Rows of the event table, as PostgreSQL estimates.",
            table.live_tuples,
        )?;
        self.integer(
            "table_dead_tuples",
            "Versions of its rows that vacuum has still to remove, as PostgreSQL estimates.",
            table.dead_tuples,
        )?;
        let bytes = ConstGauge::new(table.bytes);
        let help = "Size of the event table without its indexes.";
        bytes.encode(self.0.encode_descriptor(
            "table_size",
            help,
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?)?;
        let Some(at) = table.vacuumed_at else { return Ok(()) };
        self.seconds(
            "table_last_vacuum_timestamp",
            "When it was last vacuumed, since 1970; missing if never.",
            at,
        )
    }
}
