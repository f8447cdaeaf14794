//! The part of a run's past that is not in the slots: delivered messages, failed attempts, and the
//! commander's saved states.
//!
//! Consumers write to it when they release a batch, the supervisor after deaths. No thread waits
//! while it holds one of the locks.

use std::collections::{BTreeMap, VecDeque};

use cobuf_plugin_api::PluginKind;
use parking_lot::Mutex;

use super::dead_letters::DeadLetters;
use super::error::BatchError;
use super::failure::NotedAttempt;
use crate::limits::KEPT_ATTEMPTS;
use crate::plugin::copy::PluginPlan;
use crate::record::checkpoint::Checkpoint;
use crate::record::identity::Identity;
use crate::record::ledger::Ledger;
use crate::record::letter::Letter;
use crate::record::part::Part;
use crate::record::portion::{Portion, Remainder};
use crate::record::state::{Beginning, StateAt};

/// The past of a run, and of the earlier run that it resumes.
#[derive(Debug)]
pub(crate) struct History {
    /// Changes if a plugin is swapped.
    identity: Mutex<Identity>,
    /// The messages that this run is to deliver.
    portion: Portion,
    /// If the run has a rank: the checkpoint with which its job began, and what it delivers is its
    /// part.
    job: Option<Job>,
    /// All delivered messages, the earlier ones and those of other ranks included.
    done: Mutex<Ledger>,
    /// The failed attempts at messages that are not delivered yet, by message.
    attempts: Mutex<BTreeMap<u64, Vec<NotedAttempt>>>,
    /// States that commanders saved, by ascending message: the newest one that is not after any
    /// missing message, and all newer ones.
    states: Mutex<VecDeque<StateAt>>,
    dead_letters: Option<DeadLetters>,
}

/// The beginning of a job of ranks, which each part of it contains.
#[derive(Debug)]
pub(crate) struct Job(pub(crate) Checkpoint);

impl History {
    pub(crate) fn new(
        identity: Identity,
        portion: Portion,
        job: Option<Job>,
        state: Option<StateAt>,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        let done = Mutex::new(portion.covered());
        let states = Mutex::new(state.into_iter().collect());
        let identity = Mutex::new(identity);
        Self { identity, portion, job, done, attempts: Mutex::default(), states, dead_letters }
    }

    /// In a stream of `total` messages: how many there are for this run, and for those before it of
    /// the same rank; all of them if it has none.
    pub(crate) fn total_of_rank(&self, total: u64) -> u64 {
        if self.job.is_some() { self.portion.total(total) } else { total }
    }

    /// The messages that this run is to deliver.
    pub(crate) fn portion(&self) -> &Portion {
        &self.portion
    }

    /// The run's identity names this plugin from now on.
    pub(crate) fn note_swap(&self, kind: PluginKind, plugin: &PluginPlan) {
        self.identity.lock().swap(kind, &plugin.name, &plugin.version);
    }

    pub(crate) fn note_done(&self, sequence: u64) {
        // The other rank notes it.
        if !self.is_repeated(sequence) {
            self.done.lock().add(sequence, self.portion.after(sequence));
        }
    }

    /// Whether the message, which is in a slot, is another rank's.
    pub(crate) fn is_repeated(&self, sequence: u64) -> bool {
        self.portion.remainder() == Remainder::Repeat && !self.portion.has(sequence)
    }

    /// The delivered messages up to now, with a commander's state from which every missing message
    /// can be asked for, or with those of the application's messages that are missing. `submitted`
    /// are all that may be: they were read before.
    pub(crate) fn checkpoint(&self, mut submitted: Vec<Letter>) -> Checkpoint {
        let done = self.done.lock().clone();
        let state = self.state_before(done.next_missing(0));
        let Some(Job(beginning)) = &self.job else {
            submitted.retain(|letter| !done.has(letter.sequence));
            return Checkpoint::new(self.identity.lock().clone(), done, state, submitted);
        };
        let (seat, done) = (self.portion.seat(), self.portion.own_in(&done));
        let part = Part { seat, done, commander: state, ..Part::default() };
        beginning.clone().with_part(self.identity.lock().clone(), part)
    }

    /// Adds an attempt at a message; keeps the first one and the last ones.
    pub(crate) fn note_attempt(&self, sequence: u64, attempt: NotedAttempt) {
        let mut all = self.attempts.lock();
        let attempts = all.entry(sequence).or_default();
        if attempts.len() == KEPT_ATTEMPTS {
            attempts.remove(1);
        }
        attempts.push(attempt);
    }

    /// Removes and returns the failed attempts at a message, which is now delivered.
    pub(crate) fn take_attempts(&self, sequence: u64) -> Vec<NotedAttempt> {
        self.attempts.lock().remove(&sequence).unwrap_or_default()
    }

    /// The failed attempts at a message.
    pub(crate) fn attempts(&self, sequence: u64) -> Vec<NotedAttempt> {
        self.attempts.lock().get(&sequence).cloned().unwrap_or_default()
    }

    pub(crate) fn note_failure(&self, error: &BatchError, encoded: &[u8]) {
        if let Some(letters) = &self.dead_letters {
            letters.add(error, encoded);
        }
    }

    pub(crate) fn note_state(&self, state: StateAt) {
        let missing = self.done.lock().next_missing(0);
        let mut states = self.states.lock();
        // A restarted commander saves the same states again.
        states.retain(|known| known.sequence < state.sequence);
        states.push_back(state);
        // The oldest is not needed if the second is old enough.
        while states.get(1).is_some_and(|second| second.sequence <= missing) {
            states.pop_front();
        }
    }

    /// The beginning of a commander whose first message is this one.
    pub(crate) fn beginning_at(&self, sequence: u64) -> Beginning {
        Beginning { sequence, state: self.state_before(sequence) }
    }

    /// The newest state that was saved at this message or earlier.
    fn state_before(&self, sequence: u64) -> Option<StateAt> {
        self.states.lock().iter().rev().find(|state| state.sequence <= sequence).cloned()
    }
}
