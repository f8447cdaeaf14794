//! Every default and every maximum of the host, with its reason.

use std::time::Duration;

/// The most workers of one host. Each is a process.
pub const MAX_WORKERS: usize = 1024;
/// The most slots of one host.
pub const MAX_SLOTS: usize = 16 * 1024;
/// Slots for each worker, where their number is not given: one being filled, one ready, two of slack, as in
/// `concurrentbuffer`.
pub const DEFAULT_SLOTS_PER_WORKER: usize = 4;
/// The seed of a run, where none is given.
pub const DEFAULT_SEED: u64 = 0;
/// Bytes for each slot's message, where nothing else is said.
pub const DEFAULT_MESSAGE_CAPACITY: usize = 64 * 1024;
/// The most bytes that a message may be given.
pub const MAX_MESSAGE_CAPACITY: usize = 64 * 1024 * 1024;
/// The fewest bytes that a message must be given: room for an index and its name.
pub const MIN_MESSAGE_CAPACITY: usize = 64;
/// Bytes in each slot for the batch's metadata, or for the report of its failure.
pub const OUTCOME_CAPACITY: usize = 64 * 1024;
/// How often a message is tried whose worker dies, before its batch becomes an error.
pub const MAX_ATTEMPTS: u32 = 3;
/// How long [`start`](crate::HostBuilder::start) waits for plugins to be opened and constructed.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long plugins may take to finish once the host stops; what is left then is killed.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(2);
/// How long a consumer waits, with every slot held by the application's own batches, before it says so in the log.
pub const HELD_WARNING_AFTER: Duration = Duration::from_secs(1);
/// How often in a row a worker may die before its plugin is constructed, until it is given up.
pub const MAX_FAILED_STARTS: u32 = 3;
/// The wait before a worker that died before its plugin was constructed is started again; doubled each time.
pub const RESTART_BACKOFF: Duration = Duration::from_millis(20);
/// The most bytes of one event that a process sends to the host: a log record, a report, a schema.
pub(crate) const MAX_EVENT_BYTES: usize = 128 * 1024;
/// The most bytes of a log record's text; the rest is cut.
pub(crate) const MAX_LOG_BYTES: usize = 32 * 1024;
/// The most bytes of an error report in an event.
pub(crate) const MAX_REPORT_BYTES: usize = 32 * 1024;
/// The most threads in the stack of one process; the main thread is the first.
pub(crate) const MAX_STACK_THREADS: usize = 16;
/// The most frames in a thread's stack, innermost first: an endless recursion is known from these.
pub(crate) const MAX_STACK_FRAMES: usize = 64;
/// The most bytes of all files' names in a stack; with the frames of all threads it is below half of an event.
pub(crate) const MAX_STACK_NAME_BYTES: usize = 32 * 1024;
/// The most bytes that are read of one file's unwind tables; they are commonly a tenth of the file or less.
pub(crate) const MAX_UNWIND_TABLE_BYTES: u64 = 96 * 1024 * 1024;
