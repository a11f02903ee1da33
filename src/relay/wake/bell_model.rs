//! The bell's protocol in every interleaving of two relays, two writers and what can go wrong, up to a number of
//! steps. The relays are the machine itself; the database, the flag and the wire are the world here.
//!
//! From each state everything is let go its way: every event must be claimed without the sweep, soon after its
//! transaction has ended, however long that took. And each precaution of the protocol is left out once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;

const CONFIG: WakeConfig = WakeConfig {
    slots: 1,
    // Never: it must not be what finds anything.
    sweep_interval: Duration::from_secs(3_600),
    poll_interval: Duration::from_millis(200),
    // Never, either.
    again: Duration::from_secs(3_600),
};

/// Awake at once, and dozing again after half a second of nothing.
const BELL: BellConfig = BellConfig {
    term: Duration::from_millis(1_000),
    renewal: Duration::from_millis(500),
    look: Duration::from_millis(1_000),
    look_rung: Duration::from_millis(1_000),
    gap_min: Duration::from_millis(100),
    gap_max: Duration::from_millis(100),
    pass_on: Duration::from_millis(300),
    rise: 1.0,
    level_max: 1.0,
    leak_dozing: 1_000.0,
    leak_awake: 2.0,
};

/// Time that passes in a step.
const TICK: Duration = Duration::from_millis(600);

/// Within this every event is claimed: the flag's term, a look, one statement that failed, and the fence.
const BOUND: Duration = Duration::from_millis(4_500);

/// What is wrong with the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    None,
    /// The flag is a row: a writer sees it as it was when its transaction began.
    FlagInSnapshot,
    /// Nobody waits for the writers.
    NoFence,
    /// It waits for transactions older than the newest that had ended (`pg_snapshot_xmax`).
    FenceByXmax,
    /// The writers are looked for before the flag is lowered.
    FenceBeforeLower,
    /// What a claim finds that starts after lowering is thrown away: the last one was before.
    ClaimBeforeLower,
    /// Nobody looks at the flag while dozing.
    NoLook,
    /// Lowering leaves no trace, so nobody sees that somebody has lowered it and died.
    LowerToZero,
    /// What cannot be claimed is not passed on.
    NoRing,
}

/// One transaction, in the order of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    NotBegun,
    Begun { flag: i64 },
    Locked { flag: i64, xid: u32 },
    Inserted { rings: bool, xid: u32 },
    Ended,
}

/// The claim of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claiming {
    No,
    Begun,
    Read(usize),
}

#[derive(Debug, Clone)]
struct Relay {
    wake: Wake,
    claim: Claiming,
    op: Option<FlagOp>,
    /// What was done, and not heard of yet.
    answer: Option<FlagAnswer>,
    fence: Vec<usize>,
    /// A notification is on its way.
    notice: bool,
    listening: bool,
    lowered: bool,
    alive: bool,
    paused: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(usize),
    Notice(usize),
    Read(usize),
    Hear(usize),
    Do(usize),
    Answer(usize),
    Poll(usize),
    Crash(usize),
    Pause(usize),
    Deaf(usize),
    Hearing(usize),
    FailOp(usize),
    LateRaise,
    Tick,
}

#[derive(Debug, Clone)]
struct World {
    mutation: Mutation,
    now: Instant,
    /// The server's clock.
    ms: i64,
    flag: i64,
    /// A raise of a relay that has died or given up waiting, not done yet.
    late_raise: bool,
    relays: [Relay; 2],
    writers: [Writer; 2],
    xids: u32,
    newest_ended: u32,
    pending: usize,
    /// One misfortune in a run.
    spent: bool,
}

impl Relay {
    fn new(now: Instant, raises: bool) -> Self {
        let rise = if raises { BELL.rise } else { f64::INFINITY };
        let bell = BellConfig { rise, ..BELL };
        let mut wake = Wake::new(CONFIG, now).with_bell(bell, now);
        wake.handle(Input::ListenerUp, now);
        Self {
            wake,
            claim: Claiming::No,
            op: None,
            answer: None,
            fence: Vec::new(),
            notice: false,
            listening: true,
            lowered: false,
            alive: true,
            paused: false,
        }
    }

    /// Does at once what the machine says; when it wants to be asked again.
    fn poll(&mut self, now: Instant) -> Instant {
        loop {
            match self.wake.poll(now) {
                Action::Claim => self.claim = Claiming::Begun,
                Action::Flag(op) => {
                    assert!(self.op.is_none(), "two operations at once");
                    self.op = Some(op);
                }
                Action::SleepUntil(until) => {
                    assert!(until > now, "it would spin");
                    return until;
                }
                Action::Finished => panic!("nobody stopped it"),
            }
        }
    }

    fn hear(&mut self, input: Input, now: Instant) -> bool {
        self.wake.handle(input, now);
        self.poll(now);
        true
    }
}

