//! Chooses faults from a seed and injects them; measures how long a killed worker's message takes
//! to reach another worker.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use cobuf_host::{Failpoint, Fault, Holder, Host, ProcessInfo, ProcessRole};
use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

/// The share of faults that hit the fork server.
const SERVER_SHARE: f64 = 0.01;
/// The share of faults that wait at a failpoint for the next process that passes it.
const FAILPOINT_SHARE: f64 = 0.5;
/// The time between two looks at a killed worker's message.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// The time after which the looks end.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// The faults of one round.
#[derive(Debug, Default)]
pub(super) struct Thrown {
    /// The number of faults, by their kind and target.
    pub(super) faults: BTreeMap<String, u64>,
    /// The times from a worker's death until another worker had its message, in seconds.
    pub(super) recoveries: Vec<f64>,
}

pub(super) struct Faults<'a> {
    host: &'a Host,
    dice: Rng,
    rate: f64,
    thrown: Thrown,
    /// The fault that waits at a failpoint.
    waiting: Option<(Failpoint, Fault)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(host: &'a Host, seed: u64, rate: f64) -> Self {
        Self { host, dice: Rng::seed_from_u64(seed), rate, thrown: Thrown::default(), waiting: None }
    }

    /// Injects faults until the other end of the channel is closed.
    pub(super) fn throw_until(mut self, stopped: &Receiver<()>) -> Thrown {
        loop {
            // Exponential pauses: each fault is independent of the one before.
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
            // The first process is the fork server, which is there until the run is over.
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

    /// Kills and crashes are frequent. Freezes and hangs are rare, since each costs a deadline.
    fn choose_fault(&mut self) -> Fault {
        match self.dice.random_range(0..20) {
            0..10 => Fault::Kill,
            10..18 => Fault::Crash,
            18 => Fault::Freeze,
            _ => Fault::Hang,
        }
    }

    /// Sets a fault at a failpoint. The last one is counted if a process passed it.
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
            // A stopped process looks like one that hangs.
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

    /// Waits until another worker has a killed worker's message, or the message is done.
    fn measure(&mut self, sequence: u64, killed: Instant) {
        while killed.elapsed() < LOOK_FOR {
            let report = self.host.stall_report();
            let slot = report.slots.iter().find(|slot| slot.sequence == Some(sequence));
            match slot {
                // The message was done before the signal, or the worker held another one by then.
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

/// The message that a worker holds, if this is the first attempt at it.
fn held_by(host: &Host, role: ProcessRole) -> Option<u64> {
    let ProcessRole::Worker(worker) = role else { return None };
    let report = host.stall_report();
    let slot =
        report.slots.iter().find(|slot| slot.holder == Holder::Worker(worker) && slot.attempts == 0)?;
    slot.sequence
}
