//! The parts of the `cobuf` command that the buffer's own benchmark (`host/bench`) uses as well.
//! This is no library for applications; they depend on `cobuf-host`.
//!
//! ```text
//!   measure   measuring in turns: how long, how often, medians, spreads, the machine
//!   output    reports on standard output
//!   progress  the progress bar, and logs
//!   relay     what plugins print, above the bar
//!   signals   Ctrl-C, SIGTERM, SIGHUP
//!   terminal  the thread that writes to standard error
//! ```

pub mod measure;
pub mod output;
pub mod progress;
pub mod relay;
pub mod signals;
mod terminal;
