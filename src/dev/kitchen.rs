//! The sample application: kitchens whose tasks are claimed, worked on and released. Pure; seeded by
//! its caller.

use std::fmt::Write as _;

use serde_json::json;

/// What every kitchen's aggregate is called.
pub(super) const AGGREGATE_TYPE: &str = "KitchenTask";

/// Events a second of one tenant at most: Ably takes 50 publishes a second on a channel, and events
/// that come too close together for one group each are one publish.
const PER_TENANT_PER_SECOND: u32 = 20;
/// Fewer would show no order *per tenant*.
const TENANTS_MIN: u32 = 5;
/// One stream of the emulator, like Ably's, has 100 channels.
const TENANTS_MAX: u32 = 100;
/// The highest rate of sample events that is shown without throttling.
pub const RATE_MAX: u32 = PER_TENANT_PER_SECOND * TENANTS_MAX;

/// Tasks that one kitchen has open at most.
const OPEN_TASKS_MAX: usize = 4;

const HOUSES: [&str; 10] = [
    "bistro",
    "trattoria",
    "cantina",
    "brasserie",
    "taverna",
    "osteria",
    "diner",
    "izakaya",
    "bodega",
    "cafe",
];
const PLACES: [&str; 10] =
    ["nord", "sud", "hafen", "markt", "rivoli", "plaza", "garden", "mill", "station", "bridge"];

/// One thing that happened in a kitchen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) tenant: String,
    pub(super) event_type: &'static str,
    pub(super) task: String,
    pub(super) payload: serde_json::Value,
}

/// All kitchens of a session.
#[derive(Debug)]
pub struct Kitchens {
    kitchens: Vec<Kitchen>,
    /// Begins every task's id, so that a session's events are known among all others.
    task_prefix: String,
    tasks: u64,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Kitchen {
    tenant: String,
    open: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    id: String,
    employee: String,
    percent: u8,
}

impl Kitchens {
    /// As many kitchens as `rate` events a second need to stay below Ably's limit per channel.
    pub fn new(rate: u32, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = rate.div_ceil(PER_TENANT_PER_SECOND).clamp(TENANTS_MIN, TENANTS_MAX);
        let tenants = PLACES.iter().enumerate().flat_map(|(shift, _)| {
            // Diagonally, so that the first ten differ in both words.
            HOUSES
                .iter()
                .enumerate()
                .map(move |(i, house)| format!("{house}-{}", PLACES[(i + shift) % PLACES.len()]))
        });
        let kitchens = tenants
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(|tenant| Kitchen { tenant, open: Vec::new() })
            .collect();
        let mut task_prefix = String::from("task-");
        for _ in 0..5 {
            task_prefix.push(random.char('a'..='z'));
        }
        task_prefix.push('-');
        Self { kitchens, task_prefix, tasks: 0, random }
    }

    /// The tenants of this session.
    pub fn tenants(&self) -> Vec<&str> {
        self.kitchens.iter().map(|kitchen| kitchen.tenant.as_str()).collect()
    }

    /// Begins every aggregate id of this session and, but for chance, of no other.
    pub fn task_prefix(&self) -> &str {
        &self.task_prefix
    }

