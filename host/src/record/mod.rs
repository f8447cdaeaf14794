//! What is known of a run and of its processes: values without behaviour, some of which are in files of a stable format.
//!
//! ```text
//!   identity    what makes a run this run
//!   ledger      which messages were delivered
//!   state       what a commander saved, and where one begins
//!   checkpoint  the three of them, as a file
//!   letter      a message that was given up
//!   death       how a process ended
//!   policy      what the user wants to become of failures
//!   raw_stack   where a process's threads were, as addresses
//! ```

pub(crate) mod checkpoint;
pub(crate) mod death;
pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod letter;
pub(crate) mod policy;
pub(crate) mod raw_stack;
pub(crate) mod state;
