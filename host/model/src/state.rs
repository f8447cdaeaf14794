//! A state of the run: the shared memory, and the position of each process in its program.
//!
//! A state has some hundred bytes without padding, so that it is compared and hashed as bytes.
//! Three counters of the shipped code grow with each use: an event's count, a slot's generation and
//! the requeues. The code compares each only with an older value of itself, for equality. So the
//! model keeps, with each process that remembers an old value, whether it is still the current one
//! ([`Process::fresh`], [`Word::STALE`]), or how old it is ([`Next`]). That is exact as long as a
//! counter does not wrap between a look and the comparison. Without it hardly two histories would
//! meet in one state.

use std::hash::{Hash, Hasher};

use bytemuck::NoUninit;

use crate::process::Process;
use crate::share::Share;
use crate::word::{FIRST_WORKER, PROCESSES, SECOND_WORKER, SUPERVISOR, WORKERS, Word};

pub(crate) const SLOTS: usize = 3;
pub(crate) const MESSAGES: usize = 4;

/// A slot: its word, its numbers, its payload.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Slot {
    pub(crate) word: Word,
    /// The message's number plus one; 0 in a free slot.
    pub(crate) sequence: u8,
    /// The message, which is its number plus one.
    pub(crate) message: u8,
    /// The array for the message, written in two steps: the message twice.
    pub(crate) halves: [u8; 2],
    /// 1: a report is in the batch's place. It stands for all numbers of an outcome.
    pub(crate) failed: u8,
    /// The edition of the code that made it, plus one.
    pub(crate) edition: u8,
}

impl Slot {
    /// Makes the rest of an array that no process may read any more wrong for each message. So no
    /// rest is right by chance, and states that differ in rests only are one.
    pub(crate) fn spoil_array(&mut self) {
        (self.halves, self.failed, self.edition) = ([0; 2], 0, 0);
    }
}

/// The word of `Next`. The shipped one has the count of requeues at which it was made. The model
/// has the age of that count: 1 if it is the current one, 2 if there was one requeue since, and so
/// on. So does [`Process::age`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) struct Next {
    pub(crate) slot: u8,
    /// The expected message's number plus one.
    pub(crate) sequence: u8,
    pub(crate) age: u8,
}

impl Next {
    pub(crate) const FIRST: Self = Self { slot: 0, sequence: 1, age: CURRENT };
    /// No worker can rely on this expectation any more.
    const OLD: u8 = u8::MAX;
}

/// The age of the current count.
pub(crate) const CURRENT: u8 = 1;

/// The supervisor's knowledge of the swap.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
pub(crate) enum Swap {
    /// There is none, or it was given up.
    No,
    /// The newcomers are there.
    Pending,
    /// The cut has begun: the first crew retires.
    Cut,
}

/// A state of the whole run. The last three fields are not in the shipped code: the properties need
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) commanded: u8,
    /// The number of messages of the stream plus one; 0 before its end.
    pub(crate) end: u8,
    /// A bit for each event: a process sleeps.
    pub(crate) asleep: u8,
    /// The sets of slots, a bit each.
    pub(crate) free: u8,
    pub(crate) ready: u8,
    pub(crate) queued: u8,
    pub(crate) next: Next,
    /// The number of the last message that is worth a wake of the consumer.
    pub(crate) wanted: u8,
    pub(crate) share: Share,
    /// For each worker, the least number above all messages that it has noted.
    pub(crate) noted: [u8; WORKERS],
    /// A bit for each worker that is to exit when nothing is left that it may claim.
    pub(crate) retire: u8,
    /// The supervisor's knowledge of the swap.
    pub(crate) swap: Swap,
    pub(crate) processes: [Process; PROCESSES],
    /// A bit for each message that was taken.
    pub(crate) taken: u8,
    /// How many workers died of each message.
    pub(crate) deaths: [u8; MESSAGES],
    /// How many more processes may be killed.
    pub(crate) crashes: u8,
}

impl State {
    pub(crate) fn taken(&self) -> u8 {
        self.taken.count_ones() as u8
    }