impl World {
    /// Both relays have begun and found nothing, and one or both of them may raise the flag.
    fn new(mutation: Mutation, both: bool) -> Self {
        let now = Instant::now();
        let mut world = Self {
            mutation,
            now,
            ms: 1_000_000,
            flag: 0,
            late_raise: false,
            relays: [Relay::new(now, true), Relay::new(now, both)],
            writers: [Writer::NotBegun; 2],
            xids: 0,
            newest_ended: 0,
            pending: 0,
            spent: false,
        };
        world.relays.iter_mut().for_each(|relay| _ = relay.poll(now));
        // Beyond the sweep that comes soon after the start: it must not be what finds anything.
        world.run(2 * CONFIG.poll_interval, false);
        world
    }

    /// An event has rung, and the relays that may are awake.
    fn awake(mutation: Mutation, both: bool) -> Self {
        let mut world = Self::new(mutation, both);
        (0..4).for_each(|_| _ = world.write(0));
        world.rest();
        assert!(world.pending == 0 && world.flag > world.ms, "{world:?}");
        world.writers = [Writer::Begun { flag: world.flag }; 2];
        world
    }

    /// The first relay has nothing to do any more, and is about to lower the flag.
    fn leaving(mutation: Mutation, both: bool) -> Self {
        let mut world = Self::awake(mutation, both);
        world.pass(TICK);
        let ops = [Step::Poll(0), Step::Do(0), Step::Answer(0)];
        for _ in 0..20 {
            if world.relays[0].op == Some(FlagOp::Lower) {
                return world;
            }
            let _taken = ops.map(|step| world.take(step));
        }
        panic!("it does not lower the flag: {world:?}");
    }
}

mod world;

/// Explores breadth first; the steps to the first state that loses an event, and how many there were.
fn explore(start: World, depth: usize) -> (Option<Vec<Step>>, usize) {
    let of_relay = |i| {
        use Step::*;
        [
            Notice(i),
            Read(i),
            Hear(i),
            Do(i),
            Answer(i),
            Poll(i),
            Crash(i),
            Pause(i),
            Deaf(i),
            Hearing(i),
            FailOp(i),
        ]
    };
    let mut steps = vec![Step::Write(0), Step::Write(1), Step::Tick, Step::LateRaise];
    steps.extend(of_relay(0));
    steps.extend(of_relay(1));
    let mut seen = HashSet::new();
    let mut front = vec![(start, Vec::new())];
    for _ in 0..depth {
        let mut next_front = Vec::new();
        for (world, path) in front {
            for step in &steps {
                let mut next: World = world.clone();
                if !next.take(*step) {
                    continue;
                }
                let mut hasher = DefaultHasher::new();
                format!("{next:?}").hash(&mut hasher);
                if seen.insert(hasher.finish()) {
                    let mut path: Vec<Step> = path.clone();
                    path.push(*step);
                    // Hearing of something loses nothing that its being done has not lost.
                    let quiet = matches!(
                        step,
                        Step::Notice(_) | Step::Answer(_) | Step::Hear(_) | Step::Poll(_)
                    );
                    if !quiet && next.loses() {
                        return (Some(path), seen.len());
                    }
                    next_front.push((next, path));
                }
            }
        }
        front = next_front;
    }
    (None, seen.len())
}

/// Steps from each start, in a run that has to be quick. `BELL_MODEL_DEPTH` takes more.
const DEPTH: usize = 5;

#[test]
fn every_event_is_claimed_without_the_sweep_whatever_happens_when() {
    let asked = std::env::var("BELL_MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok());
    let depth = asked.unwrap_or(DEPTH);
    let mut all = 0;
    for both in [false, true] {
        for start in [World::new, World::awake, World::leaving] {
            let (lost, states) = explore(start(Mutation::None, both), depth);
            assert!(lost.is_none(), "an event is left lying after {lost:?}");
            all += states;
        }
    }
    println!("{all} states");
    assert!(all > 10_000, "nothing was explored");
}

#[test]
fn each_precaution_is_needed() {
    // Each from where it is nearest, so that it is found within seconds.
    type Start = fn(Mutation, bool) -> World;
    let starts: [(Mutation, Start); 8] = [
        (Mutation::FlagInSnapshot, World::leaving),
        (Mutation::NoFence, World::leaving),
        (Mutation::FenceByXmax, World::leaving),
        (Mutation::FenceBeforeLower, World::leaving),
        (Mutation::ClaimBeforeLower, World::leaving),
        (Mutation::NoLook, World::awake),
        (Mutation::LowerToZero, World::leaving),
        (Mutation::NoRing, World::awake),
    ];
    for (mutation, start) in starts {
        let lost = explore(start(mutation, false), DEPTH).0;
        println!("{mutation:?}: {lost:?}");
        assert!(lost.is_some(), "the model does not see {mutation:?}");
    }
}
