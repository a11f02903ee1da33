//! A model of writers, a drain and looks whose statements are far apart, in random interleavings; and each precaution
//! left out once, which the model must notice.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ask, CHECK_MAX, Floor, LOOK_EVENTS};
use crate::store::floor::FloorLook;

/// What a look does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// It sees what waits before it looks for writers.
    EventsFirst,
    /// It reads the sequence after it has looked for writers.
    SequenceLast,
    /// A prepared transaction looks like a new one.
    PreparedAreNew,
    /// It begins with the first look's writers as if they were new.
    FirstWritersAreNew,
}

struct Transaction {
    id: String,
    seqs: Vec<i64>,
}

struct World {
    random: fastrand::Rng,
    fault: Fault,
    now: Instant,
    floor: Floor,
    last: i64,
    open: Vec<Transaction>,
    begun: u64,
    waiting: BTreeSet<i64>,
    /// The look under way: from where, and what it has seen.
    look: Option<(i64, u64, usize, FloorLook)>,
    highest_floor: i64,
}

fn wanted(now: Instant) -> Floor {
    let mut floor = Floor::new(now);
    floor.want_until(now + Duration::from_secs(1_000_000));
    floor
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let now = Instant::now();
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            fault,
            now,
            floor: wanted(now),
            last: 0,
            open: Vec::new(),
            begun: 0,
            waiting: BTreeSet::new(),
            look: None,
            highest_floor: 0,
        };
        if fault == Fault::FirstWritersAreNew {
            world.floor.issued = Some(1);
        }
        world
    }

    fn step(&mut self) {
        let open = self.open.len();
        match self.random.u8(..12) {
            0 if open < 4 => {
                self.begun += 1;
                self.open.push(Transaction { id: format!("3/{}", self.begun), seqs: Vec::new() });
            }
            1 | 2 if open > 0 => {
                let writer = self.random.usize(..open);
                if !self.open[writer].id.starts_with('-') {
                    self.last += 1;
                    self.open[writer].seqs.push(self.last);
                }
            }
            3 if open > 0 => {
                let writer = self.open.swap_remove(self.random.usize(..open));
                self.waiting.extend(writer.seqs);
            }
            4 if open > 0 && self.random.u8(..4) == 0 => {
                self.open.swap_remove(self.random.usize(..open));
            }
            5 if open > 0 && self.random.u8(..4) == 0 => {
                let writer = self.random.usize(..open);
                let prepared = if self.fault == Fault::PreparedAreNew { "4/" } else { "-1/" };
                self.begun += 1;
                self.open[writer].id = format!("{prepared}{}", self.begun);
            }
            6..=8 => {
                // A tenant that is on hold would be passed over: any of them may be published.
                let at = self.random.usize(..self.waiting.len().max(1));
                let seq = self.waiting.iter().nth(at).copied();
                seq.map(|seq| self.waiting.remove(&seq));
            }
            9..12 => self.look(),
            _ => {}
        }
        self.highest_floor = self.highest_floor.max(self.floor.start().floor);
    }

    /// The next statement of a look.
    fn look(&mut self) {
        let Some((from, era, stage, mut look)) = self.look.take() else {
            self.now += CHECK_MAX;
            self.floor.claimed(LOOK_EVENTS);
            match self.floor.ask(self.now) {
                Some(Ask::Look(from)) => {
                    self.look = Some((from, self.floor.era(), 0, FloorLook::default()));
                }
                Some(Ask::Check(below)) => {
                    let found = self.waiting.iter().any(|seq| *seq < below);
                    assert!(!found, "a check finds something");
                    self.floor.checked(self.floor.era(), found, Duration::ZERO, self.now);
                }
                None => {}
            }
            return;
        };
        let order = match self.fault {
            Fault::EventsFirst => [0, 2, 1],
            Fault::SequenceLast => [1, 0, 2],
            Fault::Nothing | Fault::PreparedAreNew | Fault::FirstWritersAreNew => [0, 1, 2],
        };
        match order[stage] {
            0 => look.issued = (self.last > 0).then_some(self.last),
            1 => look.writers = self.open.iter().map(|writer| writer.id.clone()).collect(),
            _ => {
                let step = if from == 0 { i64::MAX } else { from + 8 };
                look.clear_below = self.waiting.range(from..).next().map_or(step, |s| step.min(*s));
            }
        }
        if stage == 2 {
            self.floor.looked(era, look, self.now);
        } else {
            self.look = Some((from, era, stage + 1, look));
        }
    }

    /// What waits, or will when its transaction commits, below the floor.
    fn hidden(&self) -> bool {
        let floor = self.floor.start().floor;
        let open = self.open.iter().flat_map(|writer| &writer.seqs);
        open.chain(&self.waiting).any(|seq| *seq < floor)
    }
}

/// In how many of these runs something is hidden, and how high the floor gets on average.
fn runs(fault: Fault) -> (usize, i64) {
    let (mut hidden, mut height) = (0, 0);
    for seed in 0..2_000 {
        let mut world = World::new(seed, fault);
        for _ in 0..400 {
            world.step();
            if world.hidden() {
                hidden += 1;
                break;
            }
        }
        height += world.highest_floor;
    }
    (hidden, height / 2_000)
}

