//! Chooses faults and throws them, from a seed; measures how long the message of a killed worker takes to be produced again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use cobuf_host::{Failpoint, Fault, Holder, Host, ProcessInfo, ProcessRole};
use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

/// The share of faults that hit the fork server.
const SERVER_SHARE: f64 = 0.01;
/// The share of faults that wait at a failpoint for whoever comes by.
const FAILPOINT_SHARE: f64 = 0.5;
/// How often it is looked whether a killed worker's message is with another.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// After how long it is no longer looked.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// What was thrown in a round.
#[derive(Debug, Default)]
pub(super) struct Thrown {
    /// How often, by what was hit and how.
    pub(super) faults: BTreeMap<String, u64>,
    /// From the death of a worker to its message being with another, in seconds.
    pub(super) recoveries: Vec<f64>,
}

pub(super) struct Faults<'a> {
    host: &'a Host,
    dice: Rng,
    rate: f64,
    thrown: Thrown,
    /// What waits at a failpoint.
    waiting: Option<(Failpoint, Fault)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(host: &'a Host, seed: u64, rate: f64) -> Self {
        Self { host, dice: Rng::seed_from_u64(seed), rate, thrown: Thrown::default(), waiting: None }
    }

    /// Throws faults until the other end of the channel is closed.
    pub(super) fn throw_until(mut self, stopped: &Receiver<()>) -> Thrown {
        loop {
            // Exponential pauses: the next fault knows nothing of the last.
            let pause = -(1.0 - self.dice.random::<f64>()).ln() / self.rate;
            match stopped.recv_timeout(Duration::from_secs_f64(pause)) {
                Err(RecvTimeoutError::Timeout) => self.throw(),
                _ => {
                    self.note_waiting();
                    return self.thrown;
                }
            }
        }
    }

    fn throw(&mut self) {
        let kind: f64 = self.dice.random();
        if kind < SERVER_SHARE {
            // It is the first of them, and there until the run is over.
            if let Some(&server) = self.host.processes().first() {
                self.signal(server, Fault::Kill);
            }
        } else if kind < SERVER_SHARE + FAILPOINT_SHARE {
            self.arm();
        } else {
            let fault = self.choose_fault();
            let processes = self.host.processes();
            // The first is the fork server.
            if let Some(&process) = processes.get(1 + self.dice.random_range(0..processes.len().max(2) - 1)) {
                self.signal(process, fault);
            }
        }
    }

    /// Kills and crashes come often, freezes and hangs, which take a deadline each, seldom.
    fn choose_fault(&mut self) -> Fault {
        match self.dice.random_range(0..20) {
            0..10 => Fault::Kill,
            10..18 => Fault::Crash,
            18 => Fault::Freeze,
            _ => Fault::Hang,
        }
    }

    /// Sets a fault at a failpoint, after counting the last one, where somebody came by.
    fn arm(&mut self) {
        self.note_waiting();
        let point = Failpoint::ALL[self.dice.random_range(0..Failpoint::ALL.len())];
        let fault = self.choose_fault();
        self.host.arm(point, fault);
        self.waiting = Some((point, fault));
    }

    fn note_waiting(&mut self) {
        if let Some((point, fault)) = self.waiting.take().filter(|_| !self.host.is_armed()) {
            self.note(format!("{fault} at {point}"));
        }
    }

    fn note(&mut self, what: String) {
        *self.thrown.faults.entry(what).or_default() += 1;
    }

    fn signal(&mut self, process: ProcessInfo, fault: Fault) {
        let (name, signal) = match fault {
            Fault::Kill => ("SIGKILL", Signal::KILL),
            Fault::Crash => ("SIGSEGV", Signal::SEGV),
            // From outside, a hang is a process that is stopped.
            Fault::Freeze | Fault::Hang => ("SIGSTOP", Signal::STOP),
        };
        let role = match process.role {
            ProcessRole::ForkServer => "the fork server",
            ProcessRole::Commander => "the commander",
            ProcessRole::Worker(_) => "a worker",
        };
        let held = held_by(self.host, process.role);
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
        if kill_process(pid, signal).is_err() {
            return; // It has just ended.
        }
        self.note(format!("{name} to {role}"));
        if let Some(sequence) = held.filter(|_| signal == Signal::KILL) {
            self.measure(sequence, Instant::now());
        }
    }

    /// Waits until the message of a worker that was killed is with another, or done.
    fn measure(&mut self, sequence: u64, killed: Instant) {
        while killed.elapsed() < LOOK_FOR {
            let report = self.host.stall_report();
            let slot = report.slots.iter().find(|slot| slot.sequence == Some(sequence));
            match slot {
                // It was done before the signal came, or the worker held another one by then.
                None => return,
                Some(slot) if slot.attempts == 0 && !matches!(slot.holder, Holder::Worker(_)) => return,
                Some(slot) if slot.attempts > 0 && slot.holder != Holder::Queued => {
                    return self.thrown.recoveries.push(killed.elapsed().as_secs_f64());
                }
                Some(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }
}

/// The message that a worker holds, which was not tried before.
fn held_by(host: &Host, role: ProcessRole) -> Option<u64> {
    let ProcessRole::Worker(worker) = role else { return None };
    let report = host.stall_report();
    let slot =
        report.slots.iter().find(|slot| slot.holder == Holder::Worker(worker) && slot.attempts == 0)?;
    slot.sequence
}
