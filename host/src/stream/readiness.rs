//! A descriptor that says when there is a batch: for poll(2), epoll, and the runtimes on top of
//! them. The thread behind it is in [`watch`](super::watch).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use super::batches::Batches;
use super::delivery::{Stream, WaitingFor};
use super::held::warn_of_held;
use super::watch::raised_flag;
use crate::limits::HELD_WARNING_AFTER;
use crate::own;

/// A descriptor that becomes readable once [`Batches::try_next`] has something to give: a batch, an
/// error, or the end of the stream.
///
/// It stays readable until `try_next` of any handle of the stream answers
/// [`Next::Pending`](crate::Next::Pending). So the rule of edge-triggered descriptors holds: wait
/// until it is readable, then take until `Pending`. If another consumer was faster, the first
/// answer is `Pending`. At the end of the stream, and once the host was stopped or dropped, it is
/// readable for ever. Only wait for it: do not read or write it.
///
/// Nothing is taken by the wait, so a task that is cancelled in between loses no batch. Each value
/// has a descriptor of its own, so that several may be registered with one epoll.
///
/// In a process that was forked from the one that started the host, [`as_fd`](Self::as_fd) gives
/// another descriptor, which is readable: [`StreamError::Forked`](crate::StreamError::Forked) is
/// there to take. [`as_raw_fd`](Self::as_raw_fd) stays the same, and so does what an epoll knows.
///
/// With tokio, it is `AsyncFd::register(batches.readiness()?)`, whose conditions it keeps; with
/// mio, `SourceFd(&readiness.as_raw_fd())`.
///
/// ```no_run
/// use cobuf_host::{Batches, Next};
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// # type Failed = Box<dyn std::error::Error>;
/// # fn serve(batches: &Batches, socket: std::net::TcpListener) -> Result<(), Failed> {
/// let readiness = batches.readiness()?;
/// loop {
///     let ready = PollFd::new(&readiness, PollFlags::IN);
///     poll(&mut [ready, PollFd::new(&socket, PollFlags::IN)], None)?;
///     // … look at the socket …
///     loop {
///         match batches.try_next() {
///             Next::Item(batch) => println!("batch {}", batch?.sequence()),
///             Next::Pending(_) => break,
///             Next::Ended => return Ok(()),
///         }
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Readiness {
    flag: OwnedFd,
    /// The process that started the run.
    owner: u32,
    /// In a fork of it, the descriptor that is readable.
    in_fork: OnceLock<Option<OwnedFd>>,
}

/// Why there is no way to wait for batches in an event loop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadinessError {
    /// The descriptor could not be made by eventfd(2).
    #[error(
        "cannot make a descriptor that says when a batch is there; close descriptors of this process, or raise their limit (ulimit -n)"
    )]
    Descriptor(#[source] io::Error),
    /// The thread could not be started.
    #[error(
        "cannot start the thread that waits for batches; end threads of this process, or raise their limit (ulimit -u)"
    )]
    Thread(#[source] io::Error),
}

impl Batches {
    /// A descriptor that is readable while [`try_next`](Self::try_next) may have something to give,
    /// for event loops.
    ///
    /// The first call, or that of [`stream`](Self::stream), starts one thread, which all handles of
    /// the host share. It sleeps until a consumer has found nothing, waits for the next item, and
    /// ends with the host. A host without these calls has no such thread.
    ///
    /// # Errors
    /// [`ReadinessError`] if this process can open no more descriptors, or start no more threads.
    pub fn readiness(&self) -> Result<Readiness, ReadinessError> {
        let flag = if self.stream.is_foreign() {
            raised_flag()
        } else {
            start(&self.stream)?;
            self.stream.watch.descriptor()
        };
        let flag = flag.map_err(ReadinessError::Descriptor)?;
        Ok(Readiness { flag, owner: own::process(), in_fork: OnceLock::new() })
    }
}

/// Starts the thread that watches this stream, unless it runs. It keeps the stream until the watch
/// is closed.
pub(super) fn start(stream: &Arc<Stream>) -> Result<(), ReadinessError> {
    let watched = stream.clone();
    let body = move || watched.watch.serve(|| wait(&watched));
    let spawn = || thread::Builder::new().name("cobuf-watch".to_owned()).spawn(body);
    stream.watch.start(spawn).map_err(ReadinessError::Thread)
}

/// Waits for an item. As with the iterator, a wait that may never end is not silent. Only tasks are
/// told here: `try_next` has told those that wait for a descriptor.
fn wait(stream: &Stream) {
    let waited = stream.wait(Instant::now().checked_add(HELD_WARNING_AFTER));
    let Err(waiting_for) = waited else { return };
    if let WaitingFor::HeldBatches { held } = waiting_for
        && stream.watch.has_tasks()
    {
        warn_of_held("for a batch", held);
    }
    // Without a deadline it comes back with something only.
    let _ = stream.wait(None);
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.owner == own::process() {
            return self.flag.as_fd();
        }
        // If none can be opened there, the application's own is better than none.
        self.in_fork.get_or_init(|| raised_flag().ok()).as_ref().unwrap_or(&self.flag).as_fd()
    }
}

/// The descriptor for `tokio::io::unix::AsyncFd` and `mio::unix::SourceFd`, always the same one, as
/// these require.
impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.flag.as_raw_fd()
    }
}
