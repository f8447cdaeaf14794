//! Every default and every maximum of the host, with its reason.

use std::time::Duration;

/// The most workers of one host. Each is a process.
pub const MAX_WORKERS: usize = 1024;
/// The most slots of one host.
pub const MAX_SLOTS: usize = 16 * 1024;
/// Slots for each worker, where their number is not given: one being filled, one ready, two of slack, as in
/// `concurrentbuffer`.
pub(crate) const DEFAULT_SLOTS_PER_WORKER: usize = 4;
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
/// How often a message is tried whose worker dies, before its batch becomes an error, where nothing else is said; and how often a
/// commander is started that dies at one message.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// The most attempts that can be asked for: a slot's word counts no further.
pub const MAX_ATTEMPTS: u32 = 16_383;
/// The shortest deadline of a message: the clock that it is measured by moves every 1 to 10 ms.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(20);
/// The longest deadline that is counted: whoever asks for more wants none, and a clock's time can still be added to it.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How often in a row a fork server may die, with no batch delivered in between, until the stream ends.
pub(crate) const MAX_FORK_SERVER_STARTS: u32 = 3;
/// How many failed attempts at a message are kept, with log and stack: the first, and the last ones.
pub(crate) const KEPT_ATTEMPTS: usize = 32;
/// How many of the last lines of a plugin's log an [`Attempt`](crate::Attempt) keeps, of each worker.
pub const KEPT_LOG_LINES: usize = 10;
/// The most bytes of each of them; the rest is cut.
pub const KEPT_LOG_LINE_BYTES: usize = 500;
/// How many messages a commander that saves its state gives from one saving to the next.
pub const SAVE_EVERY: u64 = 64;
/// How long [`start`](crate::HostBuilder::start) waits for plugins to be opened and constructed.
pub(crate) const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long plugins may take to finish once the host stops; what is left then is killed.
pub(crate) const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(2);
/// How many messages a new producer is rehearsed with, until it can do one.
pub(crate) const MAX_REHEARSED_MESSAGES: usize = 8;
/// How long a consumer waits, with every slot held by the application's own batches, before it says so in the log.
pub(crate) const HELD_WARNING_AFTER: Duration = Duration::from_secs(1);
/// How often in a row a worker may die before its plugin is constructed, until it is given up.
pub const MAX_FAILED_STARTS: u32 = 3;
/// The wait before a worker that died before its plugin was constructed is started again; doubled each time.
pub(crate) const RESTART_BACKOFF: Duration = Duration::from_millis(20);
/// How long the processes of a dead fork server may take to end, before the host gives the run up.
pub(crate) const ORPHANS_LIMIT: Duration = Duration::from_secs(10);
/// How many requests may be without an answer: the socket that answers come by holds some 250, and whoever writes to a full one waits.
pub(crate) const MAX_UNANSWERED: u32 = 32;
/// How long the fork server may take for an answer, before it is killed and replaced. It looks at one stack at a time.
pub(crate) const SERVER_ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long looking at the stack of a process may take.
pub(crate) const STACK_CAPTURE_LIMIT: Duration = Duration::from_secs(1);
/// The stack of the handler that runs when a plugin's process crashes.
pub(crate) const CRASH_STACK_BYTES: usize = 64 * 1024;
/// How fast a worker is taken to fill memory: until it can be over its limit, it need not be looked at.
pub(crate) const MEMORY_BYTES_A_NANO: u64 = 8;
/// The time from one look at the workers' memory to the next is within these bounds.
pub(crate) const MEMORY_LOOK_AT_LEAST: Duration = Duration::from_millis(5);
/// As above.
pub(crate) const MEMORY_LOOK_AT_MOST: Duration = Duration::from_millis(500);
/// The longest such wait of a worker that dies again and again without having done a message.
pub(crate) const MAX_RESTART_BACKOFF: Duration = Duration::from_millis(200);
/// How long the throughput of one number of workers is measured, where the number is found automatically.
pub(crate) const TUNE_WINDOW: Duration = Duration::from_millis(500);
/// How many messages each worker must have done in that time; otherwise it is measured for longer.
pub(crate) const TUNE_MESSAGES_PER_WORKER: u64 = 3;
/// How many workers are tried at most where their number is found automatically and nothing else is said, for each CPU.
pub const TUNED_WORKERS_PER_CPU: usize = 4;
/// How long past its grace a fork server may take to end, before it is killed.
pub(crate) const SERVER_MARGIN: Duration = Duration::from_secs(1);
/// The most bytes of one event that a process sends to the host: a log record, a report, a schema.
pub(crate) const MAX_EVENT_BYTES: usize = 128 * 1024;
/// The most bytes of a log record's text; the rest is cut.
pub(crate) const MAX_LOG_BYTES: usize = 32 * 1024;
/// The most bytes of an error report in an event.
pub(crate) const MAX_REPORT_BYTES: usize = 32 * 1024;
/// The most threads in the stack of one process; the main thread is the first.
#[cfg(feature = "stacks")]
pub(crate) const MAX_STACK_THREADS: usize = 16;
/// The most frames in a thread's stack, innermost first: an endless recursion is known from these.
pub(crate) const MAX_STACK_FRAMES: usize = 64;
/// The most bytes of all files' names in a stack; with the frames of all threads it is below half of an event.
#[cfg(feature = "stacks")]
pub(crate) const MAX_STACK_NAME_BYTES: usize = 32 * 1024;
/// The most bytes that are read of one file's unwind tables; they are commonly a tenth of the file or less.
#[cfg(feature = "stacks")]
pub(crate) const MAX_UNWIND_TABLE_BYTES: u64 = 96 * 1024 * 1024;
/// How long each process of an examination may take, where nothing else is said.
pub const DEFAULT_EXAMINATION_LIMIT: Duration = Duration::from_secs(30);
/// How long an examination looks for leaks in the first of its windows, where nothing else is said; the others have as many messages.
pub const DEFAULT_SOAK: Duration = Duration::from_millis(200);
/// How many messages of a commander an examination of its producer takes.
pub(crate) const EXAMINED_MESSAGES: u64 = 8;
/// How long a process looks again and again for something to do, while others may run, before it sleeps. As long as it takes to sleep and
/// be woken: by waiting for longer nobody can win more than that.
pub(crate) const SPIN_LIMIT: Duration = Duration::from_micros(20);
/// It does so only where its waits took less than this of late, being woken included.
pub(crate) const SPIN_BELOW: Duration = Duration::from_micros(50);
/// A commander that sleeps for want of free slots is woken once no more than this part of the slots hold queued messages: one in four
/// is one for each worker, where nothing else is said.
pub(crate) const LOW_BACKLOG_PART: u64 = 4;
