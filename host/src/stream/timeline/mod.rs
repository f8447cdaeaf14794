//! The timeline of a traced run: which part of the run did what, and when, for a picture.
//!
//! ```text
//!   segment: begun, queued, claimed, ready ─┐ (written by commander and worker)
//!   consumer: taken, released ──────────────┴► record: a batch, at its release ─┐
//!   consumer: waits                                                             ├► chrome ─► a file
//!   supervisor: deaths, swaps; application: checkpoints ────────────────────────┘
//!
//!   recorder notes what happens, from all threads; kept: the memory for it
//!   record   one batch, its moments in order whatever the segment says
//!   picture  tracks of spans and moments; tracks: none overlaps another on its track
//!   chrome   Chrome's trace events, as JSON
//! ```
//!
//! Invariant: the memory is bounded. The timeline keeps the last batches, as many as the run asks
//! for; at most as many waits; and a fixed number of threads and of other events. It counts the
//! batches that it left out.

mod chrome;
mod kept;
mod picture;
mod record;
mod recorder;
mod tracks;

pub(crate) use self::kept::What;
pub use self::recorder::TraceSummary;
pub(crate) use self::recorder::{Timeline, held_by};
