//! The tests of a producer.
//!
//! ```text
//!   produce ─► repeat ─► other-process ─► workers   the same message gives the same bytes
//!                  └───► every-element              whatever was in the arrays before
//!   produce ─► bounds, leaks                        nothing beside the arrays, nothing left behind
//!   wrong-messages ─► panics                        messages that no commander of its own sends
//!   close, openings, stop                           the producer itself
//! ```
//!
//! `reference` has the results that the tests compare with, and the way to ask for runs;
//! `wrong_messages` has the tests of that line.

mod reference;
mod wrong_messages;

use self::reference::{Against, Reference, ZEROS, examine, produce};
pub(super) use self::reference::{plain, runs};
use self::wrong_messages::wrong_messages;
use super::declarations::told;
use super::growth;
use super::lifecycle::{closed, openings, soak, time};
use super::report::{Outcome, Verdict};
use super::room::Room;
use super::subject::{Subject, Tests};
use crate::host::error::StartError;
use crate::protocol::examination::{Guard, Note, Run, Script, Task};
use crate::protocol::fingerprint::bytes;

/// The second value with which arrays are filled, to see whether their old content matters.
const ONES: u8 = 0xff;
/// With how many messages each array's edges are tested.
const EDGE_MESSAGES: usize = 3;
/// How many workers run at the same time.
const WORKERS: u32 = 4;

pub(super) fn test(tests: &mut Tests<'_>) -> Result<(), StartError> {
    let mut reference = Reference::default();
    tests.make("produce", "it produces the messages", &["configuration"], |subject| {
        let (verdict, found) = produce(subject)?;
        reference = found;
        Ok(verdict)
    })?;
    let (reference, mut panicked, mut steady) = (&reference, None, false);
    let title = "a message gives the same bytes each time, in any order";
    tests.make("repeat", title, &["produce"], |subject| {
        let verdict = repeat(subject, reference)?;
        steady = verdict.outcome != Outcome::Failed;
        Ok(verdict)
    })?;
    let title = "a message gives the same bytes in another process, as another worker, at another attempt";
    tests.make("other-process", title, &["repeat"], |subject| other_process(subject, reference))?;
    let title = "several workers at once give the same bytes";
    tests.make("workers", title, &["other-process"], |subject| workers(subject, reference))?;
    let title = "every element is written, whatever was there before";
    tests.make("every-element", title, &["repeat"], |subject| every_element(subject, reference))?;
    tests.make("bounds", "nothing is written beside the arrays", &["produce"], |subject| {
        bounds(subject, reference)
    })?;
    let title = "a wrong message is an error or a batch, and does not change the next one";
    tests.make("wrong-messages", title, &["configuration"], |subject| {
        let (verdict, found) = wrong_messages(subject, reference, steady)?;
        panicked = found;
        Ok(verdict)
    })?;
    let title = "after a panic another producer works in the same process";
    tests.make("panics", title, &["configuration"], |_| {
        Ok(panicked.unwrap_or_else(|| Verdict::skipped("no message that was tried makes it panic")))
    })?;
    tests.make("close", "it can be constructed and dropped", &["configuration"], |subject| {
        close(subject, reference)
    })?;
    let mut speed = None;
    tests.make("leaks", "messages leave nothing behind", &["produce"], |subject| {
        let (verdict, found) = leaks(subject, reference)?;
        speed = found;
        Ok(verdict)
    })?;
    tests.make("openings", "constructing and dropping it leaves nothing behind", &["close"], openings)?;
    let title = "it returns when the host wants to stop";
    tests.make("stop", title, &["produce"], |subject| stop(subject, reference))?;
    tests.make("speed", "how long a message takes", &["produce"], |_| {
        Ok(speed.unwrap_or_else(|| Verdict::skipped("no message could be timed")))
    })
}

fn repeat(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let count = reference.messages.len();
    let again = (0..2 * count).map(|index| plain(subject, index % count));
    let reversed = (0..count).rev().map(|message| plain(subject, message));
    let fresh = (0..count).rev().map(|message| Run { fresh: true, ..plain(subject, message) });
    let mut script: Vec<Run> = again.chain(reversed).chain(fresh).collect();
    let same = script.len();
    let run_seed = subject.settings.seed.wrapping_add(1);
    script.extend((0..count).map(|message| Run { run_seed, ..plain(subject, message) }));
    let course = examine(subject, reference.script(script.clone()))?;
    let problems = reference.problems(&course, &script[..same], Against::Itself, "");
    let other = runs(&course).skip(same).zip(runs(&course));
    let differs = other.filter(|pair| matches!(pair, (Ok(ran), Ok(before)) if ran.blocks != before.blocks));
    let differs = differs.count();
    Ok(Verdict::of(
        problems,
        format!("{count} messages, {same} runs; another seed gives other bytes for {differs} of them"),
    ))
}

