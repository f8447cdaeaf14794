//! Batches for a task, by any runtime: no descriptor, and no thread for each wait.
//!
//! ```text
//!   poll ─► an item? ─► take it
//!             │ no
//!             ├─ recent waits were short ─► yield, look, and be polled again at once
//!             └─ else ─► ask the watch, which wakes the task once there is something
//! ```
//!
//! A tiny batch comes sooner than a thread could be woken. So a task looks again for as long as any
//! consumer does (`segment/patience.rs`), but returns to its runtime between two looks: its other
//! tasks run meanwhile.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use super::batch::Batch;
use super::batches::Batches;
use super::error::StreamError;
use super::readiness::{self, ReadinessError};
use crate::limits::TASK_TURN;

/// The batches of a host for a task of any asynchronous runtime.
///
/// Made by [`Batches::stream`]. Several draw from the same stream, as clones of [`Batches`] do.
/// With the feature `stream` it is a `futures_core::Stream`, so that all combinators of `futures`
/// or `tokio-stream` work; [`next`](Self::next) needs no feature.
///
/// A future that is dropped before it is ready takes no batch with it. The stream ends when the
/// host is stopped or dropped, also for tasks that wait. A task whose batches are always ready lets
/// the other tasks of its thread run after 0.1 ms, or after each batch if handling one takes
/// longer; so a poll may be pending although a batch is there.
///
/// ```
/// use cobuf_host::{Batches, StreamError};
///
/// async fn consume(batches: Batches) -> Result<(), Box<dyn std::error::Error>> {
///     let mut stream = batches.stream()?;
///     while let Some(item) = stream.next().await {
///         match item {
///             Ok(batch) => println!("batch {}", batch.sequence()),
///             Err(error) if error.is_final() => return Err(error.into()),
///             Err(error) => eprintln!("{error}"), // the stream goes on
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct BatchStream {
    batches: Batches,
    /// Its number at the watch.
    task: u64,
    /// Since when it has only yielded.
    waits_since: Option<Instant>,
    /// Since when the runtime's other tasks have not run.
    turn_since: Option<Instant>,
}

impl Batches {
    /// The batches for a task. Each call gives another handle of the same stream.
    ///
    /// The first call, or that of [`readiness`](Self::readiness), starts one thread, which ends
    /// with the host.
    ///
    /// # Errors
    /// [`ReadinessError::Thread`] if this process can start no more threads.
    pub fn stream(&self) -> Result<BatchStream, ReadinessError> {
        let foreign = self.stream.is_foreign();
        if !foreign {
            readiness::start(&self.stream)?;
        }
        // In a fork the watch's lock may be held by a thread that does not exist there.
        let task = if foreign { 0 } else { self.stream.watch.new_task() };
        Ok(BatchStream { batches: self.clone(), task, waits_since: None, turn_since: None })
    }
}

impl BatchStream {
    /// The next item; `None` at the end of the stream, and after it.
    ///
    /// An error stands in the place of its batch; see [`StreamError::is_final`].
    pub async fn next(&mut self) -> Option<Result<Batch, StreamError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// One look for the next item, for a future of one's own. If there is none, the task is woken
    /// once there may be one.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Batch, StreamError>>> {
        let now = Instant::now();
        if now.duration_since(*self.turn_since.get_or_insert(now)) >= TASK_TURN {
            return self.poll_again(context);
        }
        let stream = &self.batches.stream;
        let mut found = stream.look();
        if found.is_none() {
            let since = *self.waits_since.get_or_insert(now);
            if stream.yields(since) {
                found = stream.look();
                if found.is_none() {
                    return self.poll_again(context);
                }
            }
        }
        let waited_since = self.waits_since.take();
        let Some(item) = found else {
            self.turn_since = None;
            stream.watch.ask_for(self.task, context.waker());
            return Poll::Pending;
        };
        if let Some(since) = waited_since {
            stream.note_yields(since);
        }
        Poll::Ready(self.batches.given(item))
    }

    /// Lets other tasks run.
    fn poll_again<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.turn_since = None;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        if !self.batches.stream.is_foreign() {
            self.batches.stream.watch.forget(self.task);
        }
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for BatchStream {
    type Item = Result<Batch, StreamError>;

    fn poll_next(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        BatchStream::poll_next(self.get_mut(), context)
    }
}
