//! Chooses faults from a seed and injects them; measures how long a killed worker's message takes
//! to reach another worker.
//!
//! A fault is chosen by dice alone, with the same number of throws for each, so that a seed gives
//! the same faults in the same order. How many of them hit something depends on the run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use cobuf_host::{Failpoint, Fault, Holder, Host, ProcessInfo, ProcessRole};
use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use super::forked;
use super::standstill::stand_still;
use super::stderr::Pipe;

/// The share of faults that hit the fork server.
const SERVER_SHARE: f64 = 0.01;
/// The share of forks of the application.
const FORK_SHARE: f64 = 0.03;
/// The share of standstills of the whole run, each of which costs two deadlines.
const STANDSTILL_SHARE: f64 = 0.01;
/// The share of times in which nobody reads standard error.
const UNREAD_SHARE: f64 = 0.02;
/// The share of faults that wait at a failpoint for the next process that passes it.
const FAILPOINT_SHARE: f64 = 0.5;
/// How long a standstill is, and standard error is at most unread, in deadlines.
const PAUSE_DEADLINES: u32 = 2;
/// The time after which a fork of the application, which only drops handles, counts as stuck.
const FORK_LIMIT: Duration = Duration::from_secs(30);
/// The time between two looks at a killed worker's message.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// The time after which the looks end.
const LOOK_FOR: Duration = Duration::from_secs(5);

/// The faults of one round.
#[derive(Debug, Default)]
pub(super) struct Thrown {
    /// The number of faults, by their kind and target.
    pub(super) faults: BTreeMap<String, u64>,
    /// The number of those that hit a process of the run.
    pub(super) kills: u64,
    /// The times from a worker's death until another worker had its message, in seconds.
    pub(super) recoveries: Vec<f64>,
    /// Faults after which something was wrong at once.
    pub(super) failures: Vec<String>,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Choice {
    /// The fork server is killed.
    Server,
    /// The application forks, and the fork drops its handles.
    Fork,
    /// The whole run stands still.
    Standstill,
    /// Nobody reads standard error, for this share of the longest time.
    Unread(f64),
    /// The next process that passes this place fails.
    Failpoint(Failpoint, Fault),
    /// The process at this share of the list of processes gets a signal.
    Signal(Fault, f64),
}

impl Choice {
    fn by(dice: &mut Rng) -> Self {
        let (kind, share): (f64, f64) = (dice.random(), dice.random());
        let point = Failpoint::ALL[dice.random_range(0..Failpoint::ALL.len())];
        // Kills and crashes are frequent. Freezes and hangs are rare, since each costs a deadline.
        let fault = match dice.random_range(0..20) {
            0..10 => Fault::Kill,
            10..18 => Fault::Crash,
            18 => Fault::Freeze,
            _ => Fault::Hang,
        };
        let shares = [
            (SERVER_SHARE, Self::Server),
            (FORK_SHARE, Self::Fork),
            (STANDSTILL_SHARE, Self::Standstill),
            (UNREAD_SHARE, Self::Unread(share)),
            (FAILPOINT_SHARE, Self::Failpoint(point, fault)),
        ];
        let mut below = 0.0;
        let chosen = shares.into_iter().find(|(share, _)| {
            below += share;
            kind < below
        });
        chosen.map_or(Self::Signal(fault, share), |(_, choice)| choice)
    }
}

pub(super) struct Faults<'a> {
    host: &'a Host,
    stderr: &'a Pipe,
    dice: Rng,
    rate: f64,
    deadline: Duration,
    thrown: Thrown,
    /// The fault that waits at a failpoint.
    waiting: Option<(Failpoint, Fault)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(host: &'a Host, stderr: &'a Pipe, seed: u64, rate: f64, deadline: Duration) -> Self {
        let dice = Rng::seed_from_u64(seed);
        Self { host, stderr, dice, rate, deadline, thrown: Thrown::default(), waiting: None }
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
        let processes = self.host.processes();
        // The first process is the fork server, which is there until the run is over.
        match (Choice::by(&mut self.dice), &processes[..]) {
            (Choice::Server, &[server, ..]) => self.signal(server, Fault::Kill),
            (Choice::Fork, _) => self.fork(),
            (Choice::Standstill, &[server, ..]) => self.stand_still(server),
            (Choice::Unread(share), _) => {
                self.stderr.leave_unread((self.deadline * PAUSE_DEADLINES).mul_f64(share));
                self.note("standard error that nobody reads");
            }
            (Choice::Failpoint(point, fault), _) => self.arm(point, fault),
            (Choice::Signal(fault, share), [_, others @ ..]) => {
                if let Some(&process) = others.get((share * others.len() as f64) as usize) {
                    self.signal(process, fault);
                }
            }
            (_, []) => {}
        }
    }

