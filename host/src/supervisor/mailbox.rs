//! Wishes to the supervisor from other threads of the application, and the answers to them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::time::Duration;

use cobuf_plugin_api::PluginKind;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::swap_error::SwapError;
use crate::own;
use crate::plugin::Plugin;
use crate::plugin::copy::PluginPlan;

/// How often the flag is raised at most: a signal may interrupt that, and a sandbox refuse it once.
const RAISES: u32 = 3;

/// A request of the application to a running host.
#[derive(Debug)]
pub(crate) enum Wish {
    /// That there are so many workers.
    Workers(usize),
    /// That a plugin takes another's place.
    Swap(Box<SwapWish>),
    /// That everything ends, within this time.
    Stop(Duration),
}

/// A plugin that is to take another's place.
#[derive(Debug)]
pub(crate) struct SwapWish {
    pub(crate) kind: PluginKind,
    pub(crate) plugin: PluginPlan,
    /// The caller waits here for the result, or for the reason why the old plugin goes on. Dropped
    /// without an answer at a stop.
    pub(crate) answer: Sender<Result<Swapped, SwapError>>,
}

/// A swap that was made.
#[derive(Debug)]
pub(crate) struct Swapped {
    /// The first message that is the new plugin's.
    pub(crate) first: u64,
    /// The run's copy of the plugin before. It stays until the next swap of this kind.
    pub(crate) before: Option<Plugin>,
}

/// A queue of wishes, with a descriptor that is readable while there are any.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// `None` once the supervisor takes none any more.
    wishes: Mutex<Option<VecDeque<Wish>>>,
    flag: OwnedFd,
    /// The supervisor's process.
    owner: u32,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let flag = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { wishes: Mutex::new(Some(VecDeque::new())), flag, owner: own::process() })
    }

    /// Sends a wish; it is dropped if the supervisor has ended, or runs in the process that this
    /// one was forked from.
    pub(crate) fn send(&self, wish: Wish) {
        if self.owner != own::process() {
            return;
        }
        let mut wishes = self.wishes.lock();
        let Some(wishes) = wishes.as_mut() else { return };
        wishes.push_back(wish);
        for _ in 0..RAISES {
            // If the counter is full, the flag is up.
            if let Ok(_) | Err(Errno::AGAIN) = rustix::io::write(&self.flag, &1_u64.to_ne_bytes()) {
                return;
            }
        }
    }

    /// Takes all wishes, oldest first.
    pub(crate) fn take(&self) -> VecDeque<Wish> {
        // Down before the look: a wish that comes in between raises it again.
        let _ = rustix::io::read(&self.flag, &mut [0; 8]);
        self.wishes.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops all wishes, and those that still come.
    pub(crate) fn close(&self) {
        drop(self.wishes.lock().take());
    }

    /// Readable while there are wishes.
    pub(crate) fn flag(&self) -> BorrowedFd<'_> {
        self.flag.as_fd()
    }
}
