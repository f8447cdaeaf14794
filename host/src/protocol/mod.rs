//! The protocol between the processes of a run.
//!
//! ```text
//!   host ──Request (stream)──► fork server ──fork──► probe, rehearsal, commander, worker 0 … N-1
//!    ▲                              │                          │
//!    └───────── Event (datagrams: one socket, many writers) ◄──┘
//!
//!   role         the role of a forked process
//!   setup        how a plugin's process is prepared, and its limits
//!   plan         the settings that all forked processes of a run share
//!   examination  an examiner's task for `cobuf check`, and its notes
//!   fingerprint  a batch as a few numbers, by which examinations compare batches
//!   message      Request, Event, SetupFailure
//!   channel      the two sockets
//!   senders      which process may say what
//! ```
//!
//! Batches and messages never go through these sockets.

pub(crate) mod channel;
pub(crate) mod examination;
pub(crate) mod fingerprint;
pub(crate) mod message;
pub(crate) mod plan;
pub(crate) mod role;
mod senders;
pub(crate) mod setup;
