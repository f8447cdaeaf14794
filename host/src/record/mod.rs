//! Facts about a run and its processes: values without behaviour, some of which are in files of a
//! stable format.
//!
//! ```text
//!   identity    the plugins, configurations and seed that identify a run
//!   ledger      which messages were delivered
//!   rank        which of a job's processes this one is; launcher: the variables that say so
//!   portion     the messages of a rank
//!   state       a commander's saved state, and where a commander begins
//!   letter      a message outside of the slots, such as one that was given up
//!   part        what a rank delivered since its job began
//!   checkpoint  all of them, as a file
//!   merge       the parts of a job as one checkpoint, and back
//!   folder      the parts of a job in files
//!   death       how a process ended
//!   policy      the user's choices for failures
//!   raw_stack   the stacks of a process's threads, as addresses
//! ```

pub(crate) mod checkpoint;
pub(crate) mod death;
pub(crate) mod folder;
pub(crate) mod folder_error;
pub(crate) mod identity;
mod launcher;
pub(crate) mod ledger;
pub(crate) mod letter;
pub(crate) mod merge;
pub(crate) mod part;
pub(crate) mod policy;
pub(crate) mod portion;
pub(crate) mod rank;
pub(crate) mod rank_error;
pub(crate) mod raw_stack;
#[cfg(all(test, not(cobuf_loom)))]
mod scale;
pub(crate) mod state;
