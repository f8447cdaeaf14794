//! The consumers' side of a run.
//!
//! ```text
//!   delivery      which batch is next, whether the stream is over, and why
//!   batches       the application's iterator; batch: one lease on a slot
//!   error         the errors that stand in a batch's place; failure: the attempts before
//!   history       what happened that is not in the slots; dead_letters: messages that were given up, as a file
//!   roster        which processes there are
//!   statistics    what the run did so far; stall: who holds what now
//!   digest        a digest of all content, whatever its order
//! ```

pub(crate) mod batch;
pub(crate) mod batches;
pub(crate) mod dead_letters;
pub(crate) mod delivery;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod history;
pub(crate) mod roster;
pub(crate) mod stall;
pub(crate) mod statistics;
