//! Workers that die: killed in the middle of a message, killed by it, or killed at random.

use crate::common::dice::Dice;
use crate::common::{
    Delivered, Gate, Logs, Process, all_items, array, filling, gated, index, isolated, next_item,
    random_stream, small, wait_for_ready, wait_until,
};
use cobuf_host::{
    Batch, Batches, Death, Dictionary, Exit, Failpoint, Fault, Host, ProcessSetup, ReportKind, StreamError,
    limits,
};
use std::collections::{BTreeSet, HashSet};

/// Messages whose batches have random content.
fn random(number: u64) -> Dictionary {
    index(number).with("random", true)
}

fn arrays() -> [Dictionary; 2] {
    [array("x", "f32", &[16, 3]), array("y", "u8", &[16])]
}

/// Ends the gate's suspense and reads what is left.
fn read_rest(gate: &Gate, batches: &Batches) -> Delivered {
    gate.open();
    Delivered::of(batches)
}

/// Ten messages, of which number 3 says so and waits for the gate.
fn fourth_waits_for(gate: &Gate) -> impl Iterator<Item = Dictionary> {
    let fourth = gated(3, "holding the fourth", gate).with("random", true);
    (0..10).map(move |number| if number == 3 { fourth.clone() } else { random(number) })
}

#[test]
fn message_of_a_killed_worker_is_retried_in_order() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    let undisturbed = {
        let gate = Gate::new();
        let host = filling(fourth_waits_for(&gate), &arrays()).workers(2).start().unwrap();
        read_rest(&gate, &host.batches())
    };
    logs.clear();
    let gate = Gate::new();
    let host = filling(fourth_waits_for(&gate), &arrays()).workers(2).start().unwrap();
    let worker = logs.wait_for("holding the fourth").worker.unwrap();
    assert!(Process::worker(host.fork_server_pid(), worker as u32).kill());
    // Another worker, or the next incarnation of this one, comes to the gate.
    logs.wait_for_many("holding the fourth", 2);
    gate.open();

    let mut delivered = Delivered::default();
    for batch in all_items(&host.batches()).map(Result::unwrap) {
        assert_eq!(batch.retries(), u32::from(batch.sequence() == 3));
        delivered.add(&batch);
    }
    assert!(delivered.sequences.iter().copied().eq(0..10));
    assert_eq!(delivered, undisturbed);
    wait_until("the worker is replaced", || host.statistics().worker_restarts == 1);
    let statistics = host.statistics();
    assert_eq!((statistics.retries, statistics.errors), (1, 0));
    let death = logs.wait_for("a worker died");
    assert_eq!((death.worker, death.plugin.as_deref()), (Some(worker), Some("fill-producer")));
}

#[test]
fn killed_workers_are_replaced() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let messages = (0..6).map(|number| gated(number, "at the gate of all", &gate));
    let host = filling(messages, &small()).workers(3).start().unwrap();
    for round in 1..limits::DEFAULT_MAX_ATTEMPTS as usize {
        logs.wait_for_many("at the gate of all", 3 * round);
        let workers = Process::living_workers(host.fork_server_pid());
        assert_eq!(workers.len(), 3);
        assert!(workers.iter().all(Process::kill));
    }
    logs.wait_for_many("at the gate of all", 3 * limits::DEFAULT_MAX_ATTEMPTS as usize);
    let delivered = read_rest(&gate, &host.batches());
    assert!(delivered.sequences.iter().copied().eq(0..6));
    assert_eq!(host.statistics().retries, 6);
}

#[test]
fn message_is_retried_after_its_worker_exits() {
    let _leaks = isolated!();
    let exit = |number: u64| random(number).with("exit", 0).with("on_attempt", 1);
    let abort = |number: u64| random(number).with("abort", true).with("on_attempt", 2);
    let run = |disturbed: bool, deterministic: bool| {
        let message = |number: u64| match number % 5 {
            1 if disturbed => exit(number),
            3 if disturbed => abort(number),
            _ => random(number),
        };
        let host = filling((0..15).map(message), &arrays()).workers(2).ordered(deterministic);
        let host = host.start().unwrap();
        let mut delivered = Delivered::of(&host.batches());
        delivered.sequences.sort_unstable();
        // Three messages that kill one worker each, and three that kill two.
        assert_eq!(host.statistics().retries, if disturbed { 9 } else { 0 });
        delivered
    };
    let undisturbed = run(false, true);
    assert_eq!(run(true, true), undisturbed);
    assert_eq!(run(true, false), undisturbed);
}

