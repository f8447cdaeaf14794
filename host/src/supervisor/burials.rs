//! What follows on a worker's death: its slot is taken back, its message queued again or given up, with what is known of the attempt.

use std::time::Instant;

use cobuf_plugin_api::Report;

use super::workers::{Life, Verdict};
use super::{Supervisor, count};
use crate::limits::OUTCOME_CAPACITY;
use crate::record::death::Death;
use crate::record::death::Exit;
use crate::segment::claim::{Claim, Producing};
use crate::segment::failpoint::Failpoint;
use crate::segment::place::{CREWS, Place};
use crate::segment::recovery::Reclaimed;
use crate::segment::slot::Outcome;
use crate::stream::failure::NotedAttempt;

impl Supervisor {
    /// What follows on a worker's death, once it was reaped.
    pub(super) fn bury_worker(&mut self, place: Place, how: Death) {
        let (state, worker) = (&mut self.workers[place.index()], place.worker());
        let (verdict, plugin) = (state.verdict.take(), self.plan.name(state.role(place)));
        let death = verdict.map_or(how, |verdict| verdict.death);
        let retired = matches!(state.life, Life::Retiring { .. }) && how == Death::Exit(Exit::Code(0));
        if retired {
            tracing::info!(%plugin, worker, "a worker has retired");
        } else {
            tracing::warn!(%plugin, worker, how = %death, "a worker died");
        }
        self.reclaim(place, death, verdict);
        self.stream.table().restore();
        self.plan_restart(place, death);
    }

    /// Takes back the slot that the dead worker held.
    fn reclaim(&mut self, place: Place, death: Death, verdict: Option<Verdict>) {
        let table = self.stream.table();
        let Some(sequence) = table.held_by(place) else { return };
        if table.control.armed.take(Failpoint::Reclaim).is_some() {
            self.server.kill();
        }
        // It has not begun with a message that it was cut off from.
        let innocent = verdict.is_some_and(|verdict| verdict.about != Some(sequence))
            || !table.is_of_share(place.crew(), sequence);
        if !innocent {
            let attempt = self.workers[place.index()].attempt(place.worker(), death);
            self.stream.history.note_attempt(sequence, attempt);
        }
        match table.reclaim_worker(place, (!innocent).then_some(self.care.max_attempts)) {
            None => {}
            Some(Reclaimed::Requeued { sequence, attempts }) => {
                count(&self.stream.counters.retries);
                tracing::info!(sequence, attempts, "the dead worker's message is queued again");
            }
            Some(Reclaimed::GivenUp { claim, sequence, attempts }) => {
                tracing::error!(sequence, attempts, "a message is given up");
                self.commit_failure(place, claim, (sequence, attempts), death);
            }
        }
    }

    /// Puts a report in the place of the batch.
    fn commit_failure(
        &self,
        place: Place,
        mut claim: Claim<Producing>,
        (sequence, attempts): (u64, u32),
        death: Death,
    ) {
        let summary = summary(attempts, &self.stream.history.attempts(sequence));
        let bytes = Report::from_host(death.kind(), summary).encode(OUTCOME_CAPACITY);
        self.stream.segment.outcome_mut(&mut claim)[..bytes.len()].copy_from_slice(&bytes);
        let (worker, edition) = (place.worker(), self.plan.edition(place.crew()));
        let outcome = Outcome { failed: true, bytes: bytes.len(), rows: None, nanos: 0, worker, edition };
        self.stream.table().commit(claim, outcome);
    }

    /// The fork server died, and all workers with it, which is none of their messages' doing.
    pub(super) fn bury_all_workers(&mut self) {
        for index in 0..self.workers.len() {
            if let Some(Reclaimed::Requeued { sequence, .. }) =
                self.stream.table().reclaim_worker(Place::at(index), None)
            {
                count(&self.stream.counters.retries);
                tracing::info!(sequence, "a message is queued again");
            }
            let wanted = self.is_wanted(Place::at(index));
            let worker = &mut self.workers[index];
            worker.verdict = None;
            if worker.is_process() {
                worker.life = if wanted { Life::Due(Instant::now()) } else { Life::Off };
            }
        }
        (0..CREWS).for_each(|crew| self.drain(crew, "the fork server died"));
    }
}

/// What all attempts at a message came to: `the worker was ended at each of 3 attempts, by exit code 3, exit code 3 and signal 9
/// (SIGKILL)`, with the last line of the log.
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
    match attempts.last().and_then(|attempt| attempt.log.last()) {
        Some(line) => format!("{text}; its last log line: {line}"),
        None => text,
    }
}
