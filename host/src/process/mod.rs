//! The processes of a run and how they talk.
//!
//! ```text
//!   host ──Request (stream)──► fork server ──fork──► probe, rehearsal, commander, worker 0 … N-1
//!    ▲                              │                          │
//!    └───────── Event (datagrams: one socket, many writers) ◄──┘
//!
//!   protocol     Request, Event, Plan: what is said
//!   channel      the two sockets
//!   launch       the host's end: starts a fork server, by exec or by fork
//!   fork_server  forks, reaps, reports; kills everyone when the host is gone
//!   crash        has the host look at a process that crashes
//!   entry        what every forked process does first and last; child: how it prepares, and its logs
//!   commander    the commander's loop
//!   rehearsal    a plugin that is to take another's place does one message
//!   worker       a worker's loop
//!   stack        what another process is doing: its threads' stacks, from outside
//!   system       the system calls that need unsafe
//! ```
//!
//! Architecture invariant: the fork server is single-threaded (but for `stack`'s helper) and never opens a plugin; batches and messages
//! never go through these sockets.

pub(crate) mod arena;
pub(crate) mod child;
mod commander;
mod crash;
mod entry;
mod examiner;
pub(crate) mod fork_server;
pub(crate) mod launch;
mod rehearsal;
pub(crate) mod stack;
pub(crate) mod system;
mod worker;
