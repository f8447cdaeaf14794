//! The shared memory of a run: its slots, and the words by which processes agree on their use.
//!
//! ```text
//!   sync        atomics and futexes; loom's under --cfg cobuf_loom
//!   mortal      loom's atomics, at which a process may be killed
//!   counted     atomics that count how cache lines move; cache_lines: how many a message moves
//!   event       a word to wait on, across processes
//!   patience    whether a process looks again for a while before it sleeps
//!   word        the state machine of one slot, in one AtomicU64
//!   claim       the right to touch a payload
//!   slot        one slot: its word, and the numbers beside it
//!   slot_set    a set of slots: those that may be free, ready or queued
//!   queue       which slots hold queued messages, and where the oldest is expected
//!   arrivals    which of the ready batches comes first
//!   counters    counts and times of the run; exposure: how long any consumer waited
//!   notices     the last things that happened, as texts
//!   control     what all processes share beside the slots
//!   table       the operations on slots: claim, publish, commit, release
//!   search      how a worker finds and claims the oldest message
//!   place       a worker's place: its number and its crew; worker_place: what it shares there
//!   shares      which messages a crew of workers may claim
//!   recovery    what happens to the slots of dead processes
//!   sanity      whether a slot's numbers are possible
//!   stamps      when a message passed from one process to the next; only in a traced run
//!   failpoint   places where tests make processes fail
//!   fixture     a small segment, for tests and benchmarks
//!   clock       how long a slot has been in its state
//!   header      the segment's first bytes
//!   about       the description at its end, for processes that look from outside
//!   layout      where everything lies, from schema and sizes
//!   room        how much shared memory there is room for
//!   mapping     created under a name, mapped by a descriptor (unsafe)
//!   memory      the segment's parts, and payloads by claim (unsafe)
//! ```
//!
//! Invariant: only the holder of a claim on a slot touches its payload, and only a successful
//! compare-and-swap on the slot's word makes a claim.
#![cfg_attr(cobuf_lines, allow(dead_code, reason = "only what moves lines is run then"))]

pub(crate) mod about;
pub(crate) mod arrivals;
#[cfg(cobuf_lines)]
mod cache_lines;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod control;
#[cfg(cobuf_lines)]
mod counted;
pub(crate) mod counters;
pub(crate) mod event;
pub(crate) mod exposure;
pub(crate) mod failpoint;
#[cfg(any(test, feature = "bench-parts"))]
pub(crate) mod fixture;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod mapping;
pub(crate) mod memory;
#[cfg(all(cobuf_loom, not(cobuf_lines)))]
mod mortal;
pub(crate) mod notices;
pub(crate) mod patience;
pub(crate) mod place;
pub(crate) mod queue;
pub(crate) mod recovery;
pub(crate) mod room;
mod sanity;
pub(crate) mod search;
pub(crate) mod shares;
pub(crate) mod slot;
pub(crate) mod slot_set;
pub(crate) mod stamps;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod word;
pub(crate) mod worker_place;

#[cfg(all(test, cobuf_loom, not(cobuf_lines)))]
mod loom_tests;