#[test]
fn the_floor_hides_nothing_that_waits_or_is_yet_to_be_committed() {
    let (hidden, height) = runs(Fault::Nothing);
    assert_eq!(hidden, 0);
    assert!(height >= 3, "it hardly ever rises: {height}");
}

#[test]
fn each_precaution_is_needed() {
    for fault in
        [Fault::EventsFirst, Fault::SequenceLast, Fault::PreparedAreNew, Fault::FirstWritersAreNew]
    {
        // A check that finds something is as good.
        let found = std::panic::catch_unwind(|| runs(fault).0);
        assert!(found.as_ref().is_err() || found.is_ok_and(|n| n > 0), "{fault:?} does no harm");
    }
}

/// A floor at 1,000.
fn at_1000() -> (Floor, Instant) {
    let now = Instant::now();
    let mut floor = wanted(now);
    let look = FloorLook { issued: Some(1_000), writers: Vec::new(), clear_below: i64::MAX };
    floor.claimed(LOOK_EVENTS);
    assert_eq!(floor.ask(now), Some(Ask::Look(0)));
    floor.looked(floor.era(), look, now);
    assert_eq!(floor.start().floor, 1_000);
    (floor, now)
}

#[test]
fn a_sequence_that_went_back_and_one_that_says_nothing_leave_no_floor() {
    for issued in [Some(999), None] {
        let (mut floor, now) = at_1000();
        let look = FloorLook { issued, writers: Vec::new(), clear_below: i64::MAX };
        floor.looked(floor.era(), look, now);
        assert_eq!(floor.start().floor, 0, "{issued:?}");
    }
}

#[test]
fn what_was_asked_before_it_was_forgotten_says_nothing_afterwards() {
    let (mut floor, now) = at_1000();
    let era = floor.era();
    floor.forget();
    let look = FloorLook { issued: Some(2_000), writers: Vec::new(), clear_below: i64::MAX };
    floor.looked(era, look, now);
    assert_eq!(floor.start().floor, 0);
}

#[test]
fn checks_take_a_twentieth_of_the_time_and_end_when_nothing_happens() {
    let (mut floor, now) = at_1000();
    floor.woken();
    let at = floor.claimed(0).expect("a claim for the check");
    assert!(floor.ask(at - Duration::from_millis(1)).is_none());
    assert_eq!(floor.ask(at), Some(Ask::Check(1_000)));
    assert!(floor.ask(at).is_none(), "one question at a time");
    assert!(!floor.checked(floor.era(), false, Duration::from_millis(200), at));
    assert_eq!(floor.claimed(0), None, "nothing has happened since");
    floor.woken();
    assert_eq!(floor.claimed(0), Some(at + Duration::from_secs(4)));
    assert!(now < at);
    assert_eq!(floor.ask(at + Duration::from_secs(4)), Some(Ask::Check(1_000)));
    assert!(floor.checked(floor.era(), true, Duration::ZERO, at), "something waits");
    assert_eq!(floor.start().floor, 0);
}

#[test]
fn a_floor_is_kept_as_long_as_claims_have_a_reason() {
    let now = Instant::now();
    let mut floor = Floor::new(now);
    floor.claimed(LOOK_EVENTS);
    for (took, found) in [(4, 1), (100, 5_000)] {
        floor.claim_took(Duration::from_millis(took), found, now);
        assert_eq!(floor.ask(now), None, "{took} ms for {found} events are no reason");
    }
    floor.claim_took(Duration::from_millis(100), 10, now);
    assert!(matches!(floor.ask(now), Some(Ask::Look(0))), "dead entries are");
    let look = FloorLook { issued: Some(1_000), writers: Vec::new(), clear_below: 900 };
    floor.looked(floor.era(), look, now);
    assert_eq!(floor.start().floor, 900);
    let quick = Duration::from_millis(1);
    floor.claim_took(quick, 10, now + super::WANTED / 2);
    assert_eq!(floor.start().floor, 900);
    floor.claim_took(quick, 10, now + super::WANTED);
    assert_eq!(floor.start().floor, 0, "nothing was slow for long");
}

#[test]
fn rows_that_are_known_to_be_many_are_not_counted_by_each_claim_until_the_floor_has_passed_them() {
    let now = Instant::now();
    let mut floor = wanted(now);
    let look = |issued| FloorLook { issued: Some(issued), writers: vec![], clear_below: issued };
    assert!(floor.start().few > 0);
    floor.claimed(5_000);
    assert_eq!(floor.start().few, 0);
    let era = floor.era();
    assert!(matches!(floor.ask(now), Some(Ask::Look(0))));
    floor.looked(era, look(5_000), now);
    assert_eq!(floor.start().floor, 5_000);
    assert!(floor.start().few > 0, "what was found is below");
}

#[test]
fn a_look_at_the_flag_asks_below_the_floor_every_ten_seconds() {
    let now = Instant::now();
    let mut floor = wanted(now);
    assert_eq!(floor.pending_from(now), 0, "no floor");
    floor.value = 700;
    assert_eq!(floor.pending_from(now), 700);
    assert_eq!(floor.pending_from(now + CHECK_MAX), 0);
    assert_eq!(floor.pending_from(now + CHECK_MAX), 700);
}
