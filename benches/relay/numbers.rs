//! Medians, percentiles, and what a part reports.

use serde_json::{Value, json};

/// The middle of some measurements.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of the measurements lies.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..len")]
    let at = (count(sorted.len().saturating_sub(1)) * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// A count as a number to calculate with.
pub(crate) fn count(n: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let n = n as f64;
    n
}

/// A bar of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) panel: &'static str,
    pub(crate) group: String,
    pub(crate) series: String,
    pub(crate) value: f64,
}

/// A requirement.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) limit: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

impl Goal {
    pub(crate) fn reached(&self) -> bool {
        if self.at_least { self.value >= self.limit } else { self.value <= self.limit }
    }
}

/// A table of a part.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) goals: Vec<Goal>,
    pub(crate) tables: Vec<Table>,
    pub(crate) bars: Vec<Bar>,
}

impl Results {
    pub(crate) fn at_least(&mut self, what: &str, limit: f64, value: f64, unit: &'static str) {
        self.goals.push(Goal { what: what.to_owned(), limit, at_least: true, value, unit });
    }

    pub(crate) fn at_most(&mut self, what: &str, limit: f64, value: f64, unit: &'static str) {
        self.goals.push(Goal { what: what.to_owned(), limit, at_least: false, value, unit });
    }

    pub(crate) fn bar(&mut self, panel: &'static str, group: &str, series: &str, value: f64) {
        let (group, series) = (group.to_owned(), series.to_owned());
        self.bars.push(Bar { panel, group, series, value });
    }

    pub(crate) fn json(&self, machine: &Value) -> Value {
        let goals: Vec<Value> = self
            .goals
            .iter()
            .map(|g| {
                json!({ "what": g.what, "limit": g.limit, "at_least": g.at_least, "value": g.value,
                        "unit": g.unit, "reached": g.reached() })
            })
            .collect();
        let tables: Vec<Value> = self
            .tables
            .iter()
            .map(|t| json!({ "title": t.title, "head": t.head, "rows": t.rows }))
            .collect();
        let bars: Vec<Value> = self
            .bars
            .iter()
            .map(|b| json!({ "panel": b.panel, "group": b.group, "series": b.series, "value": b.value }))
            .collect();
        json!({ "machine": machine, "goals": goals, "tables": tables, "bars": bars })
    }
}

/// A number with as many digits as mean something.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => thousands(value),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
