//! Wishes to the supervisor from other threads of the application.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

/// What the application wants of a running host.
#[derive(Debug)]
pub(crate) enum Wish {
    /// That there are so many workers.
    Workers(usize),
    /// That everything ends, within this time.
    Stop(Duration),
}

/// A queue of wishes, with a descriptor that is readable while there are any.
#[derive(Debug)]
pub(crate) struct Mailbox {
    wishes: Mutex<VecDeque<Wish>>,
    flag: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let flag = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { wishes: Mutex::default(), flag })
    }

    pub(crate) fn send(&self, wish: Wish) {
        self.wishes.lock().push_back(wish);
        // It fails only where the counter is full: then the flag is up.
        let _ = rustix::io::write(&self.flag, &1_u64.to_ne_bytes());
    }

    /// Takes all wishes, oldest first.
    pub(crate) fn take(&self) -> VecDeque<Wish> {
        // Down before the look: a wish that comes in between raises it again.
        let _ = rustix::io::read(&self.flag, &mut [0; 8]);
        std::mem::take(&mut self.wishes.lock())
    }

    /// Readable while there are wishes.
    pub(crate) fn flag(&self) -> BorrowedFd<'_> {
        self.flag.as_fd()
    }
}
