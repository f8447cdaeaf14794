//! The tests of a commander.
//!
//! ```text
//!   commands ─► repeat ─► skip            skips to a message, and continues from there
//!                   └───► resume          continues from a state that another commander saved
//!   state-version, total, close, leaks, openings, stop
//! ```

use cobuf_plugin_api::{Dictionary, Report, ReportKind, SavedState};

use super::declarations::told;
use super::growth;
use super::lifecycle::{closed, openings, soak, time};
use super::report::{Outcome, Verdict};
use super::room::{Course, Room};
use super::subject::{Subject, Tests};
use crate::host::error::StartError;
use crate::plugin::PluginError;
use crate::protocol::examination::{Given, Note, Step, Task};

/// How many messages are compared.
const MESSAGES: u64 = 64;
/// The most messages that are asked for to find the end.
const MOST_MESSAGES: u64 = 100_000;
/// A version of a state that no commander has.
const STRANGE_VERSION: u32 = 0xffff_fff0;

const OPEN: Step = Step::Open { stopping: false };

pub(super) fn test(tests: &mut Tests<'_>) -> Result<(), StartError> {
    let mut digests = Vec::new();
    let title = "its messages are dictionaries and fit into a slot";
    tests.make("commands", title, &["configuration"], |subject| {
        let (verdict, found) = commands(subject)?;
        digests = found;
        Ok(verdict)
    })?;
    let digests = &digests[..];
    let title = "the same seed gives the same messages, here and in another process";
    tests.make("repeat", title, &["commands"], |subject| repeat(subject, digests))?;
    let title = "it gives as many messages as it says";
    tests.make("total", title, &["commands"], total)?;
    let title = "after a skip it continues as if it had given all messages before";
    tests.make("skip", title, &["repeat"], |subject| skip(subject, digests))?;
    let mut saved = None;
    let title = "another one continues from a saved state as it would itself";
    tests.make("resume", title, &["repeat"], |subject| {
        let (verdict, found) = resume(subject, digests)?;
        saved = found;
        Ok(verdict)
    })?;
    let title = "a saved state of another version is an error";
    tests.make("state-version", title, &["configuration"], |subject| state_version(subject, saved))?;
    tests.make("close", "it can be constructed and dropped", &["commands"], |subject| {
        let course = command(subject, vec![OPEN, Step::Next(0), Step::Close])?;
        Ok(closed(&course))
    })?;
    let mut speed = None;
    tests.make("leaks", "messages leave nothing behind", &["commands"], |subject| {
        let course = Room::open(subject)?.examine(soak(subject, Vec::new(), false))?;
        let Some(Note::Soaked(soaked)) = course.notes.first() else {
            return Ok(Verdict::failed(course.trouble().unwrap_or_default()));
        };
        speed = Some(Verdict::passed(time(soaked.median_nanos)));
        Ok(growth::judge(soaked, "message"))
    })?;
    tests.make("openings", "constructing and dropping it leaves nothing behind", &["close"], openings)?;
    tests.make("stop", "it returns when the host wants to stop", &["commands"], |subject| {
        let course = command(subject, vec![Step::Open { stopping: true }, Step::Next(0), Step::Close])?;
        Ok(course.trouble().map_or_else(|| Verdict::passed("it returns"), Verdict::failed))
    })?;
    tests.make("speed", "how long a message takes", &["commands"], |_| {
        Ok(speed.unwrap_or_else(|| Verdict::skipped("no message could be timed")))
    })
}

/// The first messages of a commander. Runs it in a process.
pub(super) fn first_messages(subject: &Subject<'_>, most: u64) -> Result<Vec<Dictionary>, StartError> {
    let course = command(subject, walk(0, most))?;
    let failed = |how: String| {
        let manifest = &subject.file.manifest;
        let (kind, plugin) = (manifest.kind, manifest.name.clone());
        StartError::Plugin(PluginError::Setup {
            kind,
            plugin,
            source: Report::from_host(ReportKind::Error, how),
        })
    };
    if let Some(trouble) = course.trouble() {
        return Err(failed(trouble));
    }
    let mut messages = Vec::new();
    for note in course.notes {
        match note {
            Note::Commanded(Ok(Some(Given { message: Some(message), .. }))) => messages.push(message),
            Note::Commanded(Ok(None)) => break,
            Note::Commanded(Ok(Some(given))) => {
                return Err(failed(format!(
                    "its message of {} bytes is not a dictionary, or too large to be sent to the host",
                    given.bytes
                )));
            }
            Note::Constructed(Err(report)) | Note::Commanded(Err(report)) => {
                return Err(failed(told(&report)));
            }
            _ => {}
        }
    }
    Ok(messages)
}

