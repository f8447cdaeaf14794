//! Figures of runs with one limit each, and their verdicts.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::stream::figures::{Occupancy, WorkerFigures};

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn worker(produced: u64, busy: f64, wait: f64) -> WorkerFigures {
    WorkerFigures { produced, busy: seconds(busy), wait: seconds(wait), ..WorkerFigures::default() }
}

/// Ten seconds of a run, in which the application waited for so long, and the commander.
fn run(consumer_wait: f64, commander_wait: f64, by_worker: &[WorkerFigures]) -> Figures {
    Figures {
        elapsed: seconds(10.0),
        delivered: by_worker.iter().map(|worker| worker.produced).sum(),
        consumer_wait: seconds(consumer_wait),
        commander_wait: seconds(commander_wait),
        workers: by_worker.len(),
        by_worker: by_worker.to_vec(),
        slots: Occupancy { free: 0, writing: 4, ready: 4, reading: 0 },
        cpus: 2,
        ordered: true,
        ..Figures::default()
    }
}

/// Of each part that can limit a run, figures that say so, and a part of the sentence.
fn limited() -> Vec<(LimitedBy, Figures, &'static str)> {
    let (idle, full) = (worker(1000, 1.0, 9.0), worker(1000, 9.8, 0.1));
    let dying = WorkerFigures { lost: seconds(6.0), ..worker(100, 3.0, 0.5) };
    let memory = Figures { batch_bytes: 100_000_000, ..run(9.0, 9.9, &[full, full]) };
    let submitting = Figures { application_commands: true, ..run(9.0, 0.0, &[idle, idle]) };
    let held = Occupancy { free: 0, writing: 1, ready: 0, reading: 3 };
    let deadly = Figures { worker_restarts: 14, timeouts: 3, ..run(9.0, 9.9, &[dying, dying]) };
    vec![
        (LimitedBy::Consumer, run(0.2, 9.9, &[idle, idle]), "a faster loader would not help"),
        (LimitedBy::Commander, run(9.5, 0.0, &[idle, idle]), "it took 5.0 ms a message)"),
        (LimitedBy::Submissions, submitting, "submit messages earlier"),
        (
            LimitedBy::Producers,
            run(7.1, 9.9, &[full, full]),
            "waited 71 % of the time, the workers were busy 98 %",
        ),
        (LimitedBy::Slots, run(5.0, 9.9, &[worker(900, 4.0, 6.0), worker(900, 4.0, 6.0)]), "(8 now)"),
        (LimitedBy::Slots, Figures { slots: held, ..run(9.0, 9.9, &[idle, idle]) }, "it held 3 of 4 slots"),
        (
            LimitedBy::Straggler,
            run(9.0, 9.0, &[idle, worker(200, 9.9, 0.1)]),
            "took 50 ms a batch, the others 1.0 ms",
        ),
        (LimitedBy::Memory, memory, "the workers wrote 10.2 GB/s on each CPU"),
        (LimitedBy::Deaths, deadly, "started again 14 times, 3 for a missed deadline"),
    ]
}

#[test]
fn each_limit_has_its_verdict_and_its_sentence() {
    for (expected, figures, part) in limited() {
        let verdict = figures.verdict();
        assert_eq!(verdict.limited_by, expected, "{verdict}");
        let text = verdict.to_string();
        assert!(text.contains(part), "{text}");
        assert_eq!(verdict.worker.is_some(), expected == LimitedBy::Straggler, "{text}");
    }
}

#[test]
fn verdict_is_the_same_for_longer_runs_with_the_same_shares() {
    for (expected, figures, _) in limited() {
        let twice = |time: Duration| time * 2;
        let mut longer = Figures {
            elapsed: twice(figures.elapsed),
            consumer_wait: twice(figures.consumer_wait),
            commander_wait: twice(figures.commander_wait),
            delivered: figures.delivered * 2,
            ..figures.clone()
        };
        for worker in &mut longer.by_worker {
            let WorkerFigures { produced, busy, wait, lost, .. } = *worker;
            *worker = WorkerFigures {
                produced: produced * 2,
                busy: twice(busy),
                wait: twice(wait),
                lost: twice(lost),
                ..*worker
            };
        }
        assert_eq!(longer.verdict().limited_by, expected);
        assert_eq!(longer.since(&figures).verdict().limited_by, expected, "in the second half");
    }
}

#[test]
fn application_that_never_asked_is_the_limit() {
    assert_eq!(Figures::default().verdict().limited_by, LimitedBy::Consumer);
    assert_eq!(run(0.0, 9.9, &[worker(8, 0.1, 9.9)]).verdict().limited_by, LimitedBy::Consumer);
}

#[test]
fn replay_tells_what_the_application_takes() {
    let mut figures = run(0.0, 0.0, &[worker(0, 0.0, 10.0)]);
    (figures.replays, figures.delivered) = (true, 1234);
    let expected =
        "limited by consumer: your application takes at most 123.4 batches/s, whatever the loader does";
    assert_eq!(figures.verdict().to_string(), expected);
}

