//! Models of the slot machine: loom runs each in every interleaving, with every value that the memory orders allow.
//!
//! ```text
//! RUSTFLAGS="--cfg cobuf_loom -C debug-assertions" CARGO_TARGET_DIR=target/loom \
//!     cargo test --release -p cobuf-host --lib loom
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS=3` looks further than the bound below, `LOOM_LOG=1` prints the steps that led to a failure.
//!
//! What is tested is the shipped code of `word`, `claim`, `table` and `event`, on loom's atomics and on the modelled futex of
//! `sync`. A process is a thread here; one that is killed is a thread that ends early and loses its claim; to reap it
//! is to join it. Payloads are `UnsafeCell`s of loom's, which fail a model where two accesses are not ordered: so
//! claims are exclusive, and publish what was written under them. Someone who sleeps for ever is a deadlock, which
//! fails it too.
//!
//! What is not tested: timeouts, and deaths between two steps of one function of `table`.
#![expect(unsafe_code, reason = "reaches payloads by claim, as `memory` does")]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::thread::{self, JoinHandle};

use super::claim::{Claim, Commanding, Producing, Reading, Role};
use super::control::Control;
use super::event::Event;
use super::recovery::Reclaimed;
use super::shares::crew_of;
use super::slot::{Outcome, SlotHeader};
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::table::{Table, Wanted};

/// How often a thread may be interrupted where it could have gone on; most bugs need one or two.
const PREEMPTIONS: usize = 2;
const MAX_ATTEMPTS: u32 = 3;

/// Workers, by their places: two of the first crew, and one of the second.
const FIRST: u32 = 0;
const SECOND: u32 = 2;
const NEWCOMER: u32 = 1;
const PLACES: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}

// The segment of a model, and the processes of a run in few words.

/// What a slot holds: a message, and an array that takes two steps to fill.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Contents {
    message: u64,
    array: [u64; 2],
}

struct Payload(UnsafeCell<Contents>);

// SAFETY: what is reached without exclusive right is what the models look for; loom panics before it happens.
unsafe impl Sync for Payload {}
// SAFETY: as above.
unsafe impl Send for Payload {}

struct Model {
    control: Control,
    slots: Vec<SlotHeader>,
    payloads: Vec<Payload>,
    /// Each worker's note, see `shares`.
    noted: [AtomicU64; PLACES],
    /// The number of batches that consumers took who share their place in the stream.
    taken: Mutex<u64>,
}

impl Model {
    fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            control: Control::new(),
            slots: (0..slots).map(|_| SlotHeader::new()).collect(),
            payloads: (0..slots).map(|_| Payload(UnsafeCell::new(Contents::default()))).collect(),
            noted: [0; PLACES].map(|_| {
                // Where nobody cuts, there is nothing to note: a step less in each claim.
                AtomicU64::new(u64::MAX)
            }),
            taken: Mutex::new(0),
        })
    }

    fn table(&self) -> Table<'_> {
        Table { control: &self.control, slots: &self.slots }
    }

    fn write(&self, claim: &mut Claim<impl Role>, write: impl FnOnce(&mut Contents)) {
        // SAFETY: loom has checked that nobody else is at it, or has panicked.
        self.payloads[claim.index()].0.with_mut(|contents| write(unsafe { &mut *contents }));
    }

    fn read(&self, claim: &Claim<impl Role>) -> Contents {
        // SAFETY: loom has checked that nobody writes to it, or has panicked.
        self.payloads[claim.index()].0.with(|contents| unsafe { *contents })
    }

    // The commander; see `process/commander.rs`.

    fn wait_for_free(&self) -> Option<Claim<Commanding>> {
        let table = self.table();
        let (found, _) = self.control.freed.wait_for(None, || {
            if table.stop_requested() { Some(None) } else { table.claim_free().map(Some) }
        });
        found.flatten()
    }

    fn command(&self, mut claim: Claim<Commanding>, sequence: u64) {
        self.write(&mut claim, |contents| contents.message = message(sequence));
        self.table().publish(claim, sequence, size_of::<u64>());
    }

    fn command_all(&self, messages: u64) {
        for sequence in 0..messages {
            let Some(claim) = self.wait_for_free() else { return };
            self.command(claim, sequence);
        }
        self.table().end_stream(messages);
    }

    // A worker; see `process/worker.rs`.

    fn wait_for_message(&self, worker: u32) -> Option<Claim<Producing>> {
        let table = self.table();
        let (found, _) = self.control.queued.wait_for(None, || {
            if table.stop_requested() { Some(None) } else { self.claim_queued(worker).map(Some) }
        });
        found.flatten()
    }

    fn claim_queued(&self, worker: u32) -> Option<Claim<Producing>> {
        self.table().claim_queued(worker, &self.noted[worker as usize])
    }

    fn produce(&self, mut claim: Claim<Producing>, worker: u32) {
        let message = self.read(&claim).message;
        assert_eq!(message, self::message(self.table().sequence(&claim)));
        for half in 0..2 {
            self.write(&mut claim, |contents| contents.array[half] = array(message));
        }
        self.table().commit(
            claim,
            Outcome {
                failed: false,
                bytes: 0,
                rows: None,
                nanos: 0,
                worker,
                edition: crew_of(worker) as u32,
            },
        );
    }

    /// Produces until the stop; gives the number of batches.
    fn produce_all(&self, worker: u32) -> u64 {
        let mut produced = 0;
        while let Some(claim) = self.wait_for_message(worker) {
            self.produce(claim, worker);
            produced += 1;
        }
        produced
    }

    // A consumer; see `stream.rs`.

    /// The next batch, or `None` after the last of a stream from which so many were taken, or at a stop.
    fn next(&self, wanted: Wanted, taken: u64) -> Option<Claim<Reading>> {
        let table = self.table();
        let (found, _) = self.control.ready.wait_for(None, || {
            if table.stop_requested() {
                return Some(None);
            }
            let claim = table.take_ready(wanted);
            if claim.is_some() || table.end() == Some(taken) { Some(claim) } else { None }
        });
        found.flatten()
    }

    /// The next batch in order, for consumers that share the place in the stream.
    fn next_shared(&self) -> Option<Claim<Reading>> {
        let table = self.table();
        let (found, _) = self.control.ready.wait_for(None, || {
            let mut taken = self.taken.lock().unwrap();
            let claim = table.take_ready(Wanted::Sequence(*taken));
            *taken += u64::from(claim.is_some());
            if claim.is_some() || table.end() == Some(*taken) { Some(claim) } else { None }
        });
        found.flatten()
    }

    /// Looks at a batch and gives it back; gives its sequence number.
    fn consume(&self, claim: Claim<Reading>) -> u64 {
        let sequence = self.table().sequence(&claim);
        let message = message(sequence);
        assert!(!self.table().outcome(&claim).failed);
        assert_eq!(self.read(&claim), Contents { message, array: [array(message); 2] });
        self.table().release(claim);
        sequence
    }

    /// Consumes the whole stream in order: each batch once, and nothing behind the last.
    fn consume_in_order(&self, messages: u64) {
        for sequence in 0..messages {
            let claim = self.next(Wanted::Sequence(sequence), sequence).expect("the stream is not over");
            assert_eq!(self.consume(claim), sequence);
        }
        assert!(self.next(Wanted::Sequence(messages), messages).is_none());
        assert!(self.table().take_ready(Wanted::Any).is_none());
    }

    // The supervisor; see `supervisor.rs`.

    /// What follows on a worker's death, once it was reaped.
    fn bury_worker(&self, worker: u32, max_attempts: u32) {
        let table = self.table();
        if let Some(Reclaimed::GivenUp { claim, .. }) = table.reclaim_worker(worker, Some(max_attempts)) {
            let report = Outcome {
                failed: true,
                bytes: 0,
                rows: None,
                nanos: 0,
                worker,
                edition: crew_of(worker) as u32,
            };
            table.commit(claim, report);
        }
        table.wake_everyone();
    }

    /// What follows on the commander's death, once it was reaped.
    fn bury_commander(&self) {
        self.table().reclaim_commander();
        self.table().end_stream(self.table().commanded());
        self.table().wake_everyone();
    }
}

/// The message with this number: not 0, which is in payloads that were never written.
fn message(sequence: u64) -> u64 {
    10 + sequence
}

/// What a message is made into.
fn array(message: u64) -> u64 {
    100 * message
}

/// A process.
fn start<T: 'static>(model: &Arc<Model>, run: impl FnOnce(&Model) -> T + 'static) -> JoinHandle<T> {
    let model = model.clone();
    thread::spawn(move || run(&model))
}

// Without deaths.

/// Commander, worker and consumer over so many slots, to the end of the stream and the stop of the host.
fn run_through(slots: usize, messages: u64) {
    check(move || {
        let model = Model::new(slots);
        let commander = start(&model, move |model| model.command_all(messages));
        let worker = start(&model, |model| model.produce_all(FIRST));
        model.consume_in_order(messages);
        model.table().request_stop();
        commander.join().unwrap();
        assert_eq!(worker.join().unwrap(), messages);
    });
}

#[test]
fn does_each_batch_come_once_and_in_order_through_one_slot() {
    run_through(1, 2);
}

#[test]
fn does_each_batch_come_once_and_in_order_through_two_slots() {
    run_through(2, 2);
}

#[test]
fn do_two_workers_produce_each_message_once() {
    check(|| {
        let model = Model::new(2);
        let workers = [FIRST, SECOND].map(|worker| start(&model, move |model| model.produce_all(worker)));
        model.command_all(2);
        model.consume_in_order(2);
        model.table().request_stop();
        let produced: u64 = workers.map(|worker| worker.join().unwrap()).iter().sum();
        assert_eq!(produced, 2);
    });
}

#[test]
fn do_two_consumers_get_each_batch_once_as_they_come() {
    check(|| {
        let model = Model::new(2);
        let consume_any = |model: &Model| model.consume(model.next(Wanted::Any, u64::MAX).unwrap());
        let consumers = [start(&model, consume_any), start(&model, consume_any)];
        for sequence in 0..2 {
            model.command(model.table().claim_free().unwrap(), sequence);
            let claim = model.claim_queued(FIRST).unwrap();
            model.produce(claim, FIRST);
        }
        let [first, second] = consumers.map(|consumer| consumer.join().unwrap());
        assert_eq!(first + second, 1);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
    });
}

#[test]
fn do_two_consumers_get_each_batch_once_and_the_end_in_order() {
    check(|| {
        let model = Model::new(2);
        model.command_all(2);
        let [first, second] = [FIRST, SECOND].map(|worker| model.claim_queued(worker).unwrap());
        let consume_shared = |model: &Model| {
            let mut sequences = 0;
            while let Some(claim) = model.next_shared() {
                sequences += 1 + model.consume(claim);
            }
            sequences
        };
        let consumers = [start(&model, consume_shared), start(&model, consume_shared)];
        // What is ready before its turn must not be slept through when its turn comes.
        model.produce(second, SECOND);
        model.produce(first, FIRST);
        let sequences: u64 = consumers.map(|consumer| consumer.join().unwrap()).iter().sum();
        assert_eq!(sequences, 1 + 2);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
    });
}

#[test]
fn does_nobody_sleep_on_after_a_stop() {
    check(|| {
        let model = Model::new(1);
        let held = model.table().claim_free().unwrap();
        let commander = start(&model, |model| model.wait_for_free().is_none());
        let worker = start(&model, |model| model.produce_all(FIRST) == 0);
        let consumer = start(&model, |model| model.next(Wanted::Sequence(0), 0).is_none());
        model.table().request_stop();
        for process in [commander, worker, consumer] {
            assert!(process.join().unwrap());
        }
        model.table().abandon(held);
    });
}

// A swap of the producer.

/// The cut comes at any time between the old worker's looks and claims; all that it has not taken by then is the new one's.
#[test]
fn is_the_cut_between_two_crews_exact() {
    check(|| {
        let model = Model::new(2);
        // Loom knows which of two sequentially consistent stores a load must see, but a first value is not one.
        model.noted.iter().for_each(|noted| noted.store(0, Ordering::SeqCst));
        let retire = Arc::new(AtomicU32::new(0));
        let old = {
            let retire = retire.clone();
            start(&model, move |model| {
                let (table, mut produced) = (model.table(), 0);
                let message = || {
                    let retires = retire.load(Ordering::SeqCst) != 0;
                    let claim = model.claim_queued(FIRST);
                    (claim.is_some() || retires || table.stop_requested()).then_some(claim)
                };
                while let (Some(Some(claim)), _) = model.control.queued.wait_for(None, message) {
                    model.produce(claim, FIRST);
                    produced += 1;
                }
                produced
            })
        };
        let new = start(&model, |model| {
            let table = model.table();
            let open = || (table.is_open_for(1) || table.stop_requested()).then_some(());
            model.control.shares.opened.wait_for(None, open);
            model.produce_all(NEWCOMER)
        });
        model.command(model.table().claim_free().unwrap(), 0);
        let first = model.table().cut(0, || model.noted[FIRST as usize].load(Ordering::SeqCst));
        retire.store(1, Ordering::SeqCst);
        model.table().wake_everyone();
        model.command(model.table().claim_free().unwrap(), 1);
        for sequence in 0..2 {
            let claim = model.next(Wanted::Sequence(sequence), u64::MAX).unwrap();
            assert_eq!(model.table().outcome(&claim).edition, u32::from(sequence >= first));
            assert_eq!(model.consume(claim), sequence);
        }
        model.table().request_stop();
        assert_eq!(old.join().unwrap() + new.join().unwrap(), 2);
    });
}

// Deaths of workers.

/// One of two workers claims a message if there is one, writes so many halves of the array, and dies.
fn survive_a_worker_that_dies(messages: u64, halves: usize) {
    check(move || {
        let model = Model::new(messages as usize);
        let living = start(&model, |model| model.produce_all(SECOND));
        let dying = start(&model, move |model| {
            let Some(mut claim) = model.claim_queued(FIRST) else { return };
            for half in 0..halves {
                model.write(&mut claim, |contents| contents.array[half] = u64::MAX);
            }
        });
        model.command_all(messages);
        dying.join().unwrap();
        model.bury_worker(FIRST, MAX_ATTEMPTS);
        model.consume_in_order(messages);
        model.table().request_stop();
        assert_eq!(living.join().unwrap(), messages);
    });
}

#[test]
fn is_the_message_of_a_worker_that_died_done_once_by_another() {
    survive_a_worker_that_dies(1, 0);
}

#[test]
fn is_a_half_written_array_done_again_as_a_whole() {
    survive_a_worker_that_dies(1, 1);
}

#[test]
fn does_the_order_stay_where_a_worker_died() {
    survive_a_worker_that_dies(2, 1);
}

#[test]
fn is_a_wake_that_a_dying_worker_swallowed_made_good() {
    check(|| {
        let model = Model::new(1);
        let living = start(&model, |model| model.produce_all(SECOND));
        let dying = start(&model, |model| {
            let mut looks = 0;
            // Dies as soon as it was woken, or need not sleep, before it claims the message.
            model.control.queued.wait_for(None, || {
                looks += 1;
                (looks > 1 || model.table().commanded() > 0).then_some(())
            });
        });
        let supervisor = start(&model, |model| {
            dying.join().unwrap();
            model.bury_worker(FIRST, MAX_ATTEMPTS);
        });
        model.command_all(1);
        model.consume_in_order(1);
        // Where the living worker got the wake, it is this that kills the other.
        model.table().request_stop();
        supervisor.join().unwrap();
        assert_eq!(living.join().unwrap(), 1);
    });
}

#[test]
fn is_a_message_that_kills_its_workers_given_up_and_reported() {
    check(|| {
        let model = Model::new(1);
        let consumer = start(&model, |model| {
            let claim = model.next(Wanted::Sequence(0), 0).unwrap();
            assert!(model.table().outcome(&claim).failed);
            assert_eq!((claim.attempts(), model.read(&claim).message), (1, message(0)));
            model.table().release(claim);
            assert!(model.next(Wanted::Sequence(1), 1).is_none());
        });
        model.command_all(1);
        for worker in [FIRST, SECOND] {
            let dying = start(&model, move |model| {
                let mut claim = model.wait_for_message(worker).unwrap();
                model.write(&mut claim, |contents| contents.array[0] = u64::MAX);
            });
            dying.join().unwrap();
            model.bury_worker(worker, 2);
        }
        consumer.join().unwrap();
        assert_eq!(model.table().occupancy(), [1, 0, 0, 0]);
    });
}

// Deaths of the commander.

/// A commander queues one message and does something else with the next slot before it dies; so many batches come.
fn survive_a_commander_that_dies(batches: u64, last_act: fn(&Model, Claim<Commanding>)) {
    check(move || {
        let model = Model::new(2);
        let worker = start(&model, |model| model.produce_all(FIRST));
        let commander = start(&model, move |model| {
            model.command(model.wait_for_free().unwrap(), 0);
            last_act(model, model.wait_for_free().unwrap());
        });
        commander.join().unwrap();
        model.bury_commander();
        model.consume_in_order(batches);
        assert_eq!(model.table().occupancy(), [2, 0, 0, 0]);
        model.table().request_stop();
        assert_eq!(worker.join().unwrap(), batches);
    });
}

#[test]
fn is_a_slot_free_again_whose_commander_died_without_a_message() {
    survive_a_commander_that_dies(1, |_, _claim| {});
}

#[test]
fn is_a_slot_free_again_whose_commander_died_with_a_half_written_message() {
    survive_a_commander_that_dies(1, |model, mut claim| {
        model.write(&mut claim, |contents| contents.message = u64::MAX);
    });
}

#[test]
fn is_a_message_kept_whose_commander_died_after_it_was_queued() {
    survive_a_commander_that_dies(2, |model, claim| model.command(claim, 1));
}

// An event alone.

#[test]
fn is_a_change_seen_by_whoever_waits_for_it() {
    check(|| {
        let shared = Arc::new((Event::new(), AtomicU32::new(0)));
        let waker = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.store(1, Ordering::Relaxed);
                shared.0.notify_one();
            }
        });
        let (event, changed) = &*shared;
        let (seen, _) = event.wait_for(None, || (changed.load(Ordering::Relaxed) != 0).then_some(()));
        assert!(seen.is_some());
        waker.join().unwrap();
    });
}

#[test]
fn do_two_wakes_wake_two_waiters() {
    check(|| {
        let shared = Arc::new((Event::new(), AtomicU32::new(0)));
        let waiters = [0, 1].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (event, tokens) = &*shared;
                let take = |tokens: u32| tokens.checked_sub(1);
                let order = Ordering::Relaxed;
                event.wait_for(None, || tokens.fetch_update(order, order, take).ok());
            })
        });
        for _ in 0..2 {
            shared.1.fetch_add(1, Ordering::Relaxed);
            shared.0.notify_one();
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}
