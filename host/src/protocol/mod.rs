//! What the processes of a run say to each other.
//!
//! ```text
//!   host ──Request (stream)──► fork server ──fork──► probe, rehearsal, commander, worker 0 … N-1
//!    ▲                              │                          │
//!    └───────── Event (datagrams: one socket, many writers) ◄──┘
//!
//!   role         what a forked process is for
//!   setup        what a plugin's process is given, and what it may use
//!   plan         what processes are started for
//!   examination  what an examiner does for `cobuf check`, and what it notes; fingerprint: batches in a few numbers
//!   message      Request, Event, SetupFailure
//!   channel      the two sockets
//! ```
//!
//! Batches and messages never go through these sockets.

pub(crate) mod channel;
pub(crate) mod examination;
pub(crate) mod fingerprint;
pub(crate) mod message;
pub(crate) mod plan;
pub(crate) mod role;
pub(crate) mod setup;