fn command(subject: &Subject<'_>, steps: Vec<Step>) -> Result<Course, StartError> {
    Room::open(subject)?.examine(Task::Command(steps))
}

/// The steps that make a commander and ask it for these messages.
fn walk(from: u64, to: u64) -> Vec<Step> {
    [OPEN].into_iter().chain((from..to).map(Step::Next)).collect()
}

/// The digests of the messages in a course, up to the end of the stream; or what went wrong.
fn digests_of(course: &Course) -> Result<Vec<u64>, String> {
    let mut digests = Vec::new();
    for note in &course.notes {
        match note {
            Note::Commanded(Ok(Some(given))) => digests.push(given.digest),
            Note::Commanded(Err(report))
            | Note::Moved(Err(report))
            | Note::Saved(Err(report))
            | Note::Constructed(Err(report)) => return Err(told(report)),
            _ => {}
        }
    }
    course.trouble().map_or(Ok(digests), Err)
}

fn commands(subject: &Subject<'_>) -> Result<(Verdict, Vec<u64>), StartError> {
    let course = command(subject, walk(0, MESSAGES))?;
    let digests = match digests_of(&course) {
        Ok(digests) => digests,
        Err(trouble) => return Ok((Verdict::failed(trouble), Vec::new())),
    };
    let capacity = subject.settings.message_capacity;
    let (mut problems, mut most) = (Vec::new(), 0);
    let given = course.notes.iter().filter_map(|note| match note {
        Note::Commanded(Ok(given)) => given.as_ref(),
        _ => None,
    });
    for (sequence, given) in given.enumerate() {
        most = most.max(given.bytes);
        problems.extend(
            given.wrong.iter().map(|wrong| (Outcome::Failed, format!("message {sequence}: {wrong}"))),
        );
        if given.bytes > capacity {
            let what =
                format!("message {sequence} has {} bytes, a slot has room for {capacity}", given.bytes);
            problems.push((Outcome::Failed, what));
        }
    }
    if digests.is_empty() {
        return Ok((
            Verdict::skipped("it has no message for this configuration; give another with --config"),
            digests,
        ));
    }
    Ok((Verdict::of(problems, format!("{} messages, at most {most} bytes", digests.len())), digests))
}

/// Compares the messages of a course with those of the reference from `first` on.
fn compare(course: &Course, expected: &[u64], first: usize, how: &str) -> Vec<(Outcome, String)> {
    let found = match digests_of(course) {
        Ok(found) => found,
        Err(trouble) => return vec![(Outcome::Failed, format!("{how}: {trouble}"))],
    };
    let expected = &expected[first..];
    let differs = (0..expected.len().max(found.len())).find(|&index| expected.get(index) != found.get(index));
    let told = differs.map(|index| match (expected.get(index), found.get(index)) {
        (Some(_), None) => format!("{how}: message {} is missing", first + index),
        (None, Some(_)) => format!("{how}: there is a message {}, after the end", first + index),
        _ => format!("{how}: message {} is another one", first + index),
    });
    told.map(|what| (Outcome::Failed, what)).into_iter().collect()
}

fn repeat(subject: &Subject<'_>, digests: &[u64]) -> Result<Verdict, StartError> {
    let mut room = Room::open(subject)?;
    let count = digests.len() as u64;
    let other = room.examine(Task::Command(walk(0, count)))?;
    let mut problems = compare(&other, digests, 0, "in another process");
    let twice = room.examine(Task::Command([walk(0, count), walk(0, count)].concat()))?;
    problems.extend(compare(&twice, &[digests, digests].concat(), 0, "made twice in one process"));
    Ok(Verdict::of(problems, format!("{count} messages")))
}

