//! What happened in a run that is not in the slots: which messages are done, how attempts at messages failed, what the commander
//! saved.
//!
//! Consumers write to it when a batch is given back, the supervisor at deaths. Nobody waits while holding a lock of it.

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
use crate::record::state::{Beginning, StateAt};

/// What happened in a run so far, and in the earlier one that it goes on from.
#[derive(Debug)]
pub(crate) struct History {
    /// It changes where a plugin is swapped.
    identity: Mutex<Identity>,
    /// What was done before this run began.
    earlier: Ledger,
    /// What is done, with what was before.
    done: Mutex<Ledger>,
    /// The failed attempts at messages that are not delivered yet, by message.
    attempts: Mutex<BTreeMap<u64, Vec<NotedAttempt>>>,
    /// What commanders saved, by ascending message: the last that all missing messages come after, and what is newer.
    states: Mutex<VecDeque<StateAt>>,
    dead_letters: Option<DeadLetters>,
}

impl History {
    pub(crate) fn new(
        identity: Identity,
        earlier: Ledger,
        state: Option<StateAt>,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        let done = Mutex::new(earlier.clone());
        let states = Mutex::new(state.into_iter().collect());
        let identity = Mutex::new(identity);
        Self { identity, earlier, done, attempts: Mutex::default(), states, dead_letters }
    }

    /// What was done before this run began.
    pub(crate) fn earlier(&self) -> &Ledger {
        &self.earlier
    }

    /// From now on the run is another plugin's.
    pub(crate) fn note_swap(&self, kind: PluginKind, plugin: &PluginPlan) {
        self.identity.lock().swap(kind, &plugin.name, &plugin.version);
    }

    pub(crate) fn note_done(&self, sequence: u64) {
        self.done.lock().add(sequence);
    }

    /// What is done up to now, with the commander's state from which all that is missing can be asked for.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let done = self.done.lock().clone();
        let state = self.state_before(done.next_missing(0));
        Checkpoint::new(self.identity.lock().clone(), done, state)
    }

    /// Keeps the first attempt at a message and the last ones.
    pub(crate) fn note_attempt(&self, sequence: u64, attempt: NotedAttempt) {
        let mut all = self.attempts.lock();
        let attempts = all.entry(sequence).or_default();
        if attempts.len() == KEPT_ATTEMPTS {
            attempts.remove(1);
        }
        attempts.push(attempt);
    }

    /// The failed attempts at a message, which is delivered now.
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
        // One that a restarted commander saves again is the same.
        states.retain(|known| known.sequence < state.sequence);
        states.push_back(state);
        // The oldest is not needed where the second is old enough.
        while states.get(1).is_some_and(|second| second.sequence <= missing) {
            states.pop_front();
        }
    }

    /// Where a commander begins that is to give this message first.
    pub(crate) fn beginning_at(&self, sequence: u64) -> Beginning {
        Beginning { sequence, state: self.state_before(sequence) }
    }

    /// The newest state that was saved at this message or before.
    fn state_before(&self, sequence: u64) -> Option<StateAt> {
        self.states.lock().iter().rev().find(|state| state.sequence <= sequence).cloned()
    }
}