fn other_process(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let runs: Vec<Run> = (0..reference.messages.len()).rev().map(|message| plain(subject, message)).collect();
    let (worker, incarnation, attempt) = (5, 3, 1);
    let script = Script { worker, incarnation, attempt, ..reference.script(runs.clone()) };
    let course = examine(subject, script)?;
    Ok(Verdict::of(
        reference.problems(&course, &runs, Against::Reference, ""),
        format!("{} messages", runs.len()),
    ))
}

fn workers(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let runs: Vec<Run> = (0..reference.messages.len()).map(|message| plain(subject, message)).collect();
    let script = |worker| Task::Produce(Script { worker, ..reference.script(runs.clone()) });
    let courses = Room::open(subject)?.examine_at_once((0..WORKERS).map(script).collect())?;
    let problems = courses.iter().enumerate().flat_map(|(worker, course)| {
        reference.problems(course, &runs, Against::Reference, &format!(" of worker {worker}"))
    });
    Ok(Verdict::of(problems.collect(), format!("{WORKERS} workers, {} messages each", runs.len())))
}

fn every_element(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let runs: Vec<Run> = (0..reference.messages.len())
        .flat_map(|message| [ZEROS, ONES].map(|garbage| Run { garbage, ..plain(subject, message) }))
        .collect();
    let course = examine(subject, reference.script(runs.clone()))?;
    let problems =
        reference.problems(&course, &runs, Against::Itself, " depends on what was in the arrays before");
    Ok(Verdict::of(problems, "the same over zeros and over ones"))
}

fn bounds(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let Some(schema) = &reference.schema else { return Ok(Verdict::skipped("it has no schema")) };
    let arrays = schema.arrays();
    let messages = reference.messages.len().min(EDGE_MESSAGES);
    let guards = (0..arrays.len()).flat_map(|array| [Guard::Behind(array), Guard::Before(array)]);
    let runs_wanted: Vec<Run> = guards
        .flat_map(|guard| (0..messages).map(move |message| (guard, message)))
        .map(|(guard, message)| Run { guard, ..plain(subject, message) })
        .collect();
    let course = examine(subject, reference.script(runs_wanted.clone()))?;
    let mut problems = Vec::new();
    for ran in runs(&course).flatten() {
        for overrun in &ran.overruns {
            let side = if overrun.before { "before" } else { "behind" };
            let name = arrays[overrun.array].name();
            let what = format!("it writes {side} array {name:?}, {} bytes from it", overrun.distance);
            if !problems.contains(&(Outcome::Failed, what.clone())) {
                problems.push((Outcome::Failed, what));
            }
        }
    }
    if let Some(trouble) = course.trouble() {
        let place = match runs_wanted.get(runs(&course).count()).map(|run| run.guard) {
            Some(Guard::Behind(array)) => {
                format!("with a guard page behind array {:?}: ", arrays[array].name())
            }
            Some(Guard::Before(array)) => {
                format!("with a guard page before array {:?}: ", arrays[array].name())
            }
            _ => String::new(),
        };
        problems.push((Outcome::Failed, format!("{place}{trouble}")));
    }
    Ok(Verdict::of(problems, format!("{} arrays, both ends, against guard pages", arrays.len())))
}

fn close(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let runs: Vec<Run> = (0..reference.messages.len()).map(|message| plain(subject, message)).collect();
    let course = examine(subject, Script { close: true, ..reference.script(runs) })?;
    Ok(closed(&course))
}

fn leaks(subject: &Subject<'_>, reference: &Reference) -> Result<(Verdict, Option<Verdict>), StartError> {
    let course = Room::open(subject)?.examine(soak(subject, reference.messages.clone(), false))?;
    let Some(Note::Soaked(soaked)) = course.notes.first() else {
        return Ok((Verdict::failed(course.trouble().unwrap_or_default()), None));
    };
    let of_all =
        reference.schema.iter().flat_map(|schema| reference.filled.iter().map(|one| bytes(schema, one)));
    let bytes = of_all.sum::<usize>() / reference.filled.len().max(1);
    let seconds = soaked.median_nanos as f64 / 1e9;
    let speed =
        format!("{}, {:.1} MB/s in one worker", time(soaked.median_nanos), bytes as f64 / 1e6 / seconds);
    Ok((growth::judge(soaked, "message"), Some(Verdict::passed(speed))))
}

fn stop(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let script = Script { stopping: true, close: true, ..reference.script(vec![plain(subject, 0)]) };
    let course = examine(subject, script)?;
    let said = runs(&course).next().map(|ran| match ran {
        Ok(_) => "it finishes the message".to_owned(),
        Err(report) => format!("it gives the message up: {}", told(report)),
    });
    Ok(match course.trouble() {
        Some(trouble) => Verdict::failed(trouble),
        None => Verdict::passed(said.unwrap_or_default()),
    })
}
