//! The processes of a run, as they come and go.

use parking_lot::Mutex;
use serde::Serialize;

use crate::protocol::role::Role;

/// What a process of a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// It forks the others.
    ForkServer,
    /// It gives messages.
    Commander,
    /// It produces: the worker with this number.
    Worker(u32),
}

/// A process of a run: for debuggers, profilers and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// What it is for.
    pub role: ProcessRole,
    /// Its number. It may have ended by now, and the number be another's.
    pub pid: u32,
}

/// The processes that were forked and not yet reaped.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<Vec<(Role, u32)>>);

impl Roster {
    pub(crate) fn insert(&self, role: Role, pid: u32) {
        self.0.lock().push((role, pid));
    }

    pub(crate) fn remove(&self, role: Role) {
        self.0.lock().retain(|(known, _)| *known != role);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// The commander, then the workers by number.
    pub(crate) fn processes(&self) -> Vec<ProcessInfo> {
        let mut processes: Vec<ProcessInfo> = self.0.lock().iter().filter_map(info).collect();
        processes.sort_by_key(|process| process.role);
        processes
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
