//! How many cache lines a message moves between the cores of its processes: counts that do not depend on the
//! machine.
//!
//! ```text
//! RUSTFLAGS="--cfg cobuf_loom --cfg cobuf_lines" CARGO_TARGET_DIR=target/loom \
//!     cargo test -p cobuf-host --lib --release --no-default-features cache_lines -- --nocapture
//! ```
//!
//! The commander, each worker and the consumer have a core each, and run the shipped code of `table`, `search`,
//! `queue`, `arrivals` and `event` on the counting atomics of `counted`. Messages, metadata and arrays are not
//! counted: they are not the slots' own words, and their lines depend on what is sent. Two rhythms:
//!
//! - **bursts**: the commander queues 16 messages, workers take them in turns, the consumer takes all
//!   batches. Nobody sleeps.
//! - **alone**: one message at a time. All workers and the consumer sleep; another worker is woken each time,
//!   as the kernel wakes the one that has slept longest.
#![cfg(test)]

use std::collections::BTreeMap;
use std::ops::Range;

use super::arrivals::{Arrivals, Wanted};
use super::claim::{Claim, Producing};
use super::control::Control;
use super::counted::{moves, play};
use super::event::Event;
use super::patience::Patience;
use super::place::Place;
use super::slot::{Outcome, SlotHeader};
use super::sync::AtomicU64;
use super::table::{Supply, Table};

const COMMANDER: usize = 0;
const CONSUMER: usize = 1;
/// The core of the first worker.
const WORKERS: usize = 2;
const SLOTS_PER_WORKER: usize = 4;
const BURST: usize = 16;
/// How many messages come before the count, and how many are counted.
const WARM_UP: usize = 2_048;
const COUNTED: usize = 2_048;

/// A worker's note, on a line of its own.
#[repr(C, align(64))]
struct Noted(AtomicU64);

struct Machine {
    control: Control,
    slots: Vec<SlotHeader>,
    noted: Vec<Noted>,
    supply: Supply,
    arrivals: Arrivals,
    next: u64,
    taken: u64,
}

impl Machine {
    fn new(workers: usize) -> Self {
        let slots = (workers * SLOTS_PER_WORKER).max(BURST);
        let machine = Self {
            control: Control::new(),
            slots: (0..slots).map(|_| SlotHeader::new()).collect(),
            noted: (0..workers).map(|_| Noted(AtomicU64::new(0))).collect(),
            supply: Supply::default(),
            arrivals: Arrivals::new(slots),
            next: 0,
            taken: 0,
        };
        machine.table().begin_at(0);
        machine.table().want(0);
        machine
    }

    fn table(&self) -> Table<'_> {
        Table { control: &self.control, slots: &self.slots }
    }
}

/// The processes, as `process/commander`, `process/worker` and `stream/delivery` have them.
impl Machine {
    fn command(&mut self) {
        play(COMMANDER);
        let mut supply = std::mem::take(&mut self.supply);
        let table = self.table();
        assert!(!table.stop_requested());
        let claim = table.claim_free(&mut supply).expect("a slot is free");
        table.publish(claim, self.next, size_of::<u64>());
        self.supply = supply;
        self.next += 1;
    }

    /// A worker's look for a message.
    fn look(&self, worker: usize) -> Option<Claim<Producing>> {
        let table = self.table();
        assert!(!table.stop_requested());
        table.claim_queued(Place::new(0, worker), &self.noted[worker].0, 1)
    }

    fn produce(&self, worker: usize) {
        play(WORKERS + worker);
        let (claim, _) = self.control.queued.event.wait_for(&Patience::default(), None, || self.look(worker));
        let worker = Place::new(0, worker).worker();
        let outcome = Outcome { failed: false, bytes: 0, rows: None, nanos: 0, worker, edition: 0 };
        self.table().commit(claim.expect("a message is queued"), outcome);
    }

    /// A consumer's look for a batch, which it releases; whether there was one.
    fn take(&mut self) -> bool {
        play(CONSUMER);
        let mut arrivals = std::mem::replace(&mut self.arrivals, Arrivals::new(0));
        let table = self.table();
        assert!(!table.stop_requested());
        let claim = arrivals.take(table, Wanted::Sequence(self.taken));
        self.arrivals = arrivals;
        let Some(claim) = claim else {
            assert_eq!(self.table().end(), None);
            return false;
        };
        self.taken += 1;
        self.table().want(self.taken);
        let table = self.table();
        assert!(!table.outcome(&claim).failed);
        table.release(claim);
        true
    }

