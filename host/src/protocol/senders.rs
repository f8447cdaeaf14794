//! Which process may say what: all processes of a run write to the same socket, and a plugin that was
//! taken over by its input writes what it likes.
//!
//! ```text
//!   event, with the sender's number from the kernel
//!     from the fork server            believed; it says which process has which role
//!     from a process with a role      believed, if it is about itself
//!     from a process without one      kept until the fork server has said which one it is;
//!                                     logs are believed at once, of copies that a plugin has forked, too
//! ```
//!
//! A sender cannot give another number than its own, unless it has the capability `CAP_SYS_ADMIN`.

use std::collections::{HashMap, HashSet, VecDeque};

use cobuf_plugin_api::PluginKind;

use super::message::Event;
use super::role::Role;

/// The most events of processes that the fork server has not named yet; the oldest are dropped. A process is
/// named at once after it was forked, and sends one or two events before that; others are copies that a plugin
/// has forked, which are never named.
const MOST_EARLY: usize = 256;

/// The senders of a run's events.
#[derive(Debug, Default)]
pub(super) struct Senders {
    server: u32,
    roles: HashMap<u32, Role>,
    /// From processes without a role yet.
    early: VecDeque<(u32, Event)>,
    /// Believed, and to be handed over.
    due: VecDeque<Event>,
    /// Of whom it was said that they are not believed.
    told: HashSet<u32>,
}

impl Senders {
    /// The fork server's process number.
    pub(super) fn trust(&mut self, server: u32) {
        self.server = server;
    }

    /// The next event that is believed.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.due.pop_front()
    }

    /// Takes an event, or the reason why it cannot be read. Fails only if the fork server cannot be
    /// understood.
    pub(super) fn take(&mut self, sender: u32, event: std::io::Result<Event>) -> std::io::Result<()> {
        if sender == self.server {
            self.believe(event?);
            return Ok(());
        }
        let Ok(event) = event else {
            self.refuse(sender, "what cannot be read");
            return Ok(());
        };
        match self.roles.get(&sender) {
            Some(&role) if is_of(role, &event) => self.due.push_back(event),
            Some(_) => self.refuse(sender, "what another process has to say"),
            None if matches!(event, Event::Log { .. }) => self.due.push_back(event),
            None => {
                self.early.push_back((sender, event));
                if self.early.len() > MOST_EARLY {
                    self.early.pop_front();
                }
            }
        }
        Ok(())
    }

    /// An event of the fork server.
    fn believe(&mut self, event: Event) {
        match &event {
            Event::Started { role, pid: Ok(pid) } => {
                let (pid, role) = (*pid, *role);
                self.roles.insert(pid, role);
                self.told.remove(&pid);
                self.due.push_back(event);
                let (its, others): (VecDeque<_>, VecDeque<_>) =
                    std::mem::take(&mut self.early).into_iter().partition(|(sender, _)| *sender == pid);
                self.early = others;
                for (sender, event) in its {
                    // It has a role now, so nothing fails.
                    let _ = self.take(sender, Ok(event));
                }
                return;
            }
            // Its number may be another process's from now on.
            Event::Exited { role, .. } => self.roles.retain(|_, known| known != role),
            _ => {}
        }
        self.due.push_back(event);
    }

    /// Says once of each process that it is not believed.
    fn refuse(&mut self, sender: u32, what: &str) {
        let Some(role) = self.roles.get(&sender) else { return };
        if self.told.insert(sender) {
            tracing::warn!(
                process = sender,
                "the {role} says {what}, which is ignored; its plugin writes where it should not, or was taken over by its input"
            );
        }
    }
}

/// Whether an event is one that a process of this role sends, and about itself.
fn is_of(role: Role, event: &Event) -> bool {
    match event {
        Event::Probed { kind, .. } => matches!(role, Role::Probe { kind: own, .. } if own == *kind),
        Event::CommanderFailed(_) => role == Role::Commander,
        Event::Saved(_) => role.kind() == PluginKind::Commander,
        Event::Examined { role: said, .. }
        | Event::Ready { role: said }
        | Event::Rehearsed { role: said }
        | Event::Renewing { role: said }
        | Event::SetupFailed { role: said, .. }
        | Event::Crashed { role: said, .. }
        | Event::Log { role: said, .. } => *said == role,
        Event::Hello { .. }
        | Event::ServerFailed { .. }
        | Event::Attached(_)
        | Event::Started { .. }
        | Event::Stack { .. }
        | Event::Exited { .. } => false,
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use crate::record::death::{Death, Exit};
    use crate::segment::place::Place;

    const SERVER: u32 = 10;

    fn worker(place: u32) -> Role {
        Role::Worker { place: Place::at(place as usize), incarnation: 0 }
    }

    /// Senders of which two workers are known.
    fn senders() -> Senders {
        let mut senders = Senders::default();
        senders.trust(SERVER);
        for place in 0..2 {
            senders.take(SERVER, Ok(Event::Started { role: worker(place), pid: Ok(20 + place) })).unwrap();
            assert!(matches!(senders.next(), Some(Event::Started { .. })));
        }
        senders
    }

    fn exited(role: Role) -> Event {
        Event::Exited { role, how: Death::Exit(Exit::Code(0)) }
    }

    #[test]
    fn process_speaks_for_itself_only() {
        let mut senders = senders();
        senders.take(20, Ok(Event::Ready { role: worker(0) })).unwrap();
        assert!(matches!(senders.next(), Some(Event::Ready { role }) if role == worker(0)));
        senders.take(20, Ok(Event::Ready { role: worker(1) })).unwrap();
        senders.take(20, Ok(exited(worker(1)))).unwrap();
        senders.take(20, Ok(exited(worker(0)))).unwrap();
        senders.take(20, Ok(Event::ServerFailed { reason: "no".to_owned() })).unwrap();
        senders.take(20, Ok(Event::Started { role: worker(2), pid: Ok(20) })).unwrap();
        assert!(senders.next().is_none());
        senders.take(SERVER, Ok(exited(worker(1)))).unwrap();
        assert!(matches!(senders.next(), Some(Event::Exited { .. })));
    }

    #[test]
    fn what_a_process_says_before_it_is_named_comes_after_its_name() {
        let mut senders = senders();
        let ready = || Ok(Event::Ready { role: worker(2) });
        senders.take(30, ready()).unwrap();
        senders.take(31, ready()).unwrap();
        assert!(senders.next().is_none());
        senders.take(SERVER, Ok(Event::Started { role: worker(2), pid: Ok(30) })).unwrap();
        assert!(matches!(senders.next(), Some(Event::Started { .. })));
        assert!(matches!(senders.next(), Some(Event::Ready { .. })));
        assert!(senders.next().is_none(), "31 is no worker");
    }

    #[test]
    fn number_of_a_dead_process_is_nobodys() {
        let mut senders = senders();
        senders.take(SERVER, Ok(exited(worker(0)))).unwrap();
        senders.next();
        senders.take(20, Ok(Event::Ready { role: worker(0) })).unwrap();
        assert!(senders.next().is_none());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_of_the_fork_server_only() {
        let mut senders = senders();
        let nonsense = || Err(std::io::Error::other("nonsense"));
        senders.take(20, nonsense()).unwrap();
        assert!(senders.next().is_none());
        senders.take(SERVER, nonsense()).unwrap_err();
    }
}
