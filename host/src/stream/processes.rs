//! Which processes the run has now: in the roster for the application, and by number in the segment
//! for processes that look from outside.

use super::delivery::Stream;
use crate::protocol::role::Role;
use crate::segment::sync::Ordering;

impl Stream {
    /// Notes a fork server, the first one, or another after all processes of the one before have
    /// ended.
    pub(crate) fn begin_server(&self, pid: u32) {
        self.roster.begin(pid);
        self.counters().fork_server.store(pid, Ordering::Relaxed);
    }

    /// Notes a process that was forked.
    pub(crate) fn begin_process(&self, role: Role, pid: u32) {
        self.roster.insert(role, pid);
        self.show(role, pid);
    }

    /// Notes a process that was reaped.
    pub(crate) fn end_process(&self, role: Role) {
        self.roster.remove(role);
        self.show(role, 0);
    }

    /// Notes that all processes of the fork server have ended.
    pub(crate) fn end_children(&self) {
        self.roster.bury_children();
        self.counters().commander.store(0, Ordering::Relaxed);
        self.segment.worker_places().iter().for_each(|place| place.pid.store(0, Ordering::Relaxed));
    }

    /// Notes that no process is left.
    pub(crate) fn end_processes(&self) {
        self.end_children();
        // None waits or produces any longer.
        let places = self.segment.worker_places().iter();
        places.for_each(|place| place.looked_nanos.store(u64::MAX, Ordering::Relaxed));
        self.roster.end();
        self.counters().fork_server.store(0, Ordering::Relaxed);
    }

    fn show(&self, role: Role, pid: u32) {
        match role {
            Role::Commander => self.counters().commander.store(pid, Ordering::Relaxed),
            Role::Worker { place, .. } => self.segment.worker_place(place).pid.store(pid, Ordering::Relaxed),
            Role::Probe { .. } | Role::Rehearsal { .. } | Role::Examiner { .. } => {}
        }
    }
}
