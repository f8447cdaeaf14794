//! The shared memory of a run: slots, and the words by which processes agree on them.
//!
//! ```text
//!   sync        atomics and futexes; loom's under --cfg cobuf_loom
//!   mortal      loom's atomics, at which a process may be killed
//!   event       a word to wait on, across processes
//!   patience    whether to look again for a while before sleeping
//!   word        the state machine of one slot, in one AtomicU64
//!   claim       who may touch which payload
//!   slot        one slot: its word, and the numbers beside it
//!   slot_set    which slots may be free, or ready
//!   queue       which slot holds the oldest message
//!   arrivals    which batch of those that are ready comes first
//!   control     what all share beside the slots
//!   table       what is done with slots: claim, publish, commit, release
//!   search      how a worker comes by the oldest message
//!   place       a worker's place: its number and its crew; worker_place: what it shares there
//!   shares      which messages a crew of workers may take
//!   recovery    what becomes of the slots of the dead
//!   sanity      whether what a slot says of itself can be
//!   failpoint   where tests have processes fail
//!   fixture     a small segment, for tests and benchmarks
//!   clock       since when a slot is what it is
//!   header      the segment's first bytes
//!   layout      where everything lies, from schema and sizes
//!   memory      the mapping itself (unsafe), payloads by claim
//! ```
//!
//! Invariant: a payload is touched only by the holder of a claim on its slot, and a claim is only ever made by a
//! successful compare-and-swap on the slot's word.

pub(crate) mod arrivals;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod event;
pub(crate) mod failpoint;
#[cfg(any(test, feature = "bench-parts"))]
pub(crate) mod fixture;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod memory;
#[cfg(cobuf_loom)]
mod mortal;
pub(crate) mod patience;
pub(crate) mod place;
pub(crate) mod queue;
pub(crate) mod recovery;
mod sanity;
pub(crate) mod search;
pub(crate) mod shares;
pub(crate) mod slot;
pub(crate) mod slot_set;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod word;
pub(crate) mod worker_place;

#[cfg(all(test, cobuf_loom))]
mod loom_tests;