    /// What happens next; `now` is RFC 3339, UTC.
    pub(super) fn next(&mut self, now: &str) -> Happening {
        let which = self.random.usize(..self.kitchens.len());
        let kitchen = &mut self.kitchens[which];
        let tenant = kitchen.tenant.clone();
        let open = kitchen.open.len();
        // With nothing open a task is claimed; with all hands busy one goes on.
        if open == 0 || (open < OPEN_TASKS_MAX && self.random.u8(..4) == 0) {
            self.tasks += 1;
            let mut id = self.task_prefix.clone();
            // Writing to a String cannot fail.
            _ = write!(id, "{}", self.tasks);
            let employee = format!("emp-{:02}", self.random.u8(1..=12));
            let payload = json!({ "taskId": id, "employeeId": employee, "claimedAt": now });
            kitchen.open.push(Task { id: id.clone(), employee, percent: 0 });
            return happening(tenant, "kitchen.task.claimed", id, payload);
        }
        let which = self.random.usize(..open);
        let task = &mut kitchen.open[which];
        if task.percent < 100 {
            task.percent = (task.percent + self.random.u8(15..=40)).min(100);
            let payload = json!({
                "taskId": task.id,
                "employeeId": task.employee,
                "progressPercent": task.percent,
                "updatedAt": now,
            });
            return happening(tenant, "kitchen.task.progress", task.id.clone(), payload);
        }
        let task = kitchen.open.swap_remove(which);
        let payload = json!({ "taskId": task.id, "employeeId": task.employee, "releasedAt": now });
        happening(tenant, "kitchen.task.released", task.id, payload)
    }
}

fn happening(
    tenant: String,
    event_type: &'static str,
    task: String,
    payload: serde_json::Value,
) -> Happening {
    Happening { tenant, event_type, task, payload }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use serde_json::{Map, Value};

    use super::*;

    const NOW: &str = "2026-01-23T10:30:00.000Z";

    fn keys(payload: &Map<String, Value>) -> Vec<&str> {
        let mut keys: Vec<_> = payload.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn payloads_are_what_the_contract_says() {
        let mut kitchens = Kitchens::new(10, 7);
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let happening = kitchens.next(NOW);
            let payload: Map<String, Value> = serde_json::from_value(happening.payload).unwrap();
            let (time, others) = match happening.event_type {
                "kitchen.task.claimed" => ("claimedAt", vec!["claimedAt", "employeeId", "taskId"]),
                "kitchen.task.released" => {
                    ("releasedAt", vec!["employeeId", "releasedAt", "taskId"])
                }
                "kitchen.task.progress" => {
                    assert!((1..=100).contains(&payload["progressPercent"].as_u64().unwrap()));
                    ("updatedAt", vec!["employeeId", "progressPercent", "taskId", "updatedAt"])
                }
                other => panic!("{other}"),
            };
            assert_eq!(keys(&payload), others);
            assert_eq!(payload["taskId"], happening.task.as_str());
            assert_eq!(payload[time], NOW);
            assert!(payload["employeeId"].as_str().unwrap().starts_with("emp-"));
            assert!(happening.task.starts_with(kitchens.task_prefix()));
            seen.insert(happening.event_type);
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_task_is_claimed_then_progresses_several_times_then_is_released() {
        let mut kitchens = Kitchens::new(10, 1);
        let mut tasks: HashMap<String, Vec<&str>> = HashMap::new();
        for _ in 0..2_000 {
            let happening = kitchens.next(NOW);
            tasks.entry(happening.task).or_default().push(happening.event_type);
        }
        let released: Vec<_> =
            tasks.values().filter(|life| life.last() == Some(&"kitchen.task.released")).collect();
        assert!(released.len() > 100);
        for life in released {
            assert_eq!(life[0], "kitchen.task.claimed");
            let middle = &life[1..life.len() - 1];
            assert!(middle.len() >= 3, "{life:?}");
            assert!(middle.iter().all(|event| *event == "kitchen.task.progress"), "{life:?}");
        }
        assert!(kitchens.kitchens.iter().all(|kitchen| kitchen.open.len() <= OPEN_TASKS_MAX));
    }

    #[test]
    fn there_are_as_many_kitchens_as_the_rate_needs_each_with_a_name_of_its_own() {
        for (rate, tenants) in [(1, 5), (100, 5), (200, 10), (RATE_MAX, 100)] {
            let kitchens = Kitchens::new(rate, 0);
            let distinct: HashSet<_> = kitchens.tenants().into_iter().collect();
            assert_eq!(distinct.len(), tenants);
            assert!(distinct.contains("bistro-nord"));
        }
    }

    #[test]
    fn sessions_do_not_share_a_task_prefix() {
        assert_ne!(Kitchens::new(10, 1).task_prefix(), Kitchens::new(10, 2).task_prefix());
    }
}
