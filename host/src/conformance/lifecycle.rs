//! The tests that both kinds of plugin have: whether its object can be dropped, whether repeated
//! work leaves something behind, and how long the work takes.

use super::declarations::told;
use super::growth;
use super::report::Verdict;
use super::room::{Course, Room};
use super::subject::Subject;
use crate::host::error::StartError;
use crate::protocol::examination::{Note, Soak, Task};

/// Whether the plugin's object was dropped.
pub(super) fn closed(course: &Course) -> Verdict {
    match (course.trouble(), course.notes.last()) {
        (Some(trouble), _) => Verdict::failed(trouble),
        (None, Some(Note::Closed(Ok(())))) => Verdict::passed("dropped without an error"),
        (None, Some(Note::Closed(Err(report)))) => Verdict::failed(told(report)),
        (None, other) => Verdict::failed(format!("it was not dropped; the examiner noted {other:?}")),
    }
}

/// Tests whether making and dropping the plugin's object leaves something behind.
pub(super) fn openings(subject: &Subject<'_>) -> Result<Verdict, StartError> {
    let course = Room::open(subject)?.examine(soak(subject, Vec::new(), true))?;
    Ok(match course.notes.first() {
        Some(Note::Soaked(soaked)) => growth::judge(soaked, "opening"),
        _ => Verdict::failed(course.trouble().unwrap_or_default()),
    })
}

/// A task that has an examiner repeat one action.
pub(super) fn soak(subject: &Subject<'_>, messages: Vec<Vec<u8>>, opening: bool) -> Task {
    let window_millis = subject.settings.soak.as_millis() as u64;
    let patience_millis = subject.settings.patience().as_millis() as u64;
    Task::Soak(Soak { messages, run_seed: subject.settings.seed, opening, window_millis, patience_millis })
}

/// A median of nanoseconds as text, such as `median 0.123 ms`.
pub(super) fn time(median_nanos: u64) -> String {
    format!("median {:.3} ms", median_nanos as f64 / 1e6)
}
