//! The start of a run. It is over once, for each of the first processes, the number is known and
//! the plugin is constructed.

use std::io;
use std::time::{Duration, Instant};

use crate::plugin::copy::PluginPlan;
use crate::protocol::message::{Event, SetupFailure};
use crate::protocol::role::Role;

/// Says what a start waits for if that takes longer than a second, and then less and less often.
#[derive(Debug)]
pub(crate) struct Waiting {
    next: Instant,
    pause: Duration,
}

impl Waiting {
    /// Something is waited for from now on.
    pub(crate) fn since(now: Instant) -> Self {
        let pause = Duration::from_secs(1);
        Self { next: now + pause, pause }
    }

    /// When there is next something to say.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Says it, if it is time.
    pub(crate) fn say(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if self.next <= now {
            tracing::info!(target: "cobuf::start", "{}", text());
            self.pause *= 2;
            self.next = now + self.pause;
        }
    }
}

/// Why a run could not be started.
#[derive(Debug)]
pub(crate) enum StartFailure {
    /// The plugin of a process could not be set up.
    Process { role: Role, plugin: Option<Box<PluginPlan>>, failure: SetupFailure },
    /// It took too long. The text names the processes that were still waited for.
    Late { waiting_for: String },
    /// It was given up.
    Cancelled,
    /// The fork server cannot go on.
    ServerFailed { reason: String },
    /// The fork server died.
    ServerDied,
    /// The events of the processes cannot be read.
    Unreadable(io::Error),
}

/// The processes that are still waited for.
#[derive(Debug)]
pub(super) struct Starting {
    all: usize,
    /// Those with a plugin that is not constructed yet.
    unready: Vec<Role>,
    /// Those with a process number that is not known yet. A process may be ready before the fork
    /// server has said its number.
    unknown: Vec<Role>,
}

impl Starting {
    pub(super) fn new(roles: Vec<Role>) -> Self {
        Self { all: roles.len(), unready: roles.clone(), unknown: roles }
    }

    pub(super) fn is_over(&self) -> bool {
        self.unready.is_empty() && self.unknown.is_empty()
    }

    /// The processes that are waited for, in words.
    pub(super) fn waiting_for(&self) -> String {
        format!("the construction of {} of {} plugin processes", self.unready.len(), self.all)
    }

    /// Notes an event, and passes it on; or gives the failure that ends the start. Once its plugin
    /// is constructed, a process may end without failing the start: a commander with few messages
    /// may be done, a worker may have died of its first one.
    pub(super) fn note(&mut self, event: Event) -> Result<Event, (Role, SetupFailure)> {
        match event {
            Event::Ready { role } => self.unready.retain(|&other| other != role),
            Event::Started { role, pid: Ok(_) } => self.unknown.retain(|&other| other != role),
            Event::Started { role, pid: Err(reason) } if self.unready.contains(&role) => {
                return Err((role, SetupFailure::Init(reason)));
            }
            Event::SetupFailed { role, failure } if self.unready.contains(&role) => {
                return Err((role, failure));
            }
            Event::Exited { role, how } if self.unready.contains(&role) => {
                return Err((role, SetupFailure::Died(how)));
            }
            _ => {}
        }
        Ok(event)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use crate::record::death::{Death, Exit};
    use crate::segment::place::Place;

    const WORKER: Role = Role::Worker { place: Place::FIRST, incarnation: 0 };

    fn starting() -> Starting {
        Starting::new(vec![Role::Commander, WORKER])
    }

    fn started(role: Role) -> Event {
        Event::Started { role, pid: Ok(1) }
    }

    fn died(role: Role) -> Event {
        Event::Exited { role, how: Death::Exit(Exit::Code(7)) }
    }

    #[test]
    fn start_is_over_once_all_are_ready_and_known() {
        let mut starting = starting();
        for event in
            [Event::Ready { role: WORKER }, started(Role::Commander), Event::Ready { role: Role::Commander }]
        {
            starting.note(event).unwrap();
            assert!(!starting.is_over());
        }
        // It was ready before the fork server has said its number.
        starting.note(started(WORKER)).unwrap();
        assert!(starting.is_over());
    }

    #[test]
    fn start_fails_with_the_process_whose_plugin_is_not_constructed() {
        let refused = Event::SetupFailed { role: WORKER, failure: SetupFailure::Load("no".to_owned()) };
        let (role, failure) = starting().note(refused).unwrap_err();
        assert!(role == WORKER && matches!(failure, SetupFailure::Load(_)));
        let (role, failure) = starting().note(died(Role::Commander)).unwrap_err();
        assert!(role == Role::Commander && matches!(failure, SetupFailure::Died(_)));
        let not_forked = Event::Started { role: WORKER, pid: Err("too many".to_owned()) };
        assert!(matches!(starting().note(not_forked).unwrap_err(), (WORKER, SetupFailure::Init(_))));
    }

    #[test]
    fn process_that_dies_after_it_was_ready_does_not_fail_the_start() {
        let mut starting = starting();
        starting.note(started(WORKER)).unwrap();
        starting.note(Event::Ready { role: WORKER }).unwrap();
        starting.note(died(WORKER)).unwrap();
        // Its next incarnation is not waited for either.
        let next = Role::Worker { place: Place::FIRST, incarnation: 1 };
        starting.note(died(next)).unwrap();
        starting.note(started(Role::Commander)).unwrap();
        assert_eq!(starting.waiting_for(), "the construction of 1 of 2 plugin processes");
        starting.note(Event::Ready { role: Role::Commander }).unwrap();
        assert!(starting.is_over());
    }
}