fn total(subject: &Subject<'_>) -> Result<Verdict, StartError> {
    let millis = subject.settings.patience().as_millis() as u64;
    let course = Room::open(subject)?.examine(Task::Walk { most: MOST_MESSAGES, millis })?;
    Ok(match course.notes.first() {
        Some(&Note::Walked { count, ended, total: Some(total) }) => {
            if count > total || (ended && count != total) {
                let more = if ended { "" } else { " and more" };
                Verdict::failed(format!("it says {total} messages, and gives {count}{more}"))
            } else if ended {
                Verdict::passed(format!("{total} messages"))
            } else {
                Verdict::passed(format!("it says {total} messages, of which {count} were asked for"))
            }
        }
        Some(Note::Walked { count, ended: true, .. }) => {
            Verdict::passed(format!("it does not say how many; it gives {count}"))
        }
        Some(Note::Walked { .. }) => Verdict::passed("it does not say how many"),
        _ => Verdict::failed(course.trouble().unwrap_or_default()),
    })
}

fn skip(subject: &Subject<'_>, digests: &[u64]) -> Result<Verdict, StartError> {
    let count = digests.len();
    let middle = count / 2;
    let (to, end) = (middle as u64, count as u64);
    let at_once = [vec![OPEN, Step::Skip(0, to)], (to..end).map(Step::Next).collect()].concat();
    let mut room = Room::open(subject)?;
    let course = room.examine(Task::Command(at_once))?;
    let mut problems = compare(&course, digests, middle, &format!("after a skip from 0 to {to}"));
    if to > 1 {
        let later =
            [vec![OPEN, Step::Next(0), Step::Skip(1, to)], (to..end).map(Step::Next).collect()].concat();
        let course = room.examine(Task::Command(later))?;
        let expected = [&digests[..1], &digests[middle..]].concat();
        problems.extend(compare(
            &course,
            &expected,
            0,
            &format!("after message 0 and a skip from 1 to {to}"),
        ));
    }
    Ok(Verdict::of(problems, format!("to message {to}, at once and after message 0")))
}

fn resume(subject: &Subject<'_>, digests: &[u64]) -> Result<(Verdict, Option<SavedState>), StartError> {
    let (middle, end) = (digests.len() / 2, digests.len() as u64);
    let at = middle as u64;
    let mut room = Room::open(subject)?;
    let rest: Vec<Step> = (at..end).map(Step::Next).collect();
    let saving = [walk(0, at), vec![Step::Save(at)], rest.clone()].concat();
    let course = room.examine(Task::Command(saving))?;
    let mut problems = compare(&course, digests, 0, "with its state saved in between");
    let state = course.notes.iter().find_map(|note| match note {
        Note::Saved(Ok(state)) => state.clone(),
        _ => None,
    });
    let Some(state) = state else {
        let verdict = if problems.is_empty() {
            Verdict::skipped("it saves no state; a resumed run asks it for all messages again, or skips them")
        } else {
            Verdict::of(problems, "")
        };
        return Ok((verdict, None));
    };
    let restoring = [vec![OPEN, Step::Restore(at, state.clone())], rest].concat();
    let course = room.examine(Task::Command(restoring))?;
    problems.extend(compare(&course, digests, middle, &format!("with the state before message {at}")));
    let detail = format!("{} bytes before message {at}, version {}", state.bytes().len(), state.version());
    Ok((Verdict::of(problems, detail), Some(state)))
}

fn state_version(subject: &Subject<'_>, saved: Option<SavedState>) -> Result<Verdict, StartError> {
    // If it saves no state, an empty dictionary is restored.
    const EMPTY: &[u8] = &[0x80];
    let bytes = saved.map_or_else(|| EMPTY.to_vec(), |state| state.bytes().to_vec());
    let state = SavedState::from_bytes(STRANGE_VERSION, bytes);
    let course = command(subject, vec![OPEN, Step::Restore(0, state)])?;
    Ok(match (course.trouble(), course.notes.last()) {
        (Some(trouble), _) => Verdict::failed(trouble),
        (None, Some(Note::Moved(Err(report)))) if report.kind == ReportKind::Error => {
            Verdict::passed(report.to_string())
        }
        (None, Some(Note::Moved(Err(report)) | Note::Constructed(Err(report)))) => {
            Verdict::failed(told(report))
        }
        _ => {
            Verdict::failed(format!("a state of version {STRANGE_VERSION} is taken as if nothing were wrong"))
        }
    })
}
