//! Visits every state that can be reached, breadth first, so that a counterexample is a shortest one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::state::State;
use crate::step::{Action, Scenario, Violation};

/// Steps without faults after which everything must be settled.
const PATIENCE: usize = 200;

/// What an exploration found.
pub(crate) struct Exploration {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) counterexample: Option<Counterexample>,
}

/// How a property is broken, in the fewest steps.
pub(crate) struct Counterexample {
    pub(crate) violation: Violation,
    pub(crate) trace: Vec<Action>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?} after", self.violation)?;
        self.trace.iter().try_for_each(|action| writeln!(f, "  {action:?}"))
    }
}

/// Explores at most `states_max` states.
pub(crate) fn explore(scenario: &Scenario, states_max: usize) -> Exploration {
    let mut explorer = Explorer { scenario, came_by: HashMap::new(), good: HashSet::new() };
    let start = scenario.start().canonical();
    explorer.came_by.insert(start.fingerprint(), None);
    let mut queue = VecDeque::from([start]);
    let mut steps = 0;
    let mut counterexample = None;
    'all: while let Some(state) = queue.pop_front() {
        let from = state.fingerprint();
        if let Err((violation, rest)) = explorer.ends_well(&state) {
            let mut found = explorer.trace(from, violation);
            found.trace.extend(rest);
            counterexample = Some(found);
            break;
        }
        for action in scenario.enabled(&state) {
            steps += 1;
            match scenario.step(&state, action) {
                Ok(next) => {
                    let next = next.canonical();
                    let to = next.fingerprint();
                    if let Entry::Vacant(new) = explorer.came_by.entry(to) {
                        new.insert(Some((from, action)));
                        queue.push_back(next);
                    }
                }
                Err(violation) => {
                    let mut found = explorer.trace(from, violation);
                    found.trace.push(action);
                    counterexample = Some(found);
                    break 'all;
                }
            }
        }
        let states = explorer.came_by.len();
        assert!(states <= states_max, "{states} states: make the scenario smaller");
    }
    Exploration { states: explorer.came_by.len(), steps, counterexample }
}

struct Explorer<'s> {
    scenario: &'s Scenario,
    /// By which step each state was reached first.
    came_by: HashMap<u64, Option<(u64, Action)>>,
    /// States from which a run without faults ends well.
    good: HashSet<u64>,
}

impl Explorer<'_> {
    /// Whether a run without further faults settles everything. Its steps are ordinary ones, so the states on
    /// the way are checked once, not once for each state that leads there.
    /// Else says what goes wrong, after which steps.
    fn ends_well(&mut self, state: &State) -> Result<(), (Violation, Vec<Action>)> {
        let (mut way, mut steps) = (Vec::new(), Vec::new());
        let mut state = state.clone();
        for _ in 0..PATIENCE {
            let here = state.fingerprint();
            if self.good.contains(&here) {
                self.good.extend(way);
                return Ok(());
            }
            way.push(here);
            let Some(action) = self.scenario.fair(&state) else {
                return match self.scenario.settled(&state) {
                    Ok(()) => {
                        self.good.extend(way);
                        Ok(())
                    }
                    Err(violation) => Err((violation, steps)),
                };
            };
            steps.push(action);
            state = match self.scenario.step(&state, action) {
                Ok(next) => next.canonical(),
                Err(violation) => return Err((violation, steps)),
            };
        }
        Err((Violation::NeverSettled, steps))
    }

    /// Relays are sorted in every state, so a number names a relay within one step only.
    fn trace(&self, mut at: u64, violation: Violation) -> Counterexample {
        let mut trace = Vec::new();
        while let Some(Some((from, action))) = self.came_by.get(&at) {
            trace.push(*action);
            at = *from;
        }
        trace.reverse();
        Counterexample { violation, trace }
    }
}
