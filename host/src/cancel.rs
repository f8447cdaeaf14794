//! A start that is under way can be given up: an application asks for it from another thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Gives up a start or a build that is under way, from any thread.
///
/// A first build, the construction of plugins and a reservation of gigabytes take their time. Clones
/// are the same wish, which stays once it was made.
///
/// ```no_run
/// use cobuf_host::{Cancel, Host, Plugin, StartError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cancel = Cancel::new()?;
/// let button = cancel.clone();
/// std::thread::spawn(move || button.cancel());
/// let started = Host::builder()
///     .commander(Plugin::named("index-commander"))
///     .producer(Plugin::named("digits-producer"))
///     .cancelled_by(&cancel)
///     .start();
/// assert!(matches!(started, Err(StartError::Cancelled)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cancel {
    /// Readable once the wish was made. It is never read.
    event: Arc<OwnedFd>,
}

impl Cancel {
    /// A wish that can be made later.
    ///
    /// # Errors
    /// If this process can open no more files.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?) })
    }

    /// Gives up what is under way, and what is begun with this wish later.
    pub fn cancel(&self) {
        // It fails only if the counter is full, and then the wish was made.
        let _ = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
    }

    /// Whether the wish was made.
    pub fn is_cancelled(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for the wish, at most so long or until a signal interrupts it. Whether it was made.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        poll(&mut [PollFd::new(&*self.event, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
    }
}

/// Readable once the wish was made.
impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn wish_is_seen_by_all_clones_and_stays() {
        let cancel = Cancel::new().unwrap();
        let clone = cancel.clone();
        assert!(!cancel.is_cancelled());
        clone.cancel();
        clone.cancel();
        assert!(cancel.is_cancelled() && clone.is_cancelled() && cancel.is_cancelled());
    }
}
