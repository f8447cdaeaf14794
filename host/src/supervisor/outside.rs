//! Ends from outside: a person or a service manager has ended a process by SIGINT, SIGTERM or
//! SIGHUP.
//!
//! That is not the doing of the message that the process was at, so it does not count as an attempt.
//! A plugin that raises such a signal itself cannot be told from that. So a message is excused for
//! [`MAX_EXCUSES`] ends only.

use std::collections::BTreeMap;

use cobuf_plugin_api::PluginKind;

use crate::limits::MAX_EXCUSES;
use crate::record::death::{Death, Exit};

/// How many messages are remembered. Beyond that, the one with the lowest number is forgotten.
const KEPT: usize = 1024;

/// How often each message was excused.
#[derive(Debug, Default)]
pub(super) struct Outside {
    excuses: BTreeMap<(u64, bool), u32>,
}

impl Outside {
    /// Whether a process of this kind that ended so, at this message, was ended from outside.
    pub(super) fn excuses(&mut self, kind: PluginKind, sequence: u64, death: Death) -> bool {
        let Death::Exit(Exit::Signal(libc::SIGINT | libc::SIGTERM | libc::SIGHUP)) = death else {
            return false;
        };
        let message = (sequence, kind == PluginKind::Commander);
        if self.excuses.len() == KEPT && !self.excuses.contains_key(&message) {
            self.excuses.pop_first();
        }
        let excuses = self.excuses.entry(message).or_default();
        *excuses += 1;
        *excuses <= MAX_EXCUSES
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    const TERMINATED: Death = Death::Exit(Exit::Signal(libc::SIGTERM));

    #[test]
    fn signals_that_ask_to_end_excuse_a_message_and_others_do_not() {
        let mut outside = Outside::default();
        for (signal, excused) in
            [(libc::SIGINT, true), (libc::SIGHUP, true), (libc::SIGKILL, false), (libc::SIGSEGV, false)]
        {
            let death = Death::Exit(Exit::Signal(signal));
            assert_eq!(outside.excuses(PluginKind::Producer, 7, death), excused, "{death}");
        }
        assert!(!outside.excuses(PluginKind::Producer, 7, Death::Exit(Exit::Code(0))));
    }

    #[test]
    fn message_at_which_its_process_always_ends_so_is_not_excused_for_ever() {
        let mut outside = Outside::default();
        for _ in 0..MAX_EXCUSES {
            assert!(outside.excuses(PluginKind::Producer, 7, TERMINATED));
        }
        assert!(!outside.excuses(PluginKind::Producer, 7, TERMINATED));
        assert!(outside.excuses(PluginKind::Producer, 8, TERMINATED));
        assert!(outside.excuses(PluginKind::Commander, 7, TERMINATED));
    }

    #[test]
    fn message_is_not_excused_for_ever_while_others_are_too() {
        let mut outside = Outside::default();
        for other in 1..KEPT as u64 {
            assert!(outside.excuses(PluginKind::Producer, other, TERMINATED));
        }
        for _ in 0..MAX_EXCUSES {
            assert!(outside.excuses(PluginKind::Producer, 0, TERMINATED));
        }
        assert!(!outside.excuses(PluginKind::Producer, 0, TERMINATED));
    }
}
