//! The common ground of the supervisor's parts: stream, plan, policies, and the link to the fork
//! server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::outside::Outside;
use crate::process::launch::ServerStart;
use crate::process::run_clock::{RunClock, Standstills};
use crate::protocol::message::Request;
use crate::protocol::plan::Plan;
use crate::protocol::role::Role;
use crate::record::policy::{OnCommanderFailure, PerKind};
use crate::segment::clock;
use crate::segment::sync::{AtomicU64, Ordering};
use crate::stream::delivery::Stream;

/// How the user wants failures to be met.
#[derive(Debug, Clone)]
pub(crate) struct Care {
    /// How often a message is tried, and a commander at one message.
    pub(crate) max_attempts: u32,
    pub(crate) message_timeout: Option<Duration>,
    pub(crate) commander_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    /// Whether plugins are kept in a sandbox.
    pub(crate) jailed: bool,
    pub(crate) on_commander_failure: PerKind<OnCommanderFailure>,
    /// How another fork server is started.
    pub(crate) server: ServerStart,
}

impl Care {
    /// After how long without a batch there must be something wrong: each attempt at the next message has
    /// missed its deadline and its worker was started again, and so did a commander. `None` if there is no
    /// such time, or nothing that could be wrong beyond what the supervisor sees.
    pub(crate) fn longest_silence(&self) -> Option<Duration> {
        let message = self.message_timeout.filter(|_| self.jailed)?;
        let attempts = (message + self.start_timeout).saturating_mul(self.max_attempts.saturating_add(1));
        Some(attempts.saturating_add(self.commander_timeout.unwrap_or_default()))
    }
}

/// Used by all parts.
pub(super) struct Run {
    pub(super) stream: Arc<Stream>,
    pub(super) plan: Plan,
    pub(super) care: Care,
    pub(super) link: Link,
    pub(super) outside: Outside,
}

impl Run {
    /// The name of the plugin that a process opens, for logs.
    pub(super) fn name(&self, role: Role) -> &str {
        self.plan.name(role)
    }

    /// Processes are started with the plan's plugins of now from here on.
    pub(super) fn exchange(&mut self) {
        self.link.tell(Request::Exchange(Box::new(self.plan.plugins.clone())));
    }
}

/// A moment, by the host's clock and by the segment's. The parts are told it, and read no clock
/// themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// A time of the run, as all times that the parts keep.
    pub(super) at: Instant,
    /// The segment's time, as processes write it.
    pub(super) nanos: u64,
    pub(super) standstills: Standstills,
}

impl Moment {
    pub(super) fn now(clock: &RunClock) -> Self {
        Self { at: clock.now(), nanos: clock::now_nanos(), standstills: clock.standstills() }
    }

    /// The run's time that has passed since this time of the segment.
    pub(super) fn since(self, nanos: u64) -> Duration {
        let passed = Duration::from_nanos(self.nanos.saturating_sub(nanos));
        passed.saturating_sub(self.standstills.since(nanos))
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
