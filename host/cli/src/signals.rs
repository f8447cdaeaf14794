//! The signals that end a command in order. A second signal ends it at once; the fork server then
//! cleans up.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The convention of shells: 128 plus the signal.
const SIGNAL_BASE: u8 = 128;

/// The signals that were received.
#[derive(Debug)]
pub struct Signals {
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn install() -> Result<Self> {
        let (received, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            let code = i32::from(SIGNAL_BASE) + signal;
            // The order matters: the first signal finds `again` unset, then sets it.
            flag::register_conditional_shutdown(signal, code, again.clone())
                .and_then(|_| flag::register(signal, again.clone()))
                .and_then(|_| flag::register_usize(signal, received.clone(), signal as usize))
                .context("cannot listen for signals")?;
        }
        Ok(Self { received })
    }

    /// The exit code of the command, if a signal was received.
    pub fn exit_code(&self) -> Option<ExitCode> {
        let signal =
            u8::try_from(self.received.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)?;
        Some(ExitCode::from(SIGNAL_BASE + signal))
    }
}
