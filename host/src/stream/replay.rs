//! Batches that are kept and delivered again and again: how fast is the application if batches are
//! always ready?
//!
//! ```text
//!   commander, workers ──► the first n batches ──► application ──► dropped: kept, not freed
//!                                                       ▲              │
//!                                                       └── again ◄────┘   in the order of the drops
//! ```
//!
//! A kept batch stays in its slot, claimed for reading, and nothing is copied or produced. So it costs
//! no other run anything: a release looks for kept batches where it looks for messages of an earlier
//! run, and a consumer once the stream is over.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::segment::claim::{Claim, Reading};

/// The batches that are kept.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The number of deliveries after which the stream ends, the first ones included.
    limit: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The batches that the application does not hold, by the time of their drop.
    kept: VecDeque<Claim<Reading>>,
    /// How many of the stream's items were errors, which are not kept.
    errors: u64,
    /// How many batches were delivered again.
    repeated: u64,
    /// Whether the first batches were all delivered.
    begun: bool,
    closed: bool,
}

/// The answer to a consumer once the stream is over.
#[derive(Debug)]
pub(super) enum Again {
    /// A batch, and whether it is the first one that is delivered again.
    Batch(Claim<Reading>, bool),
    /// The application holds them all.
    Held,
    /// There is none, or no more is wanted.
    End,
}

impl Replay {
    /// Keeps batches, and ends the stream after so many deliveries.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Keeps a batch that the application has dropped.
    pub(super) fn keep(&self, claim: Claim<Reading>) {
        self.state.lock().kept.push_back(claim);
    }

    /// An item was an error, whose slot is freed.
    pub(super) fn note_error(&self) {
        self.state.lock().errors += 1;
    }

    /// The next batch, after a stream of so many items.
    pub(super) fn take(&self, items: u64) -> Again {
        let state = &mut *self.state.lock();
        if state.is_over(self.limit, items) {
            return Again::End;
        }
        let is_first = !state.begun;
        state.begun = true;
        match state.kept.pop_front() {
            Some(claim) => {
                state.repeated += 1;
                Again::Batch(claim, is_first)
            }
            None => Again::Held,
        }
    }

    /// Whether [`take`](Self::take) would give something, or the end.
    pub(super) fn has(&self, items: u64) -> bool {
        let state = self.state.lock();
        state.is_over(self.limit, items) || !state.kept.is_empty()
    }

    /// Whether the first batches were all delivered.
    pub(super) fn has_begun(&self) -> bool {
        self.state.lock().begun
    }

    /// Nothing is delivered any more: the stream ends with an error.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }
}

impl State {
    fn is_over(&self, limit: Option<u64>, items: u64) -> bool {
        let enough = limit.is_some_and(|limit| limit <= items.saturating_add(self.repeated));
        self.closed || enough || items <= self.errors
    }
}