    /// One of two states that differ in the two workers' names only: the workers run the same
    /// program. Without a swap.
    pub(crate) fn canonical(self) -> Self {
        let [first, last] = [FIRST_WORKER, SECOND_WORKER].map(|worker| self.processes[worker]);
        if (first.pc as u8) < last.pc as u8 {
            return self;
        }
        let exchanged = self.exchanged();
        let key = |state: &Self| [FIRST_WORKER, SECOND_WORKER].map(|worker| state.processes[worker].bytes());
        if key(&self) <= key(&exchanged) { self } else { exchanged }
    }

    fn exchanged(mut self) -> Self {
        self.processes.swap(FIRST_WORKER, SECOND_WORKER);
        for process in &mut self.processes {
            for word in [&mut process.seen, &mut process.best_seen] {
                *word = word.exchanged();
            }
        }
        let buried = &mut self.processes[SUPERVISOR].number;
        if [FIRST_WORKER, SECOND_WORKER].contains(&usize::from(*buried)) {
            *buried = (FIRST_WORKER + SECOND_WORKER) as u8 - *buried;
        }
        for slot in &mut self.slots {
            slot.word = slot.word.exchanged();
        }
        self
    }

    /// One line for a trace.
    pub(crate) fn line(&self) -> String {
        let slots: Vec<_> = (self.slots.iter())
            .map(|slot| match slot.sequence {
                0 => format!("{:?}", slot.word),
                sequence => format!("{:?} #{}", slot.word, sequence - 1),
            })
            .collect();
        let end = self.end.checked_sub(1).map_or(String::new(), |end| format!(" end {end}"));
        let (slots, commanded) = (slots.join(", "), self.commanded);
        let swap = if self.swap == Swap::No && self.share == Share::FIRST_CREW {
            String::new()
        } else {
            format!(" {:?} {:?} noted {:?} retire {:b}", self.swap, self.share, self.noted, self.retire)
        };
        let sets = format!("free {:b} ready {:b} queued {:b}", self.free, self.ready, self.queued);
        let queue = format!("{:?}", self.next);
        let asleep = format!("asleep {:03b} wanted {}", self.asleep, self.wanted);
        format!("[{slots}] commanded {commanded}{end} {sets} {queue} {asleep}{swap}")
    }
}

impl State {
    /// Counts a requeue: each count that was read before is one older.
    pub(crate) fn note_requeue(&mut self) {
        let ages = self.processes.iter_mut().map(|process| &mut process.age).chain([&mut self.next.age]);
        ages.filter(|age| **age != 0).for_each(|age| *age = age.saturating_add(1));
    }

    /// Without an expectation that no worker can rely on: a worker that reads the count from now on
    /// reads a later one.
    pub(crate) fn without_the_old(mut self) -> Self {
        let Next { age, .. } = self.next;
        if age != CURRENT && !self.processes.iter().any(|process| process.age == age) {
            (self.next.sequence, self.next.age) = (0, Next::OLD);
        }
        self
    }
}

impl State {
    /// Whether the share word will not change any more.
    pub(crate) fn shares_are_settled(&self) -> bool {
        self.swap == Swap::No || self.share.is_open_for(1)
    }

    pub(crate) fn is_retired(&self, index: usize) -> bool {
        self.retire >> index & 1 == 1
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut bytes = [0; size_of::<Self>()];
        let mut rest = &mut bytes[..];
        let mut put = |part: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        };
        self.processes.iter().for_each(|process| put(bytemuck::bytes_of(process)));
        self.slots.iter().for_each(|slot| put(bytemuck::bytes_of(slot)));
        [&self.noted[..], &self.deaths].into_iter().for_each(&mut put);
        put(bytemuck::bytes_of(&self.next));
        put(&[self.commanded, self.end, self.asleep, self.free, self.ready, self.queued, self.wanted]);
        put(&[self.share.bits(), self.retire, self.swap as u8, self.taken, self.crashes]);
        hasher.write(&bytes);
    }
}
