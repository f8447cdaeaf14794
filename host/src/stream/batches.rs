//! The iterator over a host's batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::delivery::{Item, Stream, WaitingFor};
use super::error::StreamError;
use super::stall::StallReport;
use crate::limits::HELD_WARNING_AFTER;

/// What there was for a consumer.
#[derive(Debug)]
pub enum Next {
    /// The next batch, or the error in its place.
    Item(Result<Batch, StreamError>),
    /// Nothing yet.
    Pending(WaitingFor),
    /// The stream is over, or the host was stopped.
    Ended,
}

/// The batches of a host, in order or as they come.
///
/// Clones draw from the same stream: each batch goes to one of them. A clone may be sent to another thread.
#[derive(Debug, Clone)]
pub struct Batches {
    stream: Arc<Stream>,
}

impl Batches {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self { stream }
    }

    fn next_of(&self, given: Result<Item, WaitingFor>) -> Next {
        match given {
            Ok(Item::Batch(claim, outcome)) => {
                Next::Item(Ok(Batch::new(self.stream.clone(), claim, outcome)))
            }
            Ok(Item::Error(error)) => Next::Item(Err(error)),
            Ok(Item::End) => Next::Ended,
            Err(waiting_for) => Next::Pending(waiting_for),
        }
    }

    /// The next item if it is there; never waits.
    pub fn try_next(&self) -> Next {
        self.next_of(self.stream.poll())
    }

    /// The next item, waited for at most so long.
    pub fn next_timeout(&self, timeout: Duration) -> Next {
        self.next_of(self.stream.next(Instant::now().checked_add(timeout)))
    }

    /// Who holds the slots, and since when: for whoever waits and wants to know for what.
    pub fn stall_report(&self) -> StallReport {
        StallReport::of(&self.stream)
    }

    /// The number of batches in the whole stream, where the commander knows it.
    pub fn total(&self) -> Option<u64> {
        self.stream.table().total()
    }
}

/// Waits for the next batch; ends with the stream, or when the host is stopped or dropped.
///
/// An error stands in the place of its batch; after a [`StreamError::Batch`] the stream goes on. Where every slot is held
/// by batches of the application, the wait says so in the log: it can then be ended only by dropping one (on another
/// thread), or by stopping the host.
impl Iterator for Batches {
    type Item = Result<Batch, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.next_timeout(HELD_WARNING_AFTER);
        if let Next::Pending(waiting_for) = next {
            if let WaitingFor::HeldBatches { held } = waiting_for {
                warn_of_held(held);
            }
            next = self.next_of(self.stream.next(None));
        }
        match next {
            Next::Item(item) => Some(item),
            Next::Pending(_) | Next::Ended => None,
        }
    }
}

/// A wait without an end must not be silent: where the application has no subscriber, it goes to standard error.
fn warn_of_held(held: usize) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!(
            held,
            "waiting for a batch while all slots are held by batches of this application; drop one, or use more slots"
        );
    } else {
        eprintln!(
            "cobuf: waiting for a batch while all {held} slots are held by batches of this application; drop one, or use more slots"
        );
    }
}
