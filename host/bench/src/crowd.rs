//! Computes how many batches a second commander, workers and consumer reach if each has a core of its own:
//! a simulation of their steps and of the cache lines that these move, for more cores than a machine has.
//!
//! ```text
//!   commander  encode ─► its slot's line ─► line of queued slots
//!   worker                  line of queued slots ─► the slot's line ─► produce ─► line of ready slots
//!   consumer                            line of ready slots: all that are there ─► each slot's line ─► line of free slots
//! ```
//!
//! A line is with one core at a time. It takes [`Costs::line_move`] to come from another core, stays for
//! [`Costs::hold`], and the next core that wants it waits. What each process moves is what
//! `host/src/segment/cache_lines.rs` counts; what it computes is what `host/benches/instructions.rs` counts.
//!
//! Left out: sleeps and wakes (each process spins), the order of batches, the payload's lines, and that moves
//! between sockets take longer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// What the steps take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// For a line to come from another core.
    pub(crate) line_move: Duration,
    /// For what a process does with a line of all processes before another may have it.
    pub(crate) hold: Duration,
    /// The commander's own work for a message.
    pub(crate) command: Duration,
    /// A worker's own work for a message, without the plugin's.
    pub(crate) produce: Duration,
    /// The consumer's own work for a batch.
    pub(crate) consume: Duration,
}

/// What gives way first if more workers do not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Commander,
    Consumer,
    QueuedLine,
    ReadyLine,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commander => "the commander",
            Self::Consumer => "the consumer",
            Self::QueuedLine => "the line of queued slots",
            Self::ReadyLine => "the line of ready slots",
        }
    }
}

/// What a simulation gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) batches_a_second: f64,
    /// The part that is busy for the greatest share of the time, and this share.
    pub(crate) busiest: (Part, f64),
}

/// A line that moves, by its core and by when it is free again.
#[derive(Debug, Clone, Copy)]
struct Line {
    core: usize,
    free_at: Duration,
    busy: Duration,
}

const COMMANDER: usize = 0;
const CONSUMER: usize = 1;
/// The core of the first worker.
const WORKERS: usize = 2;

/// What a core does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Command,
    Look,
    Commit(usize),
    Take,
    Release(usize),
}

/// A run, at a moment.
struct Crowd<'a> {
    costs: Costs,
    times: &'a [Duration],
    steps: BinaryHeap<Reverse<(Duration, usize, Step)>>,
    queued_line: Line,
    ready_line: Line,
    free_line: Line,
    slot_lines: Vec<Line>,
    free: Vec<usize>,
    queued: VecDeque<usize>,
    ready: VecDeque<usize>,
    /// How many of the ready slots the consumer knows of, from its last look.
    known: usize,
    idle: Vec<usize>,
    commander_waits: bool,
    consumer_waits: bool,
    begun: usize,
    done: usize,
    commander_busy: Duration,
    consumer_busy: Duration,
}

/// Simulates this many batches with so many workers and slots. Messages take these times in the plugin; the
/// list repeats without end.
pub(crate) fn simulate(
    costs: Costs,
    times: &[Duration],
    workers: usize,
    slots: usize,
    batches: usize,
) -> Outcome {
    let line = Line { core: COMMANDER, free_at: Duration::ZERO, busy: Duration::ZERO };
    let mut crowd = Crowd {
        costs,
        times,
        steps: BinaryHeap::from([Reverse((Duration::ZERO, COMMANDER, Step::Command))]),
        queued_line: line,
        ready_line: line,
        free_line: line,
        slot_lines: vec![line; slots],
        free: (0..slots).rev().collect(),
        queued: VecDeque::new(),
        ready: VecDeque::new(),
        known: 0,
        idle: (WORKERS..WORKERS + workers).collect(),
        commander_waits: false,
        consumer_waits: true,
        begun: 0,
        done: 0,
        commander_busy: Duration::ZERO,
        consumer_busy: Duration::ZERO,
    };
    let mut now = Duration::ZERO;
    while crowd.done < batches {
        let Some(Reverse((at, core, step))) = crowd.steps.pop() else { break };
        now = at;
        crowd.step(at, core, step);
    }
    crowd.outcome(now)
}

impl Line {
    /// The time at which the core has done what it wants with the line.
    fn with(&mut self, core: usize, at: Duration, line_move: Duration, hold: Duration) -> Duration {
        let start = self.free_at.max(at);
        let takes = hold + if self.core == core { Duration::ZERO } else { line_move };
        (self.core, self.free_at) = (core, start + takes);
        self.busy += takes;
        self.free_at
    }
}

