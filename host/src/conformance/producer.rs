//! The tests of a producer.
//!
//! ```text
//!   produce ─► repeat ─► other-process ─► workers        the same message, the same bytes: here, there, at once
//!                  └───► every-element                   whatever was in the arrays before
//!   produce ─► bounds, leaks                             beside the arrays, behind the messages
//!   wrong-messages ─► panics                             messages that no commander of its own gives
//!   close, openings, stop                                the producer itself
//! ```

use cobuf_plugin_api::{Dictionary, ReportKind, Schema};

use super::declarations::{encode, told};
use super::fingerprint::difference;
use super::mutations::{self, Mutation};
use super::report::{Outcome, Verdict};
use super::room::{Course, Room};
use super::task::{Filled, Guard, Note, Run, Script, Soak, Task};
use super::{Subject, Tests, growth};
use crate::error::StartError;

/// What the arrays are filled with before: a run begins with zeros.
const ZEROS: u8 = 0;
/// What they are filled with to see whether it matters.
const ONES: u8 = 0xff;
/// How many messages each array's edges are tried with.
const EDGE_MESSAGES: usize = 3;
/// How many workers there are at once.
const WORKERS: u32 = 4;

/// What the tests build on: messages that the producer can do, and what it made of each at first.
#[derive(Default)]
struct Reference {
    schema: Option<Schema>,
    messages: Vec<Vec<u8>>,
    filled: Vec<Filled>,
    first: Option<Dictionary>,
}

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
        steady = verdict.outcome == Outcome::Passed;
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
    let title = "a wrong message is an error, or done, and the next one is as ever";
    tests.make("wrong-messages", title, &["configuration"], |subject| {
        let (verdict, found) = wrong_messages(subject, reference, steady)?;
        panicked = found;
        Ok(verdict)
    })?;
    let title = "after a panic another producer goes on in the same process";
    tests.make("panics", title, &["configuration"], |_| {
        Ok(panicked.unwrap_or_else(|| Verdict::skipped("no message that was tried makes it panic")))
    })?;
    tests.make("close", "it can be made and dropped", &["configuration"], |subject| {
        close(subject, reference)
    })?;
    let mut speed = None;
    tests.make("leaks", "messages leave nothing behind", &["produce"], |subject| {
        let (verdict, found) = leaks(subject, reference)?;
        speed = found;
        Ok(verdict)
    })?;
    tests.make("openings", "making and dropping it leaves nothing behind", &["close"], openings)?;
    let title = "it comes back where the host wants to stop";
    tests.make("stop", title, &["produce"], |subject| stop(subject, reference))?;
    tests.make("speed", "how long a message takes", &["produce"], |_| {
        Ok(speed.unwrap_or_else(|| Verdict::skipped("no message could be timed")))
    })
}

/// The run of a message as the host's first worker would do it.
fn plain(subject: &Subject<'_>, message: usize) -> Run {
    let run_seed = subject.settings.seed;
    Run { message, run_seed, garbage: ZEROS, guard: Guard::Nowhere, fresh: false }
}

fn examine(subject: &Subject<'_>, script: Script) -> Result<Course, StartError> {
    Room::open(subject)?.examine(Task::Produce(script))
}

/// What came of each run, up to where the process ended.
fn runs(course: &Course) -> impl Iterator<Item = &Result<Filled, cobuf_plugin_api::Report>> {
    course.notes.iter().filter_map(|note| if let Note::Ran(ran) = note { Some(ran) } else { None })
}

fn produce(subject: &Subject<'_>) -> Result<(Verdict, Reference), StartError> {
    let schema = declared(subject)?;
    let given = !subject.messages.is_empty();
    let mut messages = if given { subject.messages.clone() } else { vec![Dictionary::new()] };
    let mut problems = Vec::new();
    loop {
        let script = Script {
            messages: messages.iter().map(encode).collect(),
            runs: (0..messages.len()).map(|message| plain(subject, message)).collect(),
            ..Script::default()
        };
        let encoded = script.messages.clone();
        let course = examine(subject, script)?;
        if let Some(trouble) = course.trouble() {
            let number = runs(&course).count();
            let at = messages
                .get(number)
                .map_or_else(String::new, |message| format!("at the message {message}: "));
            return Ok((Verdict::failed(format!("{at}{trouble}")), Reference::default()));
        }
        let ran: Vec<_> = runs(&course).cloned().collect();
        let failed: Vec<usize> = (0..ran.len()).filter(|&index| ran[index].is_err()).collect();
        if failed.is_empty() {
            let verdict = Verdict::of(problems, format!("{} messages", messages.len()));
            let filled = ran.into_iter().flatten().collect();
            let first = messages.first().cloned();
            return Ok((verdict, Reference { schema, messages: encoded, filled, first }));
        }
        for &index in &failed {
            if let Err(report) = &ran[index] {
                problems
                    .push((Outcome::Failed, format!("the message {}: {}", messages[index], told(report))));
            }
        }
        // The others are produced again, under the numbers that they have then.
        messages = messages
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !failed.contains(index))
            .map(|(_, m)| m)
            .collect();
        if messages.is_empty() {
            let detail = match problems.first() {
                Some((_, problem)) if !given => {
                    format!("{problem}; give one that it can do with --message or --pipeline")
                }
                _ => Verdict::of(problems, "").detail,
            };
            let verdict = if given { Verdict::failed(detail) } else { Verdict::skipped(detail) };
            return Ok((verdict, Reference::default()));
        }
    }
}

