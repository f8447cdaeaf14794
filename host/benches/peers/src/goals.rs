//! The goals, each a ratio to another peer in the same rounds.

use std::fmt::Write as _;

use serde::Serialize;

use crate::rounds::Results;
use crate::statistics::{Spread, short};
use crate::work::Work;

const RUST: &str = "cobuf-python, Rust plugins";
const IN_PLACE: &str = "cobuf-python, in place";
const LOOP: &str = "plain loop in Python";
const TURBO: &str = "cobuf, libjpeg-turbo";
const WHOLE_SLIDE_DATA: &str = "whole-slide-data, on concurrentbuffer";

/// A goal.
struct Goal {
    work: Work,
    row: &'static str,
    bound: Bound,
}

/// When a goal is reached, by medians.
enum Bound {
    /// The row is so many times as good as another, in the same round.
    Times(f64, &'static str),
    /// The row's value is no more than this.
    AtMost(f64),
}

/// All goals.
const GOALS: [Goal; 15] = [
    Goal { work: Work::Tiny, row: RUST, bound: Bound::Times(30.0, "concurrentbuffer, in order") },
    Goal { work: Work::Tiny, row: IN_PLACE, bound: Bound::Times(5.0, "concurrentbuffer, in order") },
    Goal { work: Work::Large, row: IN_PLACE, bound: Bound::Times(0.9, "cobuf, in order") },
    Goal { work: Work::First, row: IN_PLACE, bound: Bound::Times(1.0, "concurrentbuffer, in order, spawn") },
    Goal { work: Work::First, row: IN_PLACE, bound: Bound::Times(1.0, "torch, in order, spawn") },
    Goal { work: Work::Images, row: "cobuf, in order", bound: Bound::Times(0.97, "plain loop") },
    Goal { work: Work::Images, row: TURBO, bound: Bound::Times(0.97, "plain loop, libjpeg-turbo") },
    Goal { work: Work::Images, row: TURBO, bound: Bound::Times(1.5, "torch, Pillow draft") },
    Goal { work: Work::Images, row: TURBO, bound: Bound::Times(1.5, "torch, in order") },
    Goal { work: Work::Images, row: TURBO, bound: Bound::Times(1.5, "grain, in order") },
    Goal { work: Work::Images, row: TURBO, bound: Bound::Times(1.5, "concurrentbuffer, any order") },
    Goal { work: Work::Slides, row: IN_PLACE, bound: Bound::Times(0.97, LOOP) },
    Goal { work: Work::Slides, row: IN_PLACE, bound: Bound::Times(2.0, WHOLE_SLIDE_DATA) },
    Goal { work: Work::Memory, row: IN_PLACE, bound: Bound::AtMost(10.0) },
    Goal { work: Work::Interrupt, row: IN_PLACE, bound: Bound::AtMost(100.0) },
];

/// A goal beside what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    work: Work,
    goal: String,
    /// A ratio, or a value in the work's unit; none if one of the rows has no figure in this run.
    measured: Option<Spread>,
    is_reached: Option<bool>,
}

/// The goals of the works that were done.
pub(crate) fn outcomes(results: &[Results]) -> Vec<Outcome> {
    let of = |goal: &Goal| Some(outcome(goal, results.iter().find(|results| results.work == goal.work)?));
    GOALS.iter().filter_map(of).collect()
}

fn outcome(Goal { work, row, bound }: &Goal, results: &Results) -> Outcome {
    let (goal, measured, is_reached): (_, _, fn(f64, f64) -> bool) = match bound {
        Bound::Times(times, other) => (
            format!("{row}: at least {times} times as good as {other}"),
            results.ratio(row, other),
            |median, bound| median >= bound,
        ),
        Bound::AtMost(most) => {
            (format!("{row}: at most {most} {}", work.unit()), results.value(row), |median, bound| {
                median <= bound
            })
        }
    };
    let (Bound::Times(number, _) | Bound::AtMost(number)) = bound;
    Outcome { work: *work, goal, measured, is_reached: measured.map(|it| is_reached(it.median, *number)) }
}

/// The goals as a section of the report; empty if there are none.
pub(crate) fn markdown(outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return String::new();
    }
    let mut text = "## Goals\n\n| | goal | measured | reached |\n| --- | --- | --- | --- |\n".to_owned();
    for Outcome { work, goal, measured, is_reached } in outcomes {
        let measured = measured.map_or_else(
            || "not measured".to_owned(),
            |Spread { median, min, max }| format!("{} ({} to {})", short(median), short(min), short(max)),
        );
        let is_reached = is_reached.map_or("", |reached| if reached { "yes" } else { "no" });
        let _ = writeln!(text, "| {work} | {goal} | {measured} | {is_reached} |");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::tests::row;

    #[test]
    fn goal_is_compared_within_rounds() {
        let rows = vec![
            row("cobuf, in order", &[Some(1.0), Some(1.0)]),
            row(RUST, &[Some(2.0), Some(4.0)]),
            row("concurrentbuffer, in order", &[Some(80.0), Some(100.0)]),
        ];
        let outcomes = outcomes(&[Results { work: Work::Tiny, rows }]);
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[0].measured, Spread::of([40.0, 25.0]));
        assert_eq!(outcomes[0].is_reached, Some(true));
        assert_eq!((outcomes[1].measured, outcomes[1].is_reached), (None, None));
        let text = markdown(&outcomes);
        assert!(
            text.contains(
                "at least 30 times as good as concurrentbuffer, in order | 32.5 (25.0 to 40.0) | yes |"
            ),
            "{text}"
        );
        assert!(text.contains("| not measured |  |"), "{text}");
    }

    #[test]
    fn slides_are_held_to_a_plain_loop_and_to_whole_slide_data() {
        let rows = vec![
            row(IN_PLACE, &[Some(980.0), Some(960.0)]),
            row(LOOP, &[Some(1000.0), Some(1000.0)]),
            row(WHOLE_SLIDE_DATA, &[Some(560.0), Some(480.0)]),
        ];
        let outcomes = outcomes(&[Results { work: Work::Slides, rows }]);
        assert_eq!(
            outcomes[0].goal,
            "cobuf-python, in place: at least 0.97 times as good as plain loop in Python"
        );
        assert_eq!((outcomes[0].measured, outcomes[0].is_reached), (Spread::of([0.98, 0.96]), Some(true)));
        assert_eq!((outcomes[1].measured, outcomes[1].is_reached), (Spread::of([1.75, 2.0]), Some(false)));
    }

    #[test]
    fn cost_is_compared_with_its_bound() {
        let rows = vec![row(IN_PLACE, &[Some(12.0)])];
        let outcomes = outcomes(&[Results { work: Work::Memory, rows }]);
        assert_eq!(outcomes[0].goal, "cobuf-python, in place: at most 10 MB");
        assert_eq!(outcomes[0].is_reached, Some(false));
        assert_eq!(markdown(&[]), "");
    }
}
