//! Messages that no commander of the producer's own sends: each wrong one is between two good ones.

use cobuf_plugin_api::{ReportKind, Schema};

use super::reference::{Reference, plain, runs};
use crate::conformance::declarations::{encode, told};
use crate::conformance::mutations::{self, Mutation};
use crate::conformance::report::{Outcome, Verdict};
use crate::conformance::room::{Course, Room};
use crate::conformance::subject::Subject;
use crate::host::error::StartError;
use crate::protocol::examination::{Script, Task};
use crate::protocol::fingerprint::difference;

/// Also returns the verdict on what followed panics, if there were any. Bytes are compared only if
/// they are `steady`, that is always the same.
pub(super) fn wrong_messages(
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

/// A good message, then each wrong one followed by the good one again; only the wrong ones if there
/// is no good one.
fn wrong_script(subject: &Subject<'_>, reference: &Reference, wrong: &[Mutation]) -> Script {
    let good: Vec<Vec<u8>> = reference.messages.iter().take(1).cloned().collect();
    let again = |wrong: Option<usize>| wrong.into_iter().chain((!good.is_empty()).then_some(0));
    let numbers = (0..wrong.len()).map(|index| Some(good.len() + index));
    let runs = [None].into_iter().chain(numbers).flat_map(again);
    let runs = runs.map(|message| plain(subject, message)).collect();
    let messages = good.iter().cloned().chain(wrong.iter().map(|one| encode(&one.dictionary))).collect();
    Script { messages, runs, ..Script::default() }
}

/// The results of wrong messages.
#[derive(Default)]
struct WrongMessages {
    problems: Vec<(Outcome, String)>,
    after_panics: Vec<(Outcome, String)>,
    panics: usize,
}

impl WrongMessages {
    /// Reads a course of [`wrong_script`]; returns how many of its wrong messages are done,
    /// including one that ended the process.
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
            // The process failed after a panic, when another producer was to be made.
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
