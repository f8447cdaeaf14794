//! A stream without faults: its order, content, start, stop, size and continuation.

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod determinism;
mod elastic;
mod event_loops;
mod hot_path;
mod idle;
mod lengths;
mod metrics;
mod order;
mod ranks;
mod replay;
mod resume;
mod roundtrip;
mod saved_state;
mod scenario;
mod stop;
mod submit;
mod submit_refused;
mod submit_resume;
mod trace;
mod verdict;
