//! Measures how fast a producer is with nothing around it: no commander, no slots, no consumer.

use std::time::Duration;

use cobuf_plugin_api::codec;

use super::room::Room;
use super::subject::Subject;
use crate::host::error::StartError;
use crate::protocol::examination::{Note, Task};

/// The messages a second of all processes together.
pub(super) fn messages_a_second(
    subject: &Subject<'_>,
    processes: usize,
    time: Duration,
) -> Result<f64, StartError> {
    let kind = subject.file.manifest.kind;
    let encoded = subject.messages.iter().map(|message| codec::encode("a message", message));
    let messages = encoded.collect::<Result<Vec<_>, _>>();
    let messages = messages.map_err(|source| StartError::Config { kind, source })?;
    let (run_seed, millis) = (subject.settings.seed, time.as_millis() as u64);
    let task = Task::Loop { messages, run_seed, millis };
    let courses = Room::open(subject)?.examine_at_once(vec![task; processes])?;
    let rates = courses.iter().map(|course| match (course.trouble(), course.notes.first()) {
        (None, Some(Note::Looped { messages, nanos })) => Ok(*messages as f64 * 1e9 / *nanos as f64),
        (trouble, _) => {
            let reason = trouble.unwrap_or_else(|| "the process reported no result".to_owned());
            Err(StartError::Process { role: "producer in a plain loop".to_owned(), reason })
        }
    });
    rates.sum()
}