    /// A worker looks in vain, and goes to sleep.
    fn sleep(&self, worker: usize) {
        play(WORKERS + worker);
        asleep(&self.control.queued.event, || assert!(self.look(worker).is_none()));
    }

    /// The consumer looks in vain, and goes to sleep.
    fn sleep_consumer(&mut self) {
        assert!(!self.take());
        asleep(&self.control.ready.event, || {});
    }

    /// The moves of a message in this rhythm, by what is in the lines.
    fn count(&mut self, mut rhythm: impl FnMut(&mut Self, usize) -> usize) -> Moves {
        let mut round = 0;
        let mut run = |machine: &mut Self, messages: usize| {
            let mut done = 0;
            while done < messages {
                done += rhythm(machine, round);
                round += 1;
            }
            done
        };
        run(self, WARM_UP);
        moves();
        let done = run(self, COUNTED);
        let mut named = Moves::new();
        for (line, count) in moves() {
            *named.entry(self.name_of(line)).or_default() += count as f64 / done as f64;
        }
        named
    }

    /// What is in a line.
    fn name_of(&self, line: usize) -> &'static str {
        let control = &self.control;
        let ranges = [
            ("queued", range_of(&control.queued)),
            ("ready", range_of(&control.ready)),
            ("free", range_of(&control.free)),
            ("seldom", std::ptr::from_ref(&control.stop).addr()..range_of(&control.progress).start),
            ("progress", range_of(&control.progress)),
            ("slots", range_of(&self.slots[..])),
        ];
        ranges.into_iter().find(|(_, range)| range.contains(&line)).map_or("other", |(name, _)| name)
    }
}

/// The addresses of a value.
fn range_of<T: ?Sized>(value: &T) -> Range<usize> {
    let at = std::ptr::from_ref(value).addr();
    at..at + size_of_val(value)
}

/// Goes to sleep after a look in vain, and is woken at once.
fn asleep(event: &Event, mut look: impl FnMut()) {
    let mut looked = false;
    event.wait_for(&Patience::default(), None, || {
        if looked {
            return Some(());
        }
        looked = true;
        look();
        None
    });
}

/// Moves a message, by what is in the lines.
type Moves = BTreeMap<&'static str, f64>;

fn in_bursts(workers: usize) -> Moves {
    let mut machine = Machine::new(workers);
    let mut turn = 0;
    machine.count(|machine, _| {
        (0..BURST).for_each(|_| machine.command());
        for _ in 0..BURST {
            machine.produce(turn % workers);
            turn += 1;
        }
        while machine.take() {}
        BURST
    })
}

fn alone(workers: usize) -> Moves {
    let mut machine = Machine::new(workers);
    (0..workers).for_each(|worker| machine.sleep(worker));
    machine.sleep_consumer();
    machine.count(|machine, round| {
        machine.command();
        machine.produce(round % workers);
        assert!(machine.take());
        machine.sleep_consumer();
        machine.sleep(round % workers);
        1
    })
}

/// The most lines that a message may move, by the number of workers: in bursts, alone.
const MOST: [(usize, f64, f64); 5] =
    [(1, 3.5, 7.2), (2, 5.4, 7.2), (8, 5.3, 7.2), (64, 5.3, 7.2), (190, 5.3, 7.2)];

#[test]
fn message_moves_few_lines_however_many_workers_there_are() {
    for (workers, most_in_bursts, most_alone) in MOST {
        let rhythms = [("bursts", in_bursts(workers), most_in_bursts), ("alone", alone(workers), most_alone)];
        for (rhythm, moves, most) in rhythms {
            let all: f64 = moves.values().sum();
            let each: Vec<String> = moves.iter().map(|(what, count)| format!("{what} {count:.2}")).collect();
            println!("{workers:>3} workers, {rhythm:<6}  {all:5.2} lines a message: {}", each.join(", "));
            assert!(all <= most, "{workers} workers, {rhythm}: {all:.2} lines, expected at most {most}");
        }
    }
}