fn declared(subject: &Subject<'_>) -> Result<Option<Schema>, StartError> {
    let course = Room::open(subject)?.examine(Task::Declare { configured: true })?;
    Ok(course.notes.into_iter().find_map(|note| match note {
        Note::Configured(Ok(schema)) => schema,
        _ => None,
    }))
}

impl Reference {
    /// A script with the messages, to be given its runs.
    fn script(&self, runs: Vec<Run>) -> Script {
        Script { messages: self.messages.clone(), runs, ..Script::default() }
    }

    /// What is not as it was before, in the runs of a course; also what went wrong with it.
    fn problems(
        &self,
        course: &Course,
        script: &[Run],
        against: Against,
        who: &str,
    ) -> Vec<(Outcome, String)> {
        let mut problems = Vec::new();
        for (index, (run, ran)) in script.iter().zip(runs(course)).enumerate() {
            let first = script.iter().position(|other| other.message == run.message).unwrap_or(index);
            let expected = match against {
                Against::Reference => self.filled.get(run.message),
                Against::Itself => runs(course).nth(first).and_then(|ran| ran.as_ref().ok()),
            };
            let problem = match (ran, &self.schema, expected) {
                (Ok(filled), Some(schema), Some(expected)) => difference(schema, expected, filled),
                (Err(report), ..) => Some(told(report)),
                _ => None,
            };
            problems.extend(
                problem.map(|what| (Outcome::Failed, format!("message {}{who}: {what}", run.message))),
            );
        }
        problems.extend(course.trouble().map(|trouble| (Outcome::Failed, trouble)));
        problems
    }
}

/// What the runs of a course are compared with.
#[derive(Clone, Copy)]
enum Against {
    /// What the first of all processes made of the message.
    Reference,
    /// What the same process made of it at first.
    Itself,
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

/// Gives also what came after panics, where there were any. Bytes are compared where they are always the same, `steady`.
fn wrong_messages(
    subject: &Subject<'_>,
    reference: &Reference,
    steady: bool,
) -> Result<(Verdict, Option<Verdict>), StartError> {
    let mutations = mutations::of_message(reference.first.as_ref());
    let schema = reference.schema.as_ref().filter(|_| steady);
    let mut seen = WrongMessages::default();
    let mut room = Room::open(subject)?;
    let mut rest = &mutations[..];
    while !rest.is_empty() {
        let course = room.examine(Task::Produce(wrong_script(subject, reference, rest)))?;
        let done = seen.read(rest, &course, !reference.messages.is_empty(), schema);
        rest = &rest[done.min(rest.len())..];
    }
    let WrongMessages { problems, after_panics, panics } = seen;
    let verdict = Verdict::of(problems, format!("{} wrong messages", mutations.len()));
    let contained = Verdict::of(after_panics, format!("{panics} panics contained"));
    Ok((verdict, (panics > 0).then_some(contained)))
}

/// A good message, each wrong one, and after each the good one again; without the good one where there is none.
fn wrong_script(subject: &Subject<'_>, reference: &Reference, wrong: &[Mutation]) -> Script {
    let good: Vec<Vec<u8>> = reference.messages.iter().take(1).cloned().collect();
    let again = |wrong: Option<usize>| wrong.into_iter().chain((!good.is_empty()).then_some(0));
    let numbers = (0..wrong.len()).map(|index| Some(good.len() + index));
    let runs = [None].into_iter().chain(numbers).flat_map(again);
    let runs = runs.map(|message| plain(subject, message)).collect();
    let messages = good.iter().cloned().chain(wrong.iter().map(|one| encode(&one.dictionary))).collect();
    Script { messages, runs, ..Script::default() }
}

/// What was seen of wrong messages.
#[derive(Default)]
struct WrongMessages {
    problems: Vec<(Outcome, String)>,
    after_panics: Vec<(Outcome, String)>,
    panics: usize,
}

impl WrongMessages {
    /// Reads a course of [`wrong_script`]; gives how many of its wrong messages are done, that included which ended the process.
    fn read(
        &mut self,
        wrong: &[Mutation],
        course: &Course,
        has_good: bool,
        schema: Option<&Schema>,
    ) -> usize {
        let mut ran = runs(course);
        let first = if has_good { ran.next().and_then(|ran| ran.as_ref().ok()) } else { None };
        let mut done = 0_usize;
        let mut panicked = false;
        for mutation in wrong {
            let Some(answer) = ran.next() else { break };
            done += 1;
            panicked = matches!(answer, Err(report) if report.kind == ReportKind::Panic);
            if let (Err(report), true) = (answer, panicked) {
                self.panics += 1;
                self.problems
                    .push((Outcome::Warned, format!("the message {}: {}", mutation.what, told(report))));
            }
            let Some(after) = has_good.then(|| ran.next()).flatten() else { continue };
            let problem = match (after, schema, first) {
                (Ok(filled), Some(schema), Some(first)) => difference(schema, first, filled),
                (Err(report), ..) => Some(told(report)),
                _ => None,
            };
            if let Some(problem) = problem {
                self.note_after(panicked, &mutation.what, &problem);
            }
        }
        let Some(trouble) = course.trouble() else { return wrong.len() };
        match done.checked_sub(1) {
            // After a panic, when another producer was to be made.
            Some(last) if panicked => {
                self.note_after(true, &wrong[last].what, &trouble);
                done
            }
            _ => {
                let what = wrong.get(done).map_or("after the last", |mutation| &mutation.what);
                self.problems.push((Outcome::Failed, format!("the message {what}: {trouble}")));
                done + 1
            }
        }
    }

