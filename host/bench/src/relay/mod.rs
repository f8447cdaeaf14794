//! A bare relay of commander, workers and consumer, without anything else that the buffer does: the
//! least that a hand-over between processes costs.
//!
//! ```text
//!   commander ──commanded[0]──► worker 0 ──done[0]──► consumer
//!       ▲     ──commanded[1]──► worker 1 ──done[1]──►    │
//!       └─────────────────consumed───────────────────────┘
//!   each name is a counter on a cache line of its own; a waiting process sleeps on one of them
//! ```
//!
//! The slots follow the counters; there are as many as fit in the memory. Batch n is in slot n
//! modulo the number of slots, and worker n modulo 2 makes it. There is no message, choice, claim,
//! recovery or plugin. A worker writes 16 bytes into the slot.

pub(crate) mod ping_pong;
mod signal;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;

use self::signal::Signal;
use super::consumer::{MANY, Pace};
use super::memory::{APART, SharedMemory};
use super::partner::{self, Partner};
use crate::args::Role;
use cobuf::signals::Signals;

/// The number of workers.
const WORKERS: u32 = 2;
/// The words of 16 bytes.
const PAYLOAD: usize = 4;

/// The places of the signals; the slots follow them.
const CONSUMED: usize = 0;
const COMMANDED: usize = 2;
const DONE: usize = 2 + 2 * WORKERS as usize;
const PLACES: usize = DONE + 2 * WORKERS as usize;

/// The signal at a place: a counter, and a word that tells whether a process sleeps, each on a line
/// of its own.
fn signal(words: &[AtomicU32], place: usize) -> Signal<'_> {
    Signal::new(&words[place * APART], &words[(place + 1) * APART])
}

/// The number of slots.
fn slots(words: &[AtomicU32]) -> u32 {
    (words.len() / APART - PLACES) as u32
}

fn slot(words: &[AtomicU32], batch: u32) -> &[AtomicU32] {
    let start = (PLACES + (batch % slots(words)) as usize) * APART;
    &words[start..start + PAYLOAD]
}

/// The commander's role: at most as many batches as slots may be commanded and not yet consumed.
pub(super) fn command(words: &[AtomicU32]) -> Result<()> {
    let consumed = signal(words, CONSUMED);
    let commanded = [0, 1].map(|worker| signal(words, COMMANDED + 2 * worker));
    let (slots, mut next) = (slots(words), 0_u32);
    loop {
        consumed.wait_until(|consumed| next.wrapping_sub(consumed) < slots, || Ok(()))?;
        commanded[(next % WORKERS) as usize].raise();
        next = next.wrapping_add(1);
    }
}

/// A worker's role.
pub(super) fn work(words: &[AtomicU32], worker: u32) -> Result<()> {
    let commanded = signal(words, COMMANDED + 2 * worker as usize);
    let done = signal(words, DONE + 2 * worker as usize);
    let (mut batch, mut finished) = (worker, 0);
    loop {
        commanded.wait_until(|commanded| commanded != finished, || Ok(()))?;
        slot(words, batch).iter().for_each(|word| word.store(batch, Ordering::Relaxed));
        finished = finished.wrapping_add(1);
        batch = batch.wrapping_add(WORKERS);
        done.raise();
    }
}

/// The relay, with this process as its consumer.
struct Relay<'a> {
    memory: SharedMemory,
    partners: [Partner; 3],
    signals: &'a Signals,
    next: u32,
}

impl<'a> Relay<'a> {
    /// Starts a relay with this many slots.
    fn start(slots: usize, signals: &'a Signals) -> Result<Self> {
        let memory = SharedMemory::create((PLACES + slots) * APART * size_of::<AtomicU32>())?;
        let roles = [Role::Commander, Role::Worker0, Role::Worker1];
        let [commander, first, second] = roles.map(|role| Partner::spawn(role, &memory));
        Ok(Self { memory, partners: [commander?, first?, second?], signals, next: 0 })
    }

    /// Takes the next batches, in order.
    fn take(&mut self, count: u64) -> Result<()> {
        let words = self.memory.words();
        let consumed = signal(words, CONSUMED);
        let done = [0, 1].map(|worker| signal(words, DONE + 2 * worker));
        for _ in 0..count {
            let (worker, turn) = ((self.next % WORKERS) as usize, self.next / WORKERS);
            let go_on = || partner::check(&mut self.partners, self.signals);
            done[worker].wait_until(|done| done != turn, go_on)?;
            let slot = slot(words, self.next);
            debug_assert!(slot.iter().all(|word| word.load(Ordering::Relaxed) == self.next));
            self.next += 1;
            consumed.raise();
        }
        Ok(())
    }
}

/// The time of a batch in microseconds, for a relay with this many slots, measured for about a
/// `window`.
pub(crate) fn micros_a_batch(slots: usize, window: Duration, signals: &Signals) -> Result<f64> {
    let mut relay = Relay::start(slots, signals)?;
    relay.take(2 * slots as u64)?;
    Ok(Pace::of(window, MANY, |count| relay.take(count))?.micros_a_batch())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_relay_delivers_batches_in_order() {
        // In threads, which end with the process.
        let words: &'static [AtomicU32] =
            (0..(PLACES + 32) * APART).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
        thread::spawn(|| command(words));
        thread::spawn(|| work(words, 0));
        thread::spawn(|| work(words, 1));
        let (consumed, done) =
            (signal(words, CONSUMED), [0, 1].map(|worker| signal(words, DONE + 2 * worker)));
        for next in 0..10_000 {
            done[(next % WORKERS) as usize].wait_until(|done| done != next / WORKERS, || Ok(())).unwrap();
            assert!(slot(words, next).iter().all(|word| word.load(Ordering::Relaxed) == next));
            consumed.raise();
        }
    }
}
