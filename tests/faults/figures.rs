//! What `/metrics` of each relay says, remembered beyond the relay's end.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::run::World;
use crate::support::local_ably::http;

/// How long one relay may take to answer; a look at a database that is away takes it 3 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// Time between two rounds while a fault lasts.
const ROUND_INTERVAL: Duration = Duration::from_millis(100);

/// One scrape: the values by name and labels as they are written, without `outbox_relay_`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.strip_prefix("outbox_relay_"));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// One value.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Every series of a metric, by its labels.
    pub(crate) fn series(&self, metric: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(metric)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }
}

/// The last scrape of every process that ever answered.
#[derive(Debug)]
pub(crate) struct Memory {
    client: reqwest::Client,
    last: HashMap<i32, Figures>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { client: http(), last: HashMap::new() }
    }

    /// The series of a counter, added up over all processes.
    pub(crate) fn counted(&self, metric: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.last.values().flat_map(|figures| figures.series(metric)) {
            *sums.entry(labels.to_owned()).or_default() += value;
        }
        // What begins at zero is no count.
        sums.retain(|_, sum: &mut f64| *sum > 0.0);
        sums
    }

    /// The same as one number.
    pub(crate) fn total(&self, metric: &str) -> f64 {
        self.counted(metric).values().sum()
    }
}

impl World {
    /// Asks every relay once; those that do not answer are left out.
    pub(crate) async fn scrape(&mut self) -> Vec<Figures> {
        let client = self.memory.client.clone();
        let asked = self.relays.iter().filter_map(|relay| Some((relay.pid(), relay.address()?)));
        let answers = join_all(asked.map(|(pid, address)| {
            let request = client.get(format!("http://{address}/metrics")).timeout(ANSWER_LIMIT);
            async move { Some((pid, request.send().await.ok()?.text().await.ok()?)) }
        }));
        let mut all = Vec::new();
        for (pid, text) in answers.await.into_iter().flatten() {
            let figures = Figures::parse(&text);
            self.memory.last.insert(pid.as_raw(), figures.clone());
            all.push(figures);
        }
        all
    }

    /// Lets time pass, and keeps asking.
    pub(crate) async fn watch(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.scrape().await;
            let left = end.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(ROUND_INTERVAL)).await;
        }
    }
}
