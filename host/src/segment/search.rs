//! Search: how a worker comes by the oldest queued message of its crew's share.
//!
//! ```text
//!   queue ──► next entry whose slot says "queued" ─┐
//!                                                  ├─► the older one ──► claim: note, compare-and-swap, is it still of this share?
//!   all slots ──► least message of the share ──────┘
//!   only after a requeue, and where the share is not the whole stream
//! ```
//!
//! Invariant: no queued message is passed over for ever: either an entry leads to it, or `requeues` was counted after it was queued, and
//! each worker that hears of that looks at all slots until the messages are gone that were commanded by then.

use std::ops::Range;

use super::claim::{Claim, Producing};
use super::failpoint::Failpoint;
use super::place::Place;
use super::sync::{AtomicU64, Ordering};
use super::table::Table;
use super::word::{Owner, SlotState, Snapshot};

/// What a worker's process knows of messages that the queue may not lead to.
#[derive(Debug, Default)]
pub(crate) struct Scout {
    /// The last requeue that it has heard of.
    requeues: u32,
    /// The messages before this one are looked for in all slots: those that were commanded when it heard of that.
    until: u64,
}

/// A queued message, as it was looked at.
#[derive(Debug)]
pub(super) struct Queued {
    index: usize,
    seen: Snapshot,
    sequence: u64,
    /// Where the queue led to it.
    ticket: Option<u64>,
}

impl Table<'_> {
    /// Claims the oldest queued message of its crew's share for the worker in a place. `noted` is the worker's own note of how far it has
    /// come, see `shares`.
    pub(crate) fn claim_queued(
        self,
        place: Place,
        noted: &AtomicU64,
        scout: &mut Scout,
    ) -> Option<Claim<Producing>> {
        let (shares, crew) = (&self.control.shares, place.crew());
        loop {
            let Queued { index, seen, sequence, ticket } =
                self.find_queued(shares.glance().of(crew), scout)?;
            if noted.load(Ordering::Relaxed) <= sequence {
                noted.store(sequence.saturating_add(1), Ordering::SeqCst);
            }
            // Where another worker was faster, look again: each such loss is another's gain.
            let Some(snapshot) = self.slots[index].word.transition_to_producing(seen, place) else {
                continue;
            };
            if !shares.now().of(crew).contains(&sequence) {
                // Cut off in between: the other crew's.
                self.slots[index].word.transition_to_requeued(snapshot, place, snapshot.attempts());
                self.note_requeue();
                self.control.queued.notify_all();
                continue;
            }
            ticket.into_iter().for_each(|ticket| self.queue.pass(ticket));
            if self.is_backlog_low() {
                self.control.freed.notify_all_if(|| self.free.has_any());
            }
            self.control.armed.pass(Failpoint::WorkClaimed);
            return Some(Claim { index, snapshot, role: Producing { place } });
        }
    }

    /// The oldest queued message of a share: the next of the queue, unless there may be one that the queue does not lead to.
    fn find_queued(self, messages: Range<u64>, scout: &mut Scout) -> Option<Queued> {
        let requeues = self.control.requeues.load(Ordering::Acquire);
        if messages.is_empty() {
            return None;
        }
        if scout.requeues != requeues {
            *scout = Scout { requeues, until: self.commanded() };
        }
        let next = self.next_queued(&messages);
        if scout.until == 0 && messages.end == u64::MAX {
            return next;
        }
        let oldest = self.oldest_queued(messages);
        if oldest.as_ref().is_none_or(|oldest| oldest.sequence >= scout.until) {
            scout.until = 0;
        }
        let index = |queued: &Option<Queued>| queued.as_ref().map(|queued| queued.index);
        if index(&next) == index(&oldest) { next } else { oldest }
    }

    /// The first queued message of a share that the queue leads to.
    fn next_queued(self, messages: &Range<u64>) -> Option<Queued> {
        self.queue.iter().find_map(|(ticket, index)| {
            let slot = self.slots.get(index)?;
            let seen = slot.word.load();
            let sequence = slot.message_number();
            let there = seen.is(SlotState::Writing, Owner::Nobody) && messages.contains(&sequence);
            there.then_some(Queued { index, seen, sequence, ticket: Some(ticket) })
        })
    }

    /// The slot with the least of these messages that is queued.
    pub(super) fn oldest_queued(self, messages: Range<u64>) -> Option<Queued> {
        let (index, seen, sequence) = self.oldest(|snapshot, sequence| {
            snapshot.is(SlotState::Writing, Owner::Nobody) && messages.contains(&sequence)
        })?;
        Some(Queued { index, seen, sequence, ticket: None })
    }
}
