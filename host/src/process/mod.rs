//! The forked processes of a run, and the fork server that forks them.
//!
//! ```text
//!   host ──Request (stream)──► fork server ──fork──► probe, rehearsal, commander, worker 0 … N-1
//!    ▲                              │                          │
//!    └───────── Event (datagrams: one socket, many writers) ◄──┘
//!
//!   launch       the host's end: starts a fork server, by exec or by fork; connection: the fork
//!                server and its two sockets
//!   fork_server  forks, reaps, reports; kills all its processes when the host is gone
//!   entry        the first and last steps of every forked process
//!   child        prepares a forked process as the user asked, and sends its logs to the host
//!   crash        reports the crash of its own process to the host
//!   commander    the commander's loop
//!   worker       a worker's loop
//!   run_clock    the time without pauses of the whole run, by which deadlines are measured
//!   rehearsal    a plugin that may replace another one does one message
//!   examiner     puts a plugin through a task of an examination and notes the results
//!   lengths      room in which a producer sets the lengths of a batch
//!   arena        memory for a producer's arrays in which stray writes are found
//!   strays       ends programs that plugins have started and left behind
//!   stack        captures the stacks of another process's threads, from outside
//!   trace        what an interpreter in a process says of its threads
//!   relay        what jailed processes print, on its way to the application
//!   memory       whether a worker exceeds its memory limit
//!   system       the system calls that need unsafe
//! ```
//!
//! The messages and their two sockets are in `protocol/`.
//!
//! Invariants: the fork server is single-threaded (but for the helper thread of `stack`) and never
//! opens a plugin; batches and messages never go through these sockets.

pub(crate) mod arena;
pub(crate) mod child;
mod commander;
pub(crate) mod connection;
mod crash;
mod entry;
mod examiner;
pub(crate) mod fork_server;
pub(crate) mod launch;
mod lengths;
mod memory;
mod rehearsal;
#[cfg(feature = "sandbox")]
pub(crate) mod relay;
pub(crate) mod run_clock;
pub(crate) mod stack;
mod strays;
pub(crate) mod system;
mod trace;
mod worker;
