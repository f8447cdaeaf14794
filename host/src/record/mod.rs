//! Facts about a run and its processes: values without behaviour, some of which are in files of a
//! stable format.
//!
//! ```text
//!   identity    the plugins, configurations and seed that identify a run
//!   ledger      which messages were delivered
//!   state       a commander's saved state, and where a commander begins
//!   letter      a message outside of the slots, such as one that was given up
//!   checkpoint  all of them, as a file
//!   death       how a process ended
//!   policy      the user's choices for failures
//!   raw_stack   the stacks of a process's threads, as addresses
//! ```

pub(crate) mod checkpoint;
pub(crate) mod death;
pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod letter;
pub(crate) mod policy;
pub(crate) mod raw_stack;
pub(crate) mod state;
