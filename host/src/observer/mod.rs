//! A look at a run from another process, which need not know the run nor have been asked for when
//! it was started.
//!
//! ```text
//!   find    /proc/PID/fd ─► which processes have a segment ─► the oldest of them is the host
//!   attach  /proc/PID/fd/N, to read ─► the description at its end ─► the layout ─► a mapping to read
//!   look    counters, slots, places, notices ─► View, plain values
//! ```
//!
//! The host does nothing for it: there is no thread, no port, and no word that it writes for an
//! observer alone. The kernel refuses an observer a writable mapping, since it opens the memory to
//! read. Every value may be garbage that a plugin has written, so none is used as an index or a size
//! without a check.

mod attach;
mod error;
mod find;
mod view;

pub use attach::Observer;
pub use error::ObserveError;
pub use find::{FoundRun, find_runs};
pub use view::{Notice, RunState, View, WorkerView};
