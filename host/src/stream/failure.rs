//! Failed attempts at messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::process::stack::names::{self, Stack};
use crate::record::death::Death;
use crate::record::raw_stack::RawStack;

/// One attempt at a message that ended with its worker's death.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The worker's number.
    pub worker: u32,
    /// The worker's death.
    pub death: Death,
    /// The last lines of the plugin's log in that worker, oldest first.
    pub log: Vec<String>,
    /// The worker's stack, if the worker crashed or was killed at its deadline and the stack could
    /// be captured.
    pub stack: Option<Stack>,
}

/// An attempt as the supervisor notes it. The stack's functions are named only if the message is
/// given up, because naming takes a while and most messages succeed at the next attempt.
#[derive(Debug, Clone)]
pub(crate) struct NotedAttempt {
    pub(crate) worker: u32,
    pub(crate) death: Death,
    pub(crate) log: Vec<String>,
    pub(crate) stack: Option<RawStack>,
}

impl From<NotedAttempt> for Attempt {
    fn from(noted: NotedAttempt) -> Self {
        let NotedAttempt { worker, death, log, stack } = noted;
        Self { worker, death, log, stack: stack.as_ref().map(names::resolve) }
    }
}

/// Several lines: what ended the worker, its log, its stack.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} was ended by {}", self.worker, self.death)?;
        self.log.iter().try_for_each(|line| write!(f, "\n  log: {line}"))?;
        match &self.stack {
            Some(stack) => write!(f, "\n  {}", stack.to_string().replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}