#[test]
fn application_that_takes_turns_with_the_workers_submits_too_little() {
    // One message at a time: the only busy worker is busy all the time.
    let one = Figures { application_commands: true, ..run(9.0, 0.0, &[worker(1000, 9.5, 0.4)]) };
    assert_eq!(one.verdict().limited_by, LimitedBy::Producers);
    let two = Figures {
        application_commands: true,
        ..run(9.0, 0.0, &[worker(500, 4.8, 5.0), worker(500, 4.8, 5.0)])
    };
    assert_eq!(two.verdict().limited_by, LimitedBy::Submissions);
}

#[test]
fn straggler_counts_if_it_costs_something() {
    let (fast, slow) = (worker(9800, 9.8, 0.1), worker(100, 9.8, 0.1));
    let any_order = |workers: &[WorkerFigures]| Figures { ordered: false, ..run(9.0, 9.9, workers) };
    assert_eq!(any_order(&[slow, fast]).verdict().worker, Some(0));
    // One of sixteen brings little.
    let many: Vec<WorkerFigures> = [vec![fast; 15], vec![slow]].concat();
    assert_eq!(any_order(&many).verdict().limited_by, LimitedBy::Producers);
    // Twice as slow may be the scheduler's doing, and two messages no mean.
    assert_eq!(any_order(&[fast, worker(3300, 9.8, 0.1)]).verdict().limited_by, LimitedBy::Producers);
    assert_eq!(any_order(&[fast, worker(2, 9.8, 0.1)]).verdict().limited_by, LimitedBy::Producers);
}

#[test]
fn worker_at_which_an_ordered_run_stands_still_is_named() {
    let figures = run(10.0, 10.0, &[worker(2, 0.1, 9.9), worker(0, 10.0, 0.0)]);
    assert_eq!(figures.verdict().worker, Some(1));
    // With one slot it is the only one that can work.
    let slots = Occupancy { free: 0, writing: 1, ready: 0, reading: 0 };
    assert_eq!(Figures { slots, ..figures }.verdict().limited_by, LimitedBy::Slots);
}

#[test]
fn death_that_holds_up_an_ordered_run_is_the_limit() {
    let (waits, hung) =
        (worker(100, 0.5, 9.5), WorkerFigures { lost: seconds(8.0), ..worker(100, 0.5, 1.0) });
    let figures = run(9.0, 9.0, &[vec![waits; 7], vec![hung]].concat());
    assert_eq!(figures.verdict().limited_by, LimitedBy::Deaths);
}

#[test]
fn more_workers_than_cpus_do_not_hide_that_memory_is_the_limit() {
    let all = vec![worker(25, 9.9, 0.1); 16];
    let figures = Figures { batch_bytes: 200_000_000, ..run(9.0, 9.9, &all) };
    assert_eq!(figures.verdict().limited_by, LimitedBy::Memory);
    assert_eq!(Figures { cpus: 16, ..figures }.verdict().limited_by, LimitedBy::Producers);
}

#[test]
fn memory_is_the_limit_also_of_workers_that_seldom_get_a_cpu() {
    let starved = WorkerFigures { running: seconds(1.0), queued: seconds(8.5), ..worker(100, 9.9, 0.1) };
    let figures = Figures { batch_bytes: 100_000_000, ..run(9.0, 9.9, &[starved, starved]) };
    assert_eq!(figures.verdict().limited_by, LimitedBy::Memory);
    // Of workers that wait for a disk, it is not.
    let waiting = WorkerFigures { queued: seconds(0.1), ..starved };
    let figures = Figures { by_worker: vec![waiting; 2], ..figures };
    assert_eq!(figures.verdict().limited_by, LimitedBy::Producers);
}

proptest! {
    /// Whatever a plugin has written over the counters, there is a verdict.
    #[test]
    fn any_figures_have_a_verdict(
        times in prop::array::uniform3(any::<u64>()),
        workers in prop::collection::vec(prop::array::uniform6(any::<u64>()), 0..5),
        numbers in prop::array::uniform8(any::<usize>()),
        choices in any::<[bool; 3]>(),
    ) {
        let [elapsed, consumer_wait, commander_wait] = times.map(Duration::from_nanos);
        let figures = Figures {
            elapsed,
            consumer_wait,
            commander_wait,
            delivered: numbers[0] as u64,
            workers: numbers[1],
            by_worker: workers.iter().map(|&[produced, busy, wait, lost, running, queued]| WorkerFigures {
                produced,
                busy: Duration::from_nanos(busy),
                wait: Duration::from_nanos(wait),
                lost: Duration::from_nanos(lost),
                running: Duration::from_nanos(running),
                queued: Duration::from_nanos(queued),
            }).collect(),
            worker_restarts: numbers[2] as u64,
            slots: Occupancy { free: numbers[3] / 8, writing: numbers[4] / 8, ready: numbers[5] / 8, reading: numbers[6] / 8 },
            batch_bytes: numbers[7] as u64,
            ordered: choices[0],
            application_commands: choices[1],
            replays: choices[2],
            ..Figures::default()
        };
        let verdict = figures.verdict();
        prop_assert!((0.0..=1.0).contains(&verdict.waited));
        prop_assert!(verdict.worker.is_none_or(|worker| worker < figures.by_worker.len()));
        prop_assert!(!verdict.sentence.contains("NaN"), "{}", verdict);
        prop_assert_eq!(figures.since(&figures).verdict().limited_by, LimitedBy::Consumer);
    }
}
