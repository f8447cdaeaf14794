//! Models of the slot machine. Loom runs each in every interleaving, with every value that the
//! memory orders allow.
//!
//! ```text
//! RUSTFLAGS="--cfg cobuf_loom -C debug-assertions" CARGO_TARGET_DIR=target/loom \
//!     cargo test --release -p cobuf-host --lib loom
//!
//!   event    a sleeping waiter is woken             swap     the cut between two crews
//!   sets     a slot that is added is taken once     deaths   of workers, of the commander, by hand
//!   stream   each batch comes once, to the end      kills    a death at each access to memory
//!   submit   messages of the application's threads
//!   hints    sets, the queue, and wakes that are not worth it
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS=3` raises the bound below; `LOOM_LOG=1` prints the steps that led to a
//! failure.
//!
//! The models run the shipped code of `word`, `claim`, `table`, `slot_set`, `queue`, `search`,
//! `arrivals`, `recovery`, `shares` and `event`, on loom's atomics and the modelled futex of
//! `sync`. A process is a thread here. A killed process ends early and loses its claims and all
//! that it knew (`mortal`). To reap it is to join its thread, or to go on in it. Payloads are
//! loom's `UnsafeCell`s. They fail a model if two accesses are not ordered, so a passing model
//! shows that claims are exclusive and publish what was written under them. A process that sleeps
//! for ever is a deadlock, which fails the model too.
//!
//! Models stay small. Steps before the race run before the threads start, and a process that only
//! waits for another has no thread. The largest models have one interruption a thread
//! (`PREEMPTIONS_OF_LARGE`).
//!
//! Not tested: timeouts, patience, and more than one death in a run, except for the tests that
//! write one out.
#![expect(unsafe_code, reason = "reaches payloads by claim, as `memory` does")]

mod deaths;
mod event;
mod hints;
mod kills;
mod sets;
mod stream;
mod submit;
mod swap;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::thread::{self, JoinHandle};

use super::arrivals::{Arrivals, Wanted};
use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::control::Control;
use super::patience::Patience;
use super::place::Place;
use super::recovery::Reclaimed;
use super::slot::{Outcome, SlotHeader};
use super::sync::AtomicU64;
use super::table::{Supply, Table};

/// How often a thread may be interrupted. Most bugs need one or two interruptions.
const PREEMPTIONS: usize = 2;
/// The same in models that take many minutes with two.
const PREEMPTIONS_OF_LARGE: usize = 1;
/// The most steps of one run. A model that takes more runs in circles.
const MOST_STEPS: usize = 4_000;
const MAX_ATTEMPTS: u32 = 3;

/// The workers' places: two in the first crew and one in the second.
const FIRST: Place = Place::new(0, 0);
const SECOND: Place = Place::new(0, 1);
const NEWCOMER: Place = Place::new(1, 0);
const PLACES: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    check_bounded(PREEMPTIONS, model);
}

fn check_large(model: impl Fn() + Sync + Send + 'static) {
    check_bounded(PREEMPTIONS_OF_LARGE, model);
}

fn check_bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = MOST_STEPS;
    builder.check(model);
}

/// The payload of a slot: a message, and an array that takes two steps to fill.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Contents {
    message: u64,
    array: [u64; 2],
}

struct Payload(UnsafeCell<Contents>);

// SAFETY: the models look for accesses that are not exclusive; loom panics before one happens.
unsafe impl Sync for Payload {}
// SAFETY: as above.
unsafe impl Send for Payload {}

/// The segment, and the state that the application's threads share.
struct Model {
    control: Control,
    slots: Vec<SlotHeader>,
    payloads: Vec<Payload>,
    /// Each worker's note, see `shares`.
    noted: [AtomicU64; PLACES],
    /// What each worker knows for itself: whether it tends the queue.
    tends: [std::sync::atomic::AtomicBool; PLACES],
    position: Mutex<Position>,
}

/// The consumers' position, see `stream`.
struct Position {
    arrivals: Arrivals,
    /// The number of batches taken so far.
    taken: u64,
}

impl Model {
    /// For consumers in order.
    fn new(slots: usize) -> Arc<Self> {
        let model = Self {
            control: Control::new(),
            slots: (0..slots).map(|_| SlotHeader::new()).collect(),
            payloads: (0..slots).map(|_| Payload(UnsafeCell::new(Contents::default()))).collect(),
            noted: [0; PLACES].map(|_| {
                // Without a cut there is nothing to note, which saves a step in each claim.
                AtomicU64::new(u64::MAX)
            }),
            tends: Default::default(),
            position: Mutex::new(Position { arrivals: Arrivals::new(slots), taken: 0 }),
        };
        model.table().begin_at(0);
        model.table().want(0);
        Arc::new(model)
    }

    fn table(&self) -> Table<'_> {
        Table { control: &self.control, slots: &self.slots }
    }

    fn write(&self, claim: &mut Claim<impl Role>, write: impl FnOnce(&mut Contents)) {
        // SAFETY: loom has checked that no other thread accesses it, or has panicked.
        self.payloads[claim.index()].0.with_mut(|contents| write(unsafe { &mut *contents }));
    }

    fn read(&self, claim: &Claim<impl Role>) -> Contents {
        // SAFETY: loom has checked that no other thread writes to it, or has panicked.
        self.payloads[claim.index()].0.with(|contents| unsafe { *contents })
    }

    // The commander; see `process/commander.rs`.

    fn wait_for_free(&self, supply: &mut Supply) -> Option<Claim<Commanding>> {
        let table = self.table();
        let mut look =
            || if table.stop_requested() { Some(None) } else { table.claim_free(supply).map(Some) };
        if let Some(found) = look() {
            return found;
        }
        table.wait_for_free(&Patience::default(), None, look).0.flatten()
    }

    fn command(&self, mut claim: Claim<Commanding>, sequence: u64) {
        self.write(&mut claim, |contents| contents.message = message(sequence));
        self.table().publish(claim, sequence, size_of::<u64>());
    }

    /// Queues the messages before `end`, unless it is stopped.
    fn command_until(&self, supply: &mut Supply, end: u64) {
        for sequence in self.table().commanded()..end {
            let Some(claim) = self.wait_for_free(supply) else { return };
            self.command(claim, sequence);
        }
    }

    fn command_all(&self, messages: u64) {
        self.command_until(&mut Supply::default(), messages);
        self.table().end_stream(messages);
    }

    // A worker; see `process/worker.rs`.

    fn wait_for_message(&self, worker: Place) -> Option<Claim<Producing>> {
        let table = self.table();
        let look = || {
            if table.stop_requested() {
                return Some(None);
            }
            self.claim_queued(worker).map(Some)
        };
        let sleeps = || {
            self.leave(worker);
            Some(table.queue().note_sleeper(worker))
        };
        let (found, _) = self.control.queued.event.wait_and_tell(&Patience::default(), None, look, sleeps);
        let claim = found.flatten();
        if claim.is_some() {
            // All messages are quick.
            table.queue().tend(1);
            self.tends[worker.index()].store(true, Relaxed);
        } else {
            self.leave(worker);
        }
        claim
    }

    /// Before a worker sleeps or ends.
    fn leave(&self, worker: Place) {
        if self.tends[worker.index()].swap(false, Relaxed) {
            self.table().queue().leave();
        }
    }

    fn claim_queued(&self, worker: Place) -> Option<Claim<Producing>> {
        self.table().claim_queued(worker, &self.noted[worker.index()], 1)
    }

    /// Does the plugin's work.
    fn fill(&self, claim: &mut Claim<Producing>) {
        let message = self.read(claim).message;
        assert_eq!(message, self::message(self.table().sequence(claim)));
        for half in 0..2 {
            self.write(claim, |contents| contents.array[half] = array(message));
        }
    }

    fn produce(&self, mut claim: Claim<Producing>, worker: Place) {
        self.fill(&mut claim);
        self.table().commit(claim, outcome(worker, false));
    }

    /// Produces until the stop. Returns the number of batches.
    fn produce_all(&self, worker: Place) -> u64 {
        let mut produced = 0;
        while let Some(claim) = self.wait_for_message(worker) {
            self.produce(claim, worker);
            produced += 1;
        }
        produced
    }

    // The consumers; see `stream.rs`.

    /// The next batch, or `None` after the last of the stream, or at a stop.
    fn next(&self, in_order: bool) -> Option<Claim<Reading>> {
        let (found, _) =
            self.control.ready.event.wait_for(&Patience::default(), None, || self.look(in_order));
        found.flatten()
    }

    fn look(&self, in_order: bool) -> Option<Option<Claim<Reading>>> {
        let (table, position) = (self.table(), &mut *self.position.lock().unwrap());
        if table.stop_requested() {
            return Some(None);
        }
        let wanted = if in_order { Wanted::Sequence(position.taken) } else { Wanted::Any };
        if let Some(claim) = position.arrivals.take(table, wanted) {
            position.taken += 1;
            if in_order {
                table.want(position.taken);
            }
            return Some(Some(claim));
        }
        (table.end() == Some(position.taken)).then_some(None)
    }

    /// Checks a batch and frees its slot. Returns its message's number.
    fn consume(&self, claim: Claim<Reading>) -> u64 {
        let sequence = self.table().sequence(&claim);
        let message = message(sequence);
        assert!(!self.table().outcome(&claim).failed);
        assert_eq!(self.read(&claim), Contents { message, array: [array(message); 2] });
        self.table().release(claim);
        sequence
    }

    /// Consumes the whole stream in order: each batch once, and nothing after the last.
    fn consume_in_order(&self, messages: u64) {
        for sequence in 0..messages {
            let claim = self.next(true).expect("the stream is not over");
            assert_eq!(self.consume(claim), sequence);
        }
        assert!(self.next(true).is_none());
        assert!(self.position.lock().unwrap().arrivals.take(self.table(), Wanted::Any).is_none());
    }

    // The supervisor; see `supervisor/`.

    /// The supervisor's work after a worker was reaped.
    fn bury_worker(&self, place: Place, max_attempts: u32) {
        let table = self.table();
        if let Some(Reclaimed::GivenUp { claim, .. }) = table.reclaim_worker(place, Some(max_attempts)) {
            table.commit(claim, outcome(place, true));
        }
        table.restore();
    }

    /// The supervisor's work after the commander was reaped.
    fn bury_commander(&self) {
        self.table().reclaim_commander();
        self.table().restore();
    }
}

fn outcome(place: Place, failed: bool) -> Outcome {
    Outcome { failed, bytes: 0, rows: None, nanos: 0, worker: place.worker(), edition: place.crew() as u32 }
}

/// The message with this number. It is never 0, which is in payloads that were never written.
fn message(sequence: u64) -> u64 {
    10 + sequence
}

/// The array's contents for a message.
fn array(message: u64) -> u64 {
    100 * message
}

/// Starts a process, or a thread of the application.
fn start<T: 'static>(model: &Arc<Model>, run: impl FnOnce(&Model) -> T + 'static) -> JoinHandle<T> {
    let model = model.clone();
    thread::spawn(move || run(&model))
}
