//! The messages that each crew's workers may claim, and the exact cut between two crews while the
//! producer's code is swapped.
//!
//! ```text
//!   messages   … 41  42  43 │ 44  45  46 …
//!   old crew   ─── below 44 ┤                  ends when nothing is left for it
//!   new crew                ├─ from 44 ────►   constructed before the cut, waits on `opened`
//!
//!   bit 63    2      1       0
//!       │ first │ closed │ crew │    messages from `first` on are this crew's, others the other's
//! ```
//!
//! The supervisor makes the cut while both crews live, at the first message that no worker of the
//! old crew has claimed. A worker notes the message in its place, claims it, and looks at the word
//! again. The cut closes the word, reads the notes, and opens the word for the new crew. All of
//! these are sequentially consistent, so either the worker sees the closed word and gives the
//! message back, or the cut sees the note. If a worker notes a message that another one claims
//! first, the cut is at most that much later.

use std::ops::Range;

use super::event::Event;
use super::place::CREWS;
use super::sync::{AtomicU64, Ordering};

const CREW: u64 = 1;
const CLOSED: u64 = 2;
const FIRST_SHIFT: u32 = 2;

/// How the messages are shared. Zero: all are the first crew's.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shares {
    word: AtomicU64,
    /// The word has changed: a new crew waits for this.
    pub(crate) opened: Event,
}

/// A value of the word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(u64);

impl Share {
    fn first(self) -> u64 {
        self.0 >> FIRST_SHIFT
    }

    fn is_open_for(self, crew: usize) -> bool {
        self.0 & CLOSED == 0 && self.0 & CREW == crew as u64
    }

    /// The messages that a crew may claim.
    pub(super) fn of(self, crew: usize) -> Range<u64> {
        if self.0 & CLOSED != 0 {
            0..0
        } else if self.is_open_for(crew) {
            self.first()..u64::MAX
        } else {
            0..self.first()
        }
    }
}

impl Shares {
    /// The share word at a glance: it may be changing.
    pub(super) fn glance(&self) -> Share {
        Share(self.word.load(Ordering::Relaxed))
    }

    /// The share word, in one order with all notes.
    pub(super) fn now(&self) -> Share {
        Share(self.word.load(Ordering::SeqCst))
    }

    fn set(&self, first: u64, flags: u64) {
        self.word.store(first << FIRST_SHIFT | flags, Ordering::SeqCst);
    }

    /// Whether a new crew may begin.
    pub(super) fn is_open_for(&self, crew: usize) -> bool {
        self.now().is_open_for(crew)
    }

    /// Gives all messages from now on to the other crew, and returns the first of them. `taken`
    /// returns the least number above all that the old crew's workers have noted. It is at most
    /// `commanded`, unless a plugin wrote over a note.
    pub(super) fn cut(
        &self,
        old: usize,
        taken: impl FnOnce() -> u64,
        commanded: impl FnOnce() -> u64,
    ) -> u64 {
        let before = self.now().first();
        self.set(before, old as u64 | CLOSED);
        let first = taken().min(commanded()).max(before);
        self.set(first, (CREWS - 1 - old) as u64);
        first
    }

    /// Makes this the first message, and gives all to the first crew.
    pub(super) fn begin_at(&self, sequence: u64) {
        self.set(sequence, 0);
    }
}

#[cfg(all(test, cobuf_loom))]
impl Shares {
    pub(crate) fn new() -> Self {
        let word = AtomicU64::new(0);
        // As in `Event::new`.
        word.store(0, Ordering::SeqCst);
        Self { word, opened: Event::new() }
    }
}
