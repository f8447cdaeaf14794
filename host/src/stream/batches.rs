//! The iterator over a host's batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::delivery::{Item, Stream, WaitingFor};
use super::error::StreamError;
use super::held::warn_of_held;
use super::stall::StallReport;
use crate::limits::HELD_WARNING_AFTER;

/// The answer to a consumer that asked for the next item.
#[derive(Debug)]
pub enum Next {
    /// The next batch, or the error in the place of a batch.
    Item(Result<Batch, StreamError>),
    /// No item yet.
    Pending(WaitingFor),
    /// The stream is over, or the host was stopped.
    Ended,
}

/// The batches of a host, in order or as they become ready.
///
/// As an iterator it waits for the next item. Clones draw from the same stream: each batch goes to
/// one of them. A clone may be sent to another thread.
///
/// ```
/// use cobuf_host::{Batches, StreamError};
///
/// fn consume(batches: Batches) -> Result<(), StreamError> {
///     for item in batches {
///         match item {
///             Ok(batch) => println!("batch {}", batch.sequence()),
///             Err(error) if error.is_final() => return Err(error),
///             Err(error) => eprintln!("{error}"), // the stream goes on
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    pub(super) stream: Arc<Stream>,
}

impl Batches {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self { stream }
    }

    fn next_of(&self, given: Result<Item, WaitingFor>) -> Next {
        match given {
            Ok(item) => self.given(item).map_or(Next::Ended, Next::Item),
            Err(waiting_for) => {
                // A descriptor becomes readable by what comes from now on.
                self.stream.watch.ask();
                Next::Pending(waiting_for)
            }
        }
    }

    /// An item as applications get it; `None` is the end.
    pub(super) fn given(&self, item: Item) -> Option<Result<Batch, StreamError>> {
        match item {
            Item::Batch(claim, outcome) => Some(Ok(Batch::new(self.stream.clone(), claim, outcome))),
            Item::Error(error) => Some(Err(error)),
            Item::End => None,
        }
    }

    /// The next item if there is one; never waits. [`readiness`](Self::readiness) says when there
    /// may be one.
    pub fn try_next(&self) -> Next {
        self.next_of(self.stream.poll())
    }

    /// The next item. Waits for it at most this long.
    pub fn next_timeout(&self, timeout: Duration) -> Next {
        self.next_of(self.stream.next(|| Instant::now().checked_add(timeout)))
    }

    /// Waits at most this long until [`try_next`](Self::try_next) has something to give, and leaves
    /// it there: for a thread that waits in place of others. Event loops and tasks have
    /// [`readiness`](Self::readiness) and [`stream`](Self::stream).
    ///
    /// Another consumer may be faster; then `try_next` says that it waits.
    ///
    /// # Errors
    /// The cause of the wait, if nothing came.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitingFor> {
        self.stream.wait(Instant::now().checked_add(timeout))
    }

    /// Which process holds each slot, and since when: to find out why no batch comes.
    pub fn stall_report(&self) -> StallReport {
        StallReport::of(&self.stream)
    }

    /// The number of batches in the whole stream, if the commander knows it.
    pub fn total(&self) -> Option<u64> {
        self.stream.table().total()
    }
}

/// Waits for the next item; ends with the stream, or when the host is stopped or dropped.
///
/// An error stands in the place of its batch; see [`StreamError::is_final`]. If the application
/// holds every slot for a second, the wait logs a warning: only another thread can then end it, by
/// dropping a batch or by stopping the host.
impl Iterator for Batches {
    type Item = Result<Batch, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.next_timeout(HELD_WARNING_AFTER);
        if let Next::Pending(waiting_for) = next {
            if let WaitingFor::HeldBatches { held } = waiting_for {
                warn_of_held("for a batch", held);
            }
            next = self.next_of(self.stream.next(|| None));
        }
        match next {
            Next::Item(item) => Some(item),
            Next::Pending(_) | Next::Ended => None,
        }
    }
}
