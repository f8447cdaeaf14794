//! The processes of a run: started and not yet reaped.

use parking_lot::Mutex;
use serde::Serialize;

use crate::protocol::role::Role;

/// The part that a process plays in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// Forks the others.
    ForkServer,
    /// Makes messages.
    Commander,
    /// Produces batches: the worker with this number.
    Worker(u32),
}

/// A process of a run: for debuggers, profilers and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process's part in the run.
    pub role: ProcessRole,
    /// The process number. The process may have ended by now, and its number may belong to another
    /// one.
    pub pid: u32,
}

/// The processes that were forked and not yet reaped.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    server: Option<u32>,
    children: Vec<(Role, u32)>,
}

impl Roster {
    /// Notes a fork server: the first one, or another after all processes of the one before have
    /// ended.
    pub(crate) fn begin(&self, server: u32) {
        *self.0.lock() = Known { server: Some(server), children: Vec::new() };
    }

    /// Notes that no process is left.
    pub(crate) fn end(&self) {
        *self.0.lock() = Known::default();
    }

    /// Notes that all processes of the fork server have ended. The fork server stays until it is
    /// reaped.
    pub(crate) fn bury_children(&self) {
        self.0.lock().children.clear();
    }

    pub(crate) fn insert(&self, role: Role, pid: u32) {
        self.0.lock().children.push((role, pid));
    }

    pub(crate) fn remove(&self, role: Role) {
        self.0.lock().children.retain(|(known, _)| *known != role);
    }

    /// The fork server, the commander, then the workers by number.
    pub(crate) fn processes(&self) -> Vec<ProcessInfo> {
        let known = self.0.lock();
        let mut children: Vec<ProcessInfo> = known.children.iter().filter_map(info).collect();
        children.sort_by_key(|process| process.role);
        let server = known.server.map(|pid| ProcessInfo { role: ProcessRole::ForkServer, pid });
        server.into_iter().chain(children).collect()
    }
}

fn info(&(role, pid): &(Role, u32)) -> Option<ProcessInfo> {
    let role = match role {
        Role::Commander => ProcessRole::Commander,
        Role::Worker { place, .. } => ProcessRole::Worker(place.worker()),
        Role::Probe { .. } | Role::Rehearsal { .. } | Role::Examiner { .. } => return None,
    };
    Some(ProcessInfo { role, pid })
}
