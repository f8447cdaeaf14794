//! What the `cobuf` command shares with the buffer's own benchmark (`host/bench`). It is no library for others: they depend on `cobuf-host`.
//!
//! ```text
//!   measure   measuring in turns: how long, how often, medians, spreads, the machine
//!   progress  the progress bar, and logs that do not tear it
//!   signals   Ctrl-C and SIGTERM
//! ```

pub mod measure;
pub mod progress;
pub mod signals;