#[test]
fn message_that_kills_every_worker_becomes_an_error() {
    let _leaks = isolated!();
    let message = |number: u64| if number == 2 { index(2).with("abort", true) } else { index(number) };
    for workers in [1, 2] {
        let host = filling((0..12).map(message), &small()).workers(workers).start().unwrap();
        let items: Vec<Result<u64, StreamError>> =
            all_items(&host.batches()).map(|item| item.map(|batch| batch.sequence())).collect();
        let delivered: Vec<u64> = items.iter().filter_map(|item| item.as_ref().ok().copied()).collect();
        assert_eq!(delivered, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let Err(StreamError::Batch(error)) = &items[2] else { panic!("{:?}", items[2]) };
        assert_eq!((error.sequence(), error.kind()), (2, ReportKind::Crash));
        assert_eq!(error.message(), &message(2));
        let how = Exit::Signal(6);
        let attempts = limits::DEFAULT_MAX_ATTEMPTS;
        assert_eq!(error.chain(), [format!("the worker was ended at each of {attempts} attempts by {how}")]);
        assert_eq!(error.attempts().len(), attempts as usize);
        assert!(error.attempts().iter().all(|attempt| attempt.death == Death::Exit(how)));
        // Each was looked at before it was gone.
        for attempt in error.attempts() {
            let stack = attempt.stack.as_ref().expect("a crash has a stack").to_string();
            assert!(stack.contains("abort") && stack.contains("FillProducer"), "{stack}");
        }
        let statistics = host.statistics();
        assert_eq!((statistics.errors, statistics.delivered), (1, 11));
        assert_eq!(statistics.retries, u64::from(attempts - 1));
    }
}

/// A run whose workers cannot come back: their working directory is removed.
fn without_return(gate: &Gate, workers: usize) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let init = ProcessSetup { working_directory: Some(folder.path().to_owned()), ..ProcessSetup::default() };
    let messages = (0..6).map(|number| gated(number, "with a folder", gate));
    filling(messages, &small()).workers(workers).slots(6).process_setup(init).start().unwrap()
}

#[test]
fn stream_ends_with_the_reason_if_no_worker_can_be_replaced() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = without_return(&gate, 2);
    logs.wait_for_many("with a folder", 2);
    assert!(Process::living_workers(host.fork_server_pid()).iter().all(Process::kill));
    let batches = host.batches();
    let reason = match next_item(&batches) {
        Some(Err(StreamError::WorkersLost { reason })) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("cannot change to the working directory"), "{reason}");
    assert!(next_item(&batches).is_none());
    // Each was tried as often as it may be.
    let tries = u64::from(limits::MAX_FAILED_STARTS);
    assert_eq!(host.statistics().worker_restarts, 2 * tries);
}

#[test]
fn stream_goes_on_with_the_remaining_workers() {
    let _leaks = isolated!();
    let logs = Logs::collect();
    logs.clear();
    let gate = Gate::new();
    let host = without_return(&gate, 2);
    logs.wait_for_many("with a folder", 2);
    assert!(Process::worker(host.fork_server_pid(), 0).kill());
    assert_eq!(logs.wait_for("a worker is given up").worker, Some(0));
    assert!(read_rest(&gate, &host.batches()).sequences.into_iter().eq(0..6));
}

/// Kills workers while a stream is read, but no message can be hit twice: all messages that are in
/// the slots at the time of some kills must have been delivered before the next kills. A worker
/// must moreover have delivered a batch in between.
struct Killer<'a> {
    host: &'a Host,
    dice: Dice,
    /// By process: one that has not died yet may be killed again.
    killed: HashSet<Process>,
    /// Batches with sequence numbers from 0 that were all delivered.
    all_before: u64,
    beyond: BTreeSet<u64>,
    /// No message below this number may be missing at the next kill.
    next_kill_at: u64,
    /// For each worker: no batch that was commanded before its last kill has this number or a
    /// higher one.
    starts_at: Vec<u64>,
    of_use: Vec<bool>,
}

impl<'a> Killer<'a> {
    fn new(host: &'a Host) -> Self {
        Self {
            host,
            dice: Dice::of_process(),
            killed: HashSet::new(),
            all_before: 0,
            beyond: BTreeSet::new(),
            next_kill_at: 1,
            starts_at: vec![0; host.workers()],
            of_use: vec![true; host.workers()],
        }
    }

