//! Failpoints: named places in the slot machine's code at which a test can make a process fail.
//!
//! ```text
//!   chaos test (host)                     commander or worker
//!   arm(point, fault) ──► one word in ──► pass(point): is it this point's? disarm it, and fail
//!                         the segment
//! ```
//!
//! If no failpoint is armed, passing one costs a load of a word that no process writes. A fault
//! happens once, to the first commander or worker that passes. It never happens to the host, which
//! commits reports in place of dead workers: neither if a test armed a failpoint, nor if a plugin
//! wrote over the word.

#[cfg(feature = "failpoints")]
use std::fmt;
use std::sync::atomic::AtomicBool;

use super::sync::{AtomicU32, Ordering};

/// The places, in the order in which a message reaches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub, reason = "public with the feature only"))]
pub enum Failpoint {
    /// The commander has claimed a free slot.
    CommandClaimed,
    /// The commander has written half of a message.
    CommandHalfWritten,
    /// The commander has counted the message as queued, but not queued it yet.
    CommandCounted,
    /// The commander has queued the message, but woken no worker yet.
    CommandQueued,
    /// A worker has claimed a message.
    WorkClaimed,
    /// A worker has filled the arrays, but not said so yet.
    WorkFilled,
    /// A worker has written half of the batch's outcome.
    CommitHalfWritten,
    /// A worker has made the batch ready, but woken no consumer yet.
    CommitReady,
    /// The host's supervisor is about to take back a dead worker's slot. A run does not survive its
    /// host, so here it is the fork server that is killed, whatever the fault.
    Reclaim,
}

/// Whether this process may fail.
static MAY_FAIL: AtomicBool = AtomicBool::new(false);

/// Enables failpoints in this process, which must belong to the run alone.
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

/// The fault of the process that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub, reason = "public with the feature only"))]
pub enum Fault {
    /// It is killed (SIGKILL).
    Kill,
    /// It crashes (SIGSEGV).
    Crash,
    /// It is stopped and never continued (SIGSTOP).
    Freeze,
    /// It loops for ever.
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

/// The word of the armed failpoint: 0 for none, else the point in the upper half and the fault in
/// the lower, plus one.
#[repr(transparent)]
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

    /// Whether no process has passed the failpoint that was armed last.
    #[cfg(any(test, feature = "failpoints"))]
    pub(crate) fn is_armed(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn disarm(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Passes a failpoint.
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

    /// The fault that is armed at this failpoint. Disarms it.
    #[inline]
    pub(crate) fn take(&self, point: Failpoint) -> Option<Fault> {
        let armed = self.0.load(Ordering::Relaxed);
        if armed == 0 { None } else { self.disarm_at(point, armed) }
    }

    /// Models have deaths of their own, see `loom_tests`.
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

/// Makes the process fail. Returns only if the process survives the fault.
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