impl Crowd<'_> {
    fn step(&mut self, at: Duration, core: usize, step: Step) {
        let Costs { line_move, hold, command, produce, consume } = self.costs;
        match step {
            Step::Command => {
                let Some(slot) = self.free.pop() else {
                    self.commander_waits = true;
                    return;
                };
                let written = self.slot_lines[slot].with(core, at + command, line_move, Duration::ZERO);
                let queued = self.queued_line.with(core, written, line_move, hold);
                self.commander_busy += queued - at;
                self.queued.push_back(slot);
                // The worker that has waited least sees it first.
                if let Some(worker) = self.idle.pop() {
                    self.then(queued, worker, Step::Look);
                }
                self.then(queued, core, Step::Command);
            }
            Step::Look => {
                let Some(slot) = self.queued.pop_front() else {
                    self.idle.push(core);
                    return;
                };
                let claimed = self.queued_line.with(core, at, line_move, hold);
                let has_slot = self.slot_lines[slot].with(core, claimed, line_move, Duration::ZERO);
                let time = self.times[self.begun % self.times.len()];
                self.begun += 1;
                self.then(has_slot + produce + time, core, Step::Commit(slot));
            }
            Step::Commit(slot) => {
                let ready = self.ready_line.with(core, at, line_move, hold);
                self.ready.push_back(slot);
                if std::mem::take(&mut self.consumer_waits) {
                    self.then(ready, CONSUMER, Step::Take);
                }
                self.then(ready, core, Step::Look);
            }
            Step::Take => {
                let seen = self.ready_line.with(core, at, line_move, hold);
                self.consumer_busy += seen - at;
                self.known = self.ready.len();
                self.take_known(seen);
            }
            Step::Release(slot) => {
                let has_slot = self.slot_lines[slot].with(core, at, line_move, Duration::ZERO);
                let freed = self.free_line.with(core, has_slot + consume, line_move, hold);
                self.consumer_busy += freed - at;
                self.free.push(slot);
                self.done += 1;
                if std::mem::take(&mut self.commander_waits) {
                    self.then(freed, COMMANDER, Step::Command);
                }
                if self.known > 0 {
                    self.take_known(freed);
                } else if self.ready.is_empty() {
                    self.consumer_waits = true;
                } else {
                    self.then(freed, core, Step::Take);
                }
            }
        }
    }

    /// The consumer takes the next of the ready slots that it knows of.
    fn take_known(&mut self, at: Duration) {
        if let Some(slot) = self.ready.pop_front() {
            self.known -= 1;
            self.then(at, CONSUMER, Step::Release(slot));
        }
    }

    fn then(&mut self, at: Duration, core: usize, step: Step) {
        self.steps.push(Reverse((at, core, step)));
    }

    fn outcome(&self, lasted: Duration) -> Outcome {
        let share = |busy: Duration| busy.as_secs_f64() / lasted.as_secs_f64();
        let parts = [
            (Part::Commander, share(self.commander_busy)),
            (Part::Consumer, share(self.consumer_busy)),
            (Part::QueuedLine, share(self.queued_line.busy)),
            (Part::ReadyLine, share(self.ready_line.busy)),
        ];
        let busiest =
            parts.into_iter().fold(parts[0], |most, part| if part.1 > most.1 { part } else { most });
        Outcome { batches_a_second: self.done as f64 / lasted.as_secs_f64(), busiest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        line_move: Duration::from_nanos(70),
        hold: Duration::from_nanos(20),
        command: Duration::from_nanos(200),
        produce: Duration::from_nanos(500),
        consume: Duration::from_nanos(200),
    };

    fn rate(micros: u64, workers: usize) -> Outcome {
        simulate(COSTS, &[Duration::from_micros(micros)], workers, 4 * workers, 200 * workers)
    }

    #[test]
    fn long_messages_take_what_the_workers_take() {
        for workers in [1, 2, 16, 64] {
            let ideal = workers as f64 * 1e3;
            let share = rate(1000, workers).batches_a_second / ideal;
            assert!((0.97..=1.01).contains(&share), "{workers} workers: {share}");
        }
    }

    #[test]
    fn the_part_that_gives_way_is_busy_all_the_time_and_bounds_the_rate() {
        let few = rate(1, 1);
        assert!(few.busiest.1 < 0.9, "{few:?}");
        let many = rate(1, 192);
        assert_eq!(many.busiest.0, Part::Commander, "{many:?}");
        assert!(many.busiest.1 > 0.95, "{many:?}");
        // Its own work, its slot's line, and the line of queued slots, which is often with a worker.
        let [least, most] =
            [200 + 70 + 20, 200 + 70 + 2 * (70 + 20) + 70].map(|nanos| 1e9 / f64::from(nanos));
        assert!((most..=least).contains(&many.batches_a_second), "{many:?}");
        let quick = Costs { command: Duration::ZERO, consume: Duration::from_nanos(2000), ..COSTS };
        let bound = simulate(quick, &[Duration::from_micros(1)], 64, 256, 20_000);
        assert_eq!(bound.busiest.0, Part::Consumer, "{bound:?}");
    }

    #[test]
    fn line_serves_one_core_at_a_time() {
        let nanos = Duration::from_nanos;
        let mut line = Line { core: 0, free_at: nanos(0), busy: nanos(0) };
        let mut with = |core: usize, at: u64| line.with(core, nanos(at), nanos(70), nanos(20));
        assert_eq!(with(0, 10), nanos(30), "it is there");
        assert_eq!(with(1, 10), nanos(120), "it waits, and the line moves");
        assert_eq!((with(1, 500), line.busy), (nanos(520), nanos(130)));
    }
}
