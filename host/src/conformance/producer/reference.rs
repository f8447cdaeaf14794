//! The messages that a producer can do, and the first result for each, with which the other tests
//! compare theirs.

use cobuf_plugin_api::{Dictionary, Report, Schema};

use crate::conformance::declarations::{encode, told};
use crate::conformance::report::{Outcome, Verdict};
use crate::conformance::room::{Course, Room};
use crate::conformance::subject::Subject;
use crate::host::error::StartError;
use crate::protocol::examination::{Filled, Guard, Note, Run, Script, Task};
use crate::protocol::fingerprint::difference;

/// The value with which the arrays are filled before a plain run.
pub(super) const ZEROS: u8 = 0;

/// The advice on metadata that differ. That is no fault: a time that a part took is always another.
const METADATA: &str = "if that is a time or a process number, nothing need be done; \
                        leave it out of values that are compared between runs";

/// The messages that the producer can do, and the first result for each.
#[derive(Default)]
pub(super) struct Reference {
    pub(super) schema: Option<Schema>,
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) filled: Vec<Filled>,
    pub(super) first: Option<Dictionary>,
}

impl Reference {
    /// A script with these messages and the given runs.
    pub(super) fn script(&self, runs: Vec<Run>) -> Script {
        Script { messages: self.messages.clone(), runs, ..Script::default() }
    }

    /// The differences between the runs of a course and the expected results, and what went wrong
    /// with the course.
    pub(super) fn problems(
        &self,
        course: &Course,
        script: &[Run],
        against: Against,
        who: &str,
    ) -> Vec<(Outcome, String)> {
        let mut problems = Vec::new();
        let mut metadata_differ = false;
        for (index, (run, ran)) in script.iter().zip(runs(course)).enumerate() {
            let first = script.iter().position(|other| other.message == run.message).unwrap_or(index);
            let expected = match against {
                Against::Reference => self.filled.get(run.message),
                Against::Itself => runs(course).nth(first).and_then(|ran| ran.as_ref().ok()),
            };
            let problem = match (ran, &self.schema, expected) {
                (Ok(filled), Some(schema), Some(expected)) => {
                    metadata_differ |= filled.metadata != expected.metadata;
                    difference(schema, expected, filled)
                }
                (Err(report), ..) => Some(told(report)),
                _ => None,
            };
            problems.extend(
                problem.map(|what| (Outcome::Failed, format!("message {}{who}: {what}", run.message))),
            );
        }
        if metadata_differ {
            problems.push((Outcome::Warned, format!("the metadata{who} differ: {METADATA}")));
        }
        problems.extend(course.trouble().map(|trouble| (Outcome::Failed, trouble)));
        problems
    }
}

/// The results with which the runs of a course are compared.
#[derive(Clone, Copy)]
pub(super) enum Against {
    /// The first process's result for the message.
    Reference,
    /// The same process's first result for the message.
    Itself,
}

pub(super) fn produce(subject: &Subject<'_>) -> Result<(Verdict, Reference), StartError> {
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
        // The other messages are produced again, under their new numbers.
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

/// The run of a message as the host's first worker would do it.
pub(crate) fn plain(subject: &Subject<'_>, message: usize) -> Run {
    let run_seed = subject.settings.seed;
    Run { message, run_seed, garbage: ZEROS, guard: Guard::Nowhere, fresh: false }
}

pub(super) fn examine(subject: &Subject<'_>, script: Script) -> Result<Course, StartError> {
    Room::open(subject)?.examine(Task::Produce(script))
}

/// The result of each run, up to the end of the process.
pub(crate) fn runs(course: &Course) -> impl Iterator<Item = &Result<Filled, Report>> {
    course.notes.iter().filter_map(|note| if let Note::Ran(ran) = note { Some(ran) } else { None })
}
