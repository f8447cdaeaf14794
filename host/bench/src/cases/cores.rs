//! Computes how far the hand-over carries if each process has a core of its own, up to 192 of them, with the
//! counted moves of cache lines and the counted instructions, and names the part that gives way first.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf::measure::cores;

use crate::case::Case;
use crate::crowd::{Costs, Outcome, simulate};
use crate::plugins::Plugins;
use crate::simulation::exponential;
use cobuf::measure::figure::{Bound, Figure};
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "cores",
    title: "up to 192 workers on a core each, computed from the counted cache lines and instructions",
    plugins: &[],
    measure,
};

/// How long a message takes in the plugin, in microseconds: on average, with exponential times.
const MESSAGES: [u64; 3] = [10, 100, 1000];
const WORKERS: [usize; 6] = [1, 8, 32, 64, 128, 192];
const SLOTS_PER_WORKER: usize = 4;
/// How many batches each worker does.
const BATCHES: usize = 200;
/// Workers and microseconds of which nothing may be lost.
const GOAL: (usize, u64) = (192, 1000);

/// Instructions of a message's hand-over, as `host/benches/instructions.rs` stores them: a message's
/// encoding, a third of a slot's round for each process, and each process's own part.
const COMMAND: u32 = 550 + 333;
const PRODUCE: u32 = 2_040 + 333;
const CONSUME: u32 = 812 + 333;
/// Instructions while a process has a line: an atomic change or two, which take longer than others.
const HOLD: Duration = Duration::from_nanos(20);
/// What an instruction takes, in nanoseconds: 4,400 of them take 1.1 µs on an AMD EPYC.
const INSTRUCTION: f64 = 0.25;
/// What a line takes if it cannot be measured, because there is one CPU, or other processes never left two:
/// about what it takes between cores of one socket.
const USUAL_MOVE: Duration = Duration::from_nanos(70);
/// More than a line takes between any two cores: then the threads took turns on one.
const NO_MOVE: Duration = Duration::from_micros(1);

fn measure(plan: &Plan, _plugins: &Plugins) -> Result<Vec<Figure>> {
    let moves = plan.rounds(&[()], |(), window| Ok(line_move(window)))?.swap_remove(0);
    let measured = moves.iter().map(|took| took.as_secs_f64() * 1e9).collect();
    let mut figures = vec![Figure::new("a cache line from core to core", "ns", measured)];
    for micros in MESSAGES {
        let times = exponential(Duration::from_micros(micros));
        figures.extend(WORKERS.map(|workers| computed(&moves, micros, &times, workers)));
    }
    Ok(figures)
}

/// What so many workers reach with messages of these times, for each time of a line's move.
fn computed(moves: &[Duration], micros: u64, times: &[Duration], workers: usize) -> Figure {
    let of = |instructions: u32| Duration::from_nanos((f64::from(instructions) * INSTRUCTION) as u64);
    let (command, produce, consume) = (of(COMMAND), of(PRODUCE), of(CONSUME));
    let outcomes: Vec<Outcome> = moves
        .iter()
        .map(|&line_move| {
            let costs = Costs { line_move, hold: HOLD, command, produce, consume };
            simulate(costs, times, workers, SLOTS_PER_WORKER * workers, BATCHES * workers)
        })
        .collect();
    let (part, share) = outcomes[0].busiest;
    let what = format!(
        "{workers} workers, messages of {micros} µs, computed; {} is busy for {:.0} %",
        part.name(),
        100.0 * share
    );
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let ideal = workers as f64 / (mean + produce).as_secs_f64();
    let figure = Figure::new(what, "batches/s", outcomes.iter().map(|done| done.batches_a_second).collect())
        .beside("workers that are never without work, computed", moves.iter().map(|_| ideal).collect());
    if (workers, micros) == GOAL { figure.ratio_should_be(Bound::AtLeast(0.95)) } else { figure }
}

/// The least time that a line takes from one core to another, in this much time: two threads change a word in
/// turns.
fn line_move(window: Duration) -> Duration {
    /// How often a thread changes the word before it reads the clock: a few microseconds, in which both
    /// threads may well run undisturbed.
    const TURNS: u32 = 20;
    if cores() < 2 {
        return USUAL_MOVE;
    }
    let (word, ended) = (&AtomicU32::new(0), &AtomicU32::new(0));
    let change = |turn: u32| {
        while word.load(Ordering::Acquire) != turn {
            if ended.load(Ordering::Relaxed) != 0 {
                return false;
            }
            std::hint::spin_loop();
        }
        word.store(turn.wrapping_add(1), Ordering::Release);
        true
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 1_u32;
            while change(turn) {
                turn = turn.wrapping_add(2);
            }
        });
        let (began, mut turn, mut least) = (Instant::now(), 0_u32, Duration::MAX);
        while began.elapsed() < window {
            let started = Instant::now();
            for _ in 0..TURNS {
                change(turn);
                turn = turn.wrapping_add(2);
            }
            least = least.min(started.elapsed() / (2 * TURNS));
        }
        ended.store(1, Ordering::Relaxed);
        if least < NO_MOVE { least } else { USUAL_MOVE }
    })
}
