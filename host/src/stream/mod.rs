//! The consumers' side of a run.
//!
//! ```text
//!   delivery      which batch is next; whether the stream is over, and why
//!   batches       the application's iterator; batch: one lease on a slot
//!   watch         the thread that waits in place of event loops and tasks
//!   readiness     its descriptor; batch_stream: batches for a task
//!   submitter     the application's way to submit messages; submission: how they are queued
//!   error         the errors in the place of a batch; failure: the failed attempts before
//!   replay        batches that are delivered again and again
//!   history       delivered messages, failed attempts, saved states
//!   dead_letters  messages that were given up, as a file
//!   roster        the processes that run; processes: also in the segment, for other processes
//!   held          says that the application holds all slots
//!   statistics    counts and times of the run so far; volume: rows, bytes, a histogram
//!   silence       whether nothing comes although it should, in a run with a sandbox
//!   stall         which process holds which slot now
//!   timeline      the times of the run's parts, if it is traced; traced: the notes made for it
//!   figures       plain numbers of an interval; verdict: the part that limits the run by them;
//!   limit         the sentence about it; pace: the interval that a whole run is judged by
//!   digest        a digest of all content, the same for any order
//! ```

pub(crate) mod batch;
pub(crate) mod batch_stream;
pub(crate) mod batches;
pub(crate) mod dead_letters;
pub(crate) mod delivery;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod figures;
mod held;
pub(crate) mod history;
pub(crate) mod limit;
mod pace;
pub(crate) mod processes;
pub(crate) mod readiness;
pub(crate) mod replay;
pub(crate) mod roster;
pub(crate) mod silence;
pub(crate) mod stall;
pub(crate) mod statistics;
pub(crate) mod submission;
pub(crate) mod submitter;
pub(crate) mod timeline;
mod traced;
pub(crate) mod verdict;
pub(crate) mod volume;
pub(crate) mod watch;