    fn note_after(&mut self, panicked: bool, what: &str, problem: &str) {
        let all = if panicked { &mut self.after_panics } else { &mut self.problems };
        all.push((Outcome::Failed, format!("after the message {what}: {problem}")));
    }
}

fn close(subject: &Subject<'_>, reference: &Reference) -> Result<Verdict, StartError> {
    let runs: Vec<Run> = (0..reference.messages.len()).map(|message| plain(subject, message)).collect();
    let course = examine(subject, Script { close: true, ..reference.script(runs) })?;
    Ok(closed(&course))
}

/// Whether the plugin's object was dropped.
pub(super) fn closed(course: &Course) -> Verdict {
    match (course.trouble(), course.notes.last()) {
        (Some(trouble), _) => Verdict::failed(trouble),
        (None, Some(Note::Closed(Ok(())))) => Verdict::passed("dropped, without a word"),
        (None, Some(Note::Closed(Err(report)))) => Verdict::failed(told(report)),
        (None, other) => Verdict::failed(format!("it was not dropped, but said {other:?}")),
    }
}

fn leaks(subject: &Subject<'_>, reference: &Reference) -> Result<(Verdict, Option<Verdict>), StartError> {
    let course = Room::open(subject)?.examine(soak(subject, reference.messages.clone(), false))?;
    let Some(Note::Soaked(soaked)) = course.notes.first() else {
        return Ok((Verdict::failed(course.trouble().unwrap_or_default()), None));
    };
    let bytes = reference.schema.as_ref().map_or(0, Schema::bytes);
    let seconds = soaked.median_nanos as f64 / 1e9;
    let speed =
        format!("{}, {:.1} MB/s in one worker", time(soaked.median_nanos), bytes as f64 / 1e6 / seconds);
    Ok((growth::judge(soaked, "message"), Some(Verdict::passed(speed))))
}

/// `0.123 ms` of nanoseconds: the median of many.
pub(super) fn time(median_nanos: u64) -> String {
    format!("median {:.3} ms", median_nanos as f64 / 1e6)
}

/// Has an examiner do the same thing again and again.
pub(super) fn soak(subject: &Subject<'_>, messages: Vec<Vec<u8>>, opening: bool) -> Task {
    let window_millis = subject.settings.soak.as_millis() as u64;
    Task::Soak(Soak { messages, run_seed: subject.settings.seed, opening, window_millis })
}

/// Whether making and dropping leaves something behind: of either kind of plugin.
pub(super) fn openings(subject: &Subject<'_>) -> Result<Verdict, StartError> {
    let course = Room::open(subject)?.examine(soak(subject, Vec::new(), true))?;
    Ok(match course.notes.first() {
        Some(Note::Soaked(soaked)) => growth::judge(soaked, "opening"),
        _ => Verdict::failed(course.trouble().unwrap_or_default()),
    })
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