    fn saw(&mut self, batch: &Batch, delivered: usize) {
        self.of_use[batch.worker() as usize] |= batch.sequence() >= self.starts_at[batch.worker() as usize];
        self.beyond.insert(batch.sequence());
        while self.beyond.remove(&self.all_before) {
            self.all_before += 1;
        }
        if self.all_before < self.next_kill_at {
            return;
        }
        // Every slot that is not yet given back has a message at most; so many are commanded at
        // most.
        self.next_kill_at = (delivered + self.host.slots()) as u64;
        let workers: Vec<Process> = Process::living_workers(self.host.fork_server_pid())
            .into_iter()
            .filter(|process| self.of_use[number_of(process)] && self.dice.throw(3) > 0)
            .collect();
        // The fork server reaps none of them before all are killed. Otherwise the message of the
        // first could be queued again, and be taken by the second before its own kill.
        let server = Process::get(self.host.fork_server_pid() as i32).expect("it runs");
        server.freeze();
        for process in workers {
            if process.kill() {
                let worker = number_of(&process);
                self.of_use[worker] = false;
                self.starts_at[worker] = self.next_kill_at;
                self.killed.insert(process);
            }
        }
        server.thaw();
    }
}

/// The number of a worker, which is in its name.
fn number_of(worker: &Process) -> usize {
    worker.name.trim_start_matches("cobuf-work-").parse().expect("a number")
}

/// Several hundred batches, each from 0 to 2 ms of work.
fn many_messages() -> impl Iterator<Item = Dictionary> {
    (0..400).map(|number| random(number).with("burn_seconds", (number * 7 % 10) as f64 / 5000.0))
}

fn run_under_fire(workers: usize, deterministic: bool) -> Delivered {
    let host = filling(many_messages(), &arrays()).workers(workers).slots(6).ordered(deterministic);
    let host = host.start().unwrap();
    println!("{workers} workers, deterministic {deterministic}");
    let mut killer = Killer::new(&host);
    let mut delivered = Delivered::default();
    let batches = host.batches();
    while let Some(item) = next_item(&batches) {
        let batch = item.unwrap();
        assert!(batch.retries() <= 1, "{batch:?} was hit twice");
        delivered.add(&batch);
        killer.saw(&batch, delivered.sequences.len());
    }
    let kills = killer.killed.len() as u64;
    println!("{kills} kills, {:?}", host.statistics());
    wait_until("every killed worker is replaced, once", || host.statistics().worker_restarts == kills);
    let statistics = host.statistics();
    assert!(kills >= 10, "{kills} kills are no test");
    assert!((1..=kills).contains(&statistics.retries), "{statistics:?}");
    assert_eq!((statistics.delivered, statistics.errors), (400, 0));
    delivered
}

#[test]
fn random_kills_change_neither_content_nor_order() {
    let _leaks = isolated!();
    let undisturbed =
        Delivered::of(&filling(many_messages(), &arrays()).workers(2).start().unwrap().batches());
    for workers in [1, 2, 3] {
        assert_eq!(run_under_fire(workers, true), undisturbed);
        assert_eq!(run_under_fire(workers, false).sorted(), undisturbed);
    }
}

#[test]
fn worker_death_at_any_step_loses_nothing() {
    let _leaks = isolated!();
    let expected = Delivered::of(&random_stream(40).workers(2).slots(6).start().unwrap().batches());
    let points =
        [Failpoint::WorkClaimed, Failpoint::WorkFilled, Failpoint::CommitHalfWritten, Failpoint::CommitReady];
    for (point, fault) in points.into_iter().flat_map(|point| [(point, Fault::Kill), (point, Fault::Crash)]) {
        let host = random_stream(40).workers(2).slots(6).start().unwrap();
        wait_for_ready(&host, 6);
        host.arm(point, fault);
        assert_eq!(Delivered::of(&host.batches()), expected, "{point} {fault}");
        assert!(!host.is_armed(), "{point}");
        wait_until("the worker is replaced", || host.statistics().worker_restarts == 1);
        // One that died behind the commit leaves nothing to be done again.
        let retries = u64::from(point != Failpoint::CommitReady);
        assert_eq!(host.statistics().retries, retries, "{point}");
    }
}
