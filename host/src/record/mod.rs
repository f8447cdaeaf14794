//! What is known of a run and of its processes: values without behaviour, some of which are in
//! files of a stable format.
//!
//! ```text
//!   identity    the plugins, configurations and seed that identify a run
//!   ledger      which messages were delivered
//!   state       what a commander saved, and where one begins
//!   checkpoint  the three of them, as a file
//!   letter      a message that was given up
//!   death       how a process ended
//!   policy      what the user chose to do about failures
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
