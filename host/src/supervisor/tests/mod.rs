//! The supervisor's parts without a process: the test plays the fork server, the processes, the
//! application and the clock.
//!
//! ```text
//!   play.ready(role), dies(role, how), says(event) ──► parts ──► orders ──► play.alive, play.killed
//! ```
//!
//! Slots are real ones: workers claim messages as they do in a process, and die with them.

mod commander;
mod play;
mod servers;
mod stops;
mod submitted;
mod swap_commander;
mod swap_producer;
mod watchdog;
mod workers;
