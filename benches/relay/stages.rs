//! How long each stage of a batch took, from the relay's own histograms.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The stages in their order.
const STAGES: [&str; 7] = ["wait", "claim", "encode", "record", "lock", "publish", "settle"];

/// Where a relay's metrics will be.
pub(crate) struct Probe {
    address: String,
}

impl Probe {
    /// A port that is free now.
    pub(crate) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap().to_string() }
    }

    /// What the relay must be told.
    pub(crate) fn settings(&self) -> [(&str, &str); 1] {
        [("OUTBOX_RELAY_HTTP_LISTEN", &self.address)]
    }

    /// The median of each stage, interpolated within its bucket, in one line.
    pub(crate) async fn medians(&self, http: &reqwest::Client) -> String {
        let url = format!("http://{}/metrics", self.address);
        let text = http.get(url).send().await.unwrap().text().await.unwrap();
        let mut buckets: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for line in text.lines() {
            let Some(labels) = line.strip_prefix("outbox_relay_stage_duration_seconds_bucket{")
            else {
                continue;
            };
            let label = |name: &str| {
                labels
                    .split_once(&format!("{name}=\""))
                    .and_then(|(_, rest)| rest.split('"').next())
            };
            let (Some(le), Some(stage)) = (label("le"), label("stage")) else { continue };
            let count = line.rsplit(' ').next().and_then(|count| count.parse().ok());
            buckets
                .entry(stage)
                .or_default()
                .push((le.parse().unwrap_or(f64::INFINITY), count.unwrap()));
        }
        let mut out = String::new();
        for stage in STAGES {
            let median = buckets.get(stage).and_then(|buckets| median(buckets));
            let shown =
                median.map_or("-".to_owned(), |seconds| format!("{:.2} ms", seconds * 1_000.0));
            write!(out, "{stage} {shown}, ").unwrap();
        }
        out.trim_end_matches(", ").to_owned()
    }
}

/// Of cumulative counts by upper bound, as Prometheus computes it.
fn median(buckets: &[(f64, f64)]) -> Option<f64> {
    let half = buckets.last().filter(|(_, all)| *all > 0.0)?.1 / 2.0;
    let (mut from, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= half {
            let share = (half - below) / (count - below);
            return Some(if bound.is_finite() { from + (bound - from) * share } else { from });
        }
        (from, below) = (*bound, *count);
    }
    None
}
