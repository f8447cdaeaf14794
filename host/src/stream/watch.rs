//! The watch over a stream: one thread that waits for items in place of event loops and tasks.
//!
//! ```text
//!   application                                 the thread "cobuf-watch"
//!   a consumer finds nothing
//!     ask: lower the flag ────────────────────► waits as a consumer does, and takes nothing
//!                                                 │ there is something, or the stream is over
//!   descriptors are readable    ◄── raise ────────┤
//!   tasks that wait are polled  ◄── wake  ────────┘ then it sleeps until the flag is lowered
//! ```
//!
//! If workers wrote the descriptor themselves, each batch would cost them a system call. The first
//! use starts the thread, so a run without event loops has none, and pays nothing for it.
//!
//! Invariants:
//! - **No wake is lost.** A consumer asks after it has found nothing. While the flag is down the
//!   thread looks, and raises it for all that is there. So whatever comes after the consumer's look
//!   raises the flag again. Loom checks that.
//! - **Nothing is repeated.** An item that no consumer takes raises the flag once; then the thread
//!   sleeps.
//! - **Nothing is taken here**, so a task that is cancelled loses no item.
//! - **After the close** the flag stays up, and a task that asks is polled again at once: the end
//!   of the stream is there to take.
//! - Wakers are called and dropped without the lock: they run code of the application.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;
use std::task::Waker;
use std::thread::{self, JoinHandle};

#[cfg(cobuf_loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
use rustix::event::{EventfdFlags, eventfd};
#[cfg(not(cobuf_loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// How often the flag is raised at most: a sandbox may refuse it once.
const RAISES: u32 = 3;

/// The flag of a stream, and what waits for it.
#[derive(Debug)]
pub(crate) struct Watch {
    state: Mutex<State>,
    lowered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a consumer is to look. While it is not, the thread looks.
    raised: bool,
    closed: bool,
    /// Readable while the flag is raised. Made when it is first asked for.
    flag: Option<OwnedFd>,
    /// The tasks that wait, by their numbers.
    tasks: Tasks,
    /// The number of the next task.
    next_task: u64,
    /// From the first use to the close.
    thread: Option<JoinHandle<()>>,
}

type Tasks = Vec<(u64, Waker)>;

/// So many tasks wait without an allocation.
const FEW: usize = 8;

impl Watch {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::default()), lowered: Condvar::new() }
    }

    /// Starts the thread, unless it runs or the watch is closed. It looks at once.
    ///
    /// The thread is to call [`serve`](Self::serve).
    pub(crate) fn start(&self, spawn: impl FnOnce() -> io::Result<JoinHandle<()>>) -> io::Result<()> {
        let mut state = self.lock();
        if state.thread.is_none() && !state.closed {
            state.thread = Some(spawn()?);
        }
        Ok(())
    }

    /// What the thread does until the close. `wait` waits until there is an item, or the stream is
    /// over, and takes nothing.
    pub(crate) fn serve(&self, wait: impl Fn()) {
        // Both lists keep their memory.
        let mut woken = Tasks::with_capacity(FEW);
        while self.wait_for_question() {
            wait();
            let mut state = self.lock();
            state.raise();
            mem::swap(&mut state.tasks, &mut woken);
            drop(state);
            woken.drain(..).for_each(|(_, waker)| waker.wake());
        }
    }

    /// Sleeps while the flag is up; whether to look then.
    fn wait_for_question(&self) -> bool {
        let mut state = self.lock();
        while state.raised {
            if state.closed {
                return false;
            }
            state = self.lowered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// A consumer that has found nothing asks to be told when there is something.
    pub(crate) fn ask(&self) {
        let mut state = self.lock();
        if state.lower() {
            self.lowered.notify_one();
        }
    }

    /// As [`ask`](Self::ask), for a task, which is woken then. A later question of the same task
    /// replaces its earlier one.
    pub(crate) fn ask_for(&self, task: u64, waker: &Waker) {
        let mut waker = waker.clone();
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return waker.wake();
        }
        if let Some((_, known)) = state.tasks.iter_mut().find(|(number, _)| *number == task) {
            mem::swap(known, &mut waker);
        } else {
            state.tasks.push((task, waker.clone()));
        }
        if state.lower() {
            self.lowered.notify_one();
        }
        drop(state);
        drop(waker);
    }

    /// The number of a new task.
    pub(crate) fn new_task(&self) -> u64 {
        let mut state = self.lock();
        state.tasks.reserve(FEW);
        state.next_task += 1;
        state.next_task
    }

    /// A task that has ended waits no more.
    pub(crate) fn forget(&self, task: u64) {
        let mut state = self.lock();
        let place = state.tasks.iter().position(|(number, _)| *number == task);
        let forgotten = place.map(|place| state.tasks.swap_remove(place));
        drop(state);
        drop(forgotten);
    }

    /// Whether a task waits.
    pub(crate) fn has_tasks(&self) -> bool {
        !self.lock().tasks.is_empty()
    }

    /// A new descriptor of the flag, which is readable while the flag is up. The flag is up after
    /// the close.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        let mut state = self.lock();
        if state.closed {
            return raised_flag();
        }
        let raised = state.raised;
        match &state.flag {
            Some(flag) => flag.try_clone(),
            None => state.flag.insert(flag(raised)?).try_clone(),
        }
    }

    /// Raises the flag for ever, wakes all tasks, and ends the thread. The stream must be over or
    /// stopped before.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.raise();
        // Those that were given out stay readable.
        state.flag = None;
        let (tasks, thread) = (mem::take(&mut state.tasks), state.thread.take());
        drop(state);
        self.lowered.notify_all();
        tasks.into_iter().for_each(|(_, waker)| waker.wake());
        // A waker that the thread calls may drop the last handle of the run.
        let thread = thread.filter(|thread| thread.thread().id() != thread::current().id());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the thread that waits for batches panicked; please report this as a bug of cobuf"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the thread has to be told.
    fn lower(&mut self) -> bool {
        if !self.raised || self.closed {
            return false;
        }
        self.raised = false;
        if let Some(flag) = &self.flag {
            // It fails only if the application has read the descriptor, which is down then.
            let _ = rustix::io::read(flag, &mut [0; 8]);
        }
        true
    }

    fn raise(&mut self) {
        if mem::replace(&mut self.raised, true) {
            return;
        }
        let Some(flag) = &self.flag else { return };
        let raise = || rustix::io::write(flag, &1_u64.to_ne_bytes());
        if (1..RAISES).all(|_| raise().is_err())
            && let Err(error) = raise()
        {
            tracing::error!(%error, "cannot make the descriptor readable that says that a batch is there");
        }
    }
}

/// A descriptor that is readable, of a stream without a watch.
pub(crate) fn raised_flag() -> io::Result<OwnedFd> {
    flag(true)
}

fn flag(raised: bool) -> io::Result<OwnedFd> {
    Ok(eventfd(raised.into(), EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

#[cfg(all(test, cobuf_loom, not(cobuf_lines)))]
mod loom_tests;
#[cfg(all(test, not(cobuf_loom)))]
mod tests;
