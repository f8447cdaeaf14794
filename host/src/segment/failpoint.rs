//! Failpoints: named places in the slot machine's code where a test can have the process that comes by fail.
//!
//! ```text
//!   chaos test (host)                     commander or worker
//!   arm(point, fault) ──► one word in ──► pass(point): is it this point's? disarm it, and fail
//!                         the segment
//! ```
//!
//! Where nothing is armed, passing costs one load of a word that nobody writes. A fault happens once, to whoever comes first of the
//! processes that may fail: the commander and workers. Never to the host, which commits in dead workers' places: neither because a
//! test armed a failpoint, nor because a plugin wrote over the word.

#[cfg(feature = "failpoints")]
use std::fmt;
use std::sync::atomic::AtomicBool;

use super::sync::{AtomicU32, Ordering};

/// The places, in the order in which a message comes by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub, reason = "public with the feature only"))]
pub enum Failpoint {
    /// The commander has claimed a free slot.
    CommandClaimed,
    /// The commander has written half of a message.
    CommandHalfWritten,
    /// The commander has counted the message as queued, and not yet queued it.
    CommandCounted,
    /// The commander has queued the message, and woken nobody yet.
    CommandQueued,
    /// A worker has claimed a message.
    WorkClaimed,
    /// A worker has filled the arrays, and not yet said so.
    WorkFilled,
    /// A worker has written half of what it says of the batch.
    CommitHalfWritten,
    /// A worker has made the batch ready, and woken nobody yet.
    CommitReady,
    /// The host's supervisor is about to take back what a dead worker held. As a host cannot survive itself, it is the fork server that
    /// is killed here, whatever the fault.
    Reclaim,
}

/// Whether this process may fail.
static MAY_FAIL: AtomicBool = AtomicBool::new(false);

/// Makes failpoints work in this process, which is the run's own.
pub(crate) fn may_fail() {
    MAY_FAIL.store(true, Ordering::Relaxed);
}

#[cfg(feature = "failpoints")]
impl Failpoint {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::CommandClaimed,
        Self::CommandHalfWritten,
        Self::CommandCounted,
        Self::CommandQueued,
        Self::WorkClaimed,
        Self::WorkFilled,
        Self::CommitHalfWritten,
        Self::CommitReady,
        Self::Reclaim,
    ];
}

/// What happens to the process that comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub, reason = "public with the feature only"))]
pub enum Fault {
    /// It is killed (SIGKILL).
    Kill,
    /// It crashes (SIGSEGV).
    Crash,
    /// It is stopped, and never continued (SIGSTOP).
    Freeze,
    /// It goes on for ever in a loop.
    Hang,
}

#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub, reason = "public with the feature only"))]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kill, Self::Crash, Self::Freeze, Self::Hang];
}

#[cfg(feature = "failpoints")]
impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandClaimed => "command-claimed",
            Self::CommandHalfWritten => "command-half-written",
            Self::CommandCounted => "command-counted",
            Self::CommandQueued => "command-queued",
            Self::WorkClaimed => "work-claimed",
            Self::WorkFilled => "work-filled",
            Self::CommitHalfWritten => "commit-half-written",
            Self::CommitReady => "commit-ready",
            Self::Reclaim => "reclaim",
        })
    }
}

#[cfg(feature = "failpoints")]
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Crash => "crash",
            Self::Freeze => "freeze",
            Self::Hang => "hang",
        })
    }
}

/// The word of the armed failpoint: 0 for none, else the point in the upper half and the fault in the lower, plus one.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Armed(AtomicU32);

impl Armed {
    #[cfg(all(test, cobuf_loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    #[cfg(any(test, feature = "failpoints"))]
    pub(crate) fn arm(&self, point: Failpoint, fault: Fault) {
        self.0.store(word(point, fault), Ordering::Relaxed);
    }

    /// Whether nobody came by since the last one was armed.
    #[cfg(any(test, feature = "failpoints"))]
    pub(crate) fn is_armed(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn disarm(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Comes by a failpoint.
    #[cfg(not(cobuf_loom))]
    #[inline]
    pub(crate) fn pass(&self, point: Failpoint) {
        let armed = self.0.load(Ordering::Relaxed);
        if armed == 0 || !MAY_FAIL.load(Ordering::Relaxed) {
            return;
        }
        if let Some(fault) = self.disarm_at(point, armed) {
            suffer(fault);
        }
    }

    /// The fault that is armed at this failpoint, which is disarmed.
    #[inline]
    pub(crate) fn take(&self, point: Failpoint) -> Option<Fault> {
        let armed = self.0.load(Ordering::Relaxed);
        if armed == 0 { None } else { self.disarm_at(point, armed) }
    }

    /// Deaths in models are written out, see `loom_tests`.
    #[cfg(cobuf_loom)]
    pub(crate) fn pass(&self, _point: Failpoint) {}

    #[cold]
    fn disarm_at(&self, point: Failpoint, armed: u32) -> Option<Fault> {
        let fault = Fault::ALL.into_iter().find(|&fault| armed == word(point, fault))?;
        let disarmed = self.0.compare_exchange(armed, 0, Ordering::Relaxed, Ordering::Relaxed);
        disarmed.is_ok().then_some(fault)
    }
}

fn word(point: Failpoint, fault: Fault) -> u32 {
    ((point as u32) << 16 | fault as u32) + 1
}

/// Fails in this way; what can be gone on from goes on.
#[cfg(not(cobuf_loom))]
fn suffer(fault: Fault) {
    use rustix::process::{Signal, getpid, kill_process};
    let signal = match fault {
        Fault::Kill => Signal::KILL,
        Fault::Crash => Signal::SEGV,
        Fault::Freeze => Signal::STOP,
        Fault::Hang => loop {
            std::hint::spin_loop();
        },
    };
    // A process may always send signals to itself.
    let _ = kill_process(getpid(), signal);
}