    /// Has the application forked. The fork drops its copies of all handles and ends.
    fn fork(&mut self) {
        let name = "fork of the application";
        let fork = forked::start(self.host, |host| {
            let batches = host.batches();
            drop((batches, host));
        });
        match fork.and_then(|fork| forked::ended_well(fork, FORK_LIMIT)) {
            Ok(true) => self.note(name),
            Ok(false) => self.thrown.failures.push(format!("a {name} did not drop its handles")),
            // The machine has no process for it.
            Err(error) => tracing::warn!("no {name}: {error}"),
        }
    }

    fn stand_still(&mut self, server: ProcessInfo) {
        let Some(server) = pid(server) else { return };
        match stand_still(server, self.deadline * PAUSE_DEADLINES) {
            Ok(true) => self.note("standstill of the whole run"),
            Ok(false) => self.thrown.failures.push("the run could not be stopped and continued".to_owned()),
            Err(error) => tracing::warn!("no standstill of the run: {error}"),
        }
    }

    /// Sets a fault at a failpoint. The last one is counted if a process passed it.
    fn arm(&mut self, point: Failpoint, fault: Fault) {
        self.note_waiting();
        self.host.arm(point, fault);
        self.waiting = Some((point, fault));
    }

    fn note_waiting(&mut self) {
        if let Some((point, fault)) = self.waiting.take().filter(|_| !self.host.is_armed()) {
            self.note_kill(format!("{fault} at {point}"));
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.thrown.faults.entry(what.into()).or_default() += 1;
    }

    fn note_kill(&mut self, what: String) {
        self.note(what);
        self.thrown.kills += 1;
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
        let Some(pid) = pid(process) else { return };
        if kill_process(pid, signal).is_err() {
            return; // It has just ended.
        }
        self.note_kill(format!("{name} to {role}"));
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

fn pid(process: ProcessInfo) -> Option<Pid> {
    i32::try_from(process.pid).ok().and_then(Pid::from_raw)
}

/// The message that a worker holds, if this is the first attempt at it.
fn held_by(host: &Host, role: ProcessRole) -> Option<u64> {
    let ProcessRole::Worker(worker) = role else { return None };
    let report = host.stall_report();
    let slot =
        report.slots.iter().find(|slot| slot.holder == Holder::Worker(worker) && slot.attempts == 0)?;
    slot.sequence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(seed: u64, count: usize) -> Vec<Choice> {
        let mut dice = Rng::seed_from_u64(seed);
        (0..count).map(|_| Choice::by(&mut dice)).collect()
    }

    #[test]
    fn same_seed_gives_the_same_faults() {
        assert_eq!(choices(7, 200), choices(7, 200));
        assert_ne!(choices(7, 200), choices(8, 200));
    }

    #[test]
    fn each_kind_of_fault_is_chosen_about_as_often_as_its_share() {
        let choices = choices(1, 10_000);
        let count = |is: fn(&Choice) -> bool| choices.iter().filter(|choice| is(choice)).count() as f64;
        for (share, counted) in [
            (SERVER_SHARE, count(|choice| *choice == Choice::Server)),
            (FORK_SHARE, count(|choice| *choice == Choice::Fork)),
            (STANDSTILL_SHARE, count(|choice| *choice == Choice::Standstill)),
            (UNREAD_SHARE, count(|choice| matches!(choice, Choice::Unread(_)))),
            (FAILPOINT_SHARE, count(|choice| matches!(choice, Choice::Failpoint(..)))),
        ] {
            let expected = share * choices.len() as f64;
            assert!((counted - expected).abs() < expected / 2.0, "{counted} times, expected {expected}");
        }
    }
}
