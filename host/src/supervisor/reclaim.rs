//! After a worker's death: its slot is taken back, and its message is queued again, or given up
//! with a summary of its attempts.
//!
//! The fork server has reaped the worker before, so no process writes to its slot any more.

use cobuf_plugin_api::{PluginKind, Report};

use super::run::{Run, count};
use super::worker::{Verdict, Worker};
use crate::process::stack::interpreter;
use crate::record::death::Death;
use crate::segment::claim::{Claim, Producing};
use crate::segment::failpoint::Failpoint;
use crate::segment::place::Place;
use crate::segment::recovery::Reclaimed;
use crate::segment::slot::Outcome;
use crate::stream::failure::NotedAttempt;

/// Takes back the slot that the dead worker held. Its death is an attempt at the message, unless
/// the message is innocent.
pub(super) fn after_death(
    run: &mut Run,
    place: Place,
    worker: &Worker,
    death: Death,
    verdict: Option<Verdict>,
) {
    let table = run.stream.table();
    let Some(sequence) = table.held_by(place) else { return };
    if !run.plan.is_jailed() && table.control.armed.take(Failpoint::Reclaim).is_some() {
        run.link.kill_server();
    }
    // A worker has not begun with a message that it was cut off from.
    let innocent = verdict.is_some_and(|verdict| verdict.about != Some(sequence))
        || !table.is_of_share(place.crew(), sequence)
        || run.outside.excuses(PluginKind::Producer, sequence, death);
    if !innocent {
        run.stream.history.note_attempt(sequence, worker.attempt(place.worker(), death));
    }
    match table.reclaim_worker(place, (!innocent).then_some(run.care.max_attempts)) {
        None => {}
        Some(Reclaimed::Requeued { sequence, attempts }) => {
            count(&run.stream.counters().retries);
            tracing::info!(sequence, attempts, "the dead worker's message is queued again");
        }
        Some(Reclaimed::GivenUp { claim, sequence, attempts }) => {
            tracing::error!(sequence, attempts, "a message is given up");
            commit_failure(run, place, claim, (sequence, attempts), death);
        }
    }
}

/// Takes back the slot of a worker that died with the fork server. The message did not cause this
/// death.
pub(super) fn of_innocent(run: &Run, place: Place) {
    if let Some(Reclaimed::Requeued { sequence, .. }) = run.stream.table().reclaim_worker(place, None) {
        count(&run.stream.counters().retries);
        tracing::info!(sequence, "a message is queued again");
    }
}

/// Puts a report in the place of the batch.
fn commit_failure(
    run: &Run,
    place: Place,
    mut claim: Claim<Producing>,
    (sequence, attempts): (u64, u32),
    death: Death,
) {
    let summary = summary(attempts, &run.stream.history.attempts(sequence));
    let room = run.stream.segment.outcome_mut(&mut claim);
    let bytes = Report::from_host(death.kind(), summary).encode(room.len());
    room[..bytes.len()].copy_from_slice(&bytes);
    let (worker, edition) = (place.worker(), run.plan.edition(place.crew()));
    let outcome = Outcome { failed: true, bytes: bytes.len(), rows: None, nanos: 0, worker, edition };
    run.stream.table().commit(claim, outcome);
}

/// A summary of all attempts at a message: `the worker was ended at each of 3 attempts, by exit
/// code 3, exit code 3 and signal 9 (SIGKILL)`, with the place in a script and the last line of the
/// log at the last one.
fn summary(number: u32, attempts: &[NotedAttempt]) -> String {
    let deaths: Vec<String> = attempts.iter().map(|attempt| attempt.death.to_string()).collect();
    let more = if number as usize > deaths.len() { "among others " } else { "" };
    let text = match deaths.split_last() {
        None => "the worker was ended".to_owned(),
        Some((last, [])) => format!("the worker was ended by {last}"),
        Some((last, others)) if others.iter().all(|other| other == last) => {
            format!("the worker was ended at each of {number} attempts by {last}")
        }
        Some((last, others)) => {
            let others = others.join(", ");
            format!("the worker was ended at each of {number} attempts, {more}by {others} and {last}")
        }
    };
    let last = attempts.last();
    let place = interpreter::place_in(last.and_then(|last| last.stack.as_ref()));
    let text = place.map_or(text.clone(), |place| format!("{text}, in {place}"));
    match last.and_then(|attempt| attempt.log.last()) {
        Some(line) => format!("{text}; its last log line: {line}"),
        None => text,
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use std::slice;

    use super::*;
    use crate::record::death::Exit;
    use crate::record::raw_stack::RawStack;

    fn attempt(exit: Exit, log: &[&str]) -> NotedAttempt {
        let log = log.iter().map(|&line| line.to_owned()).collect();
        NotedAttempt { worker: 0, death: Death::Exit(exit), log, stack: None }
    }

    #[test]
    fn summary_names_how_each_attempt_ended() {
        let (code, killed) = (attempt(Exit::Code(3), &[]), attempt(Exit::Signal(9), &[]));
        assert_eq!(summary(1, &[]), "the worker was ended");
        assert_eq!(summary(1, slice::from_ref(&code)), "the worker was ended by exit code 3");
        assert_eq!(
            summary(2, &[code.clone(), code.clone()]),
            "the worker was ended at each of 2 attempts by exit code 3"
        );
        assert_eq!(
            summary(3, &[code.clone(), code.clone(), killed.clone()]),
            "the worker was ended at each of 3 attempts, by exit code 3, exit code 3 and signal 9 (SIGKILL)"
        );
        assert_eq!(
            summary(40, &[code, killed]),
            "the worker was ended at each of 40 attempts, among others by exit code 3 and signal 9 (SIGKILL)"
        );
    }

    #[test]
    fn summary_names_the_place_in_a_script() {
        let trace = "Thread 0x1:\n  File \"/slides.py\", line 12 in read".to_owned();
        let mut hung = attempt(Exit::Signal(9), &["opening"]);
        hung.stack = Some(RawStack { trace, ..RawStack::default() });
        let text = summary(1, slice::from_ref(&hung));
        assert!(text.ends_with("(SIGKILL), in read at /slides.py:12; its last log line: opening"), "{text}");
    }

    #[test]
    fn summary_ends_with_the_last_log_line() {
        let attempts = [attempt(Exit::Code(3), &["one"]), attempt(Exit::Code(3), &["two", "three"])];
        assert!(summary(2, &attempts).ends_with("by exit code 3; its last log line: three"));
    }
}
