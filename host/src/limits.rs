//! Every default and every maximum of the host, with its unit, the setting that it belongs to, and
//! the reason for its value.
//!
//! Settings are methods of [`HostBuilder`](crate::HostBuilder) unless another type is named.

use std::time::Duration;

/// The most workers of one host ([`workers`](crate::HostBuilder::workers),
/// [`set_workers`](crate::Host::set_workers)). Each worker is a process.
pub const MAX_WORKERS: usize = 1024;
/// The most slots of one host ([`slots`](crate::HostBuilder::slots)).
pub const MAX_SLOTS: usize = 16 * 1024;
/// The number of slots for each worker if [`slots`](crate::HostBuilder::slots) is not set: one
/// being filled, one ready, and two of slack, as in `concurrentbuffer`.
pub(crate) const DEFAULT_SLOTS_PER_WORKER: usize = 4;
/// The most ranks of a job ([`Rank`](crate::Rank)): more processes than any launcher starts.
pub const MAX_RANKS: u32 = 1 << 20;
/// The seed of a run if [`seed`](crate::HostBuilder::seed) is not set.
pub const DEFAULT_SEED: u64 = 0;
/// The default of [`message_capacity`](crate::HostBuilder::message_capacity): bytes that each slot
/// has for its message.
pub const DEFAULT_MESSAGE_CAPACITY: usize = 64 * 1024;
/// The largest [`message_capacity`](crate::HostBuilder::message_capacity), in bytes.
pub const MAX_MESSAGE_CAPACITY: usize = 64 * 1024 * 1024;
/// The smallest [`message_capacity`](crate::HostBuilder::message_capacity), in bytes: room for an
/// index and its name.
pub const MIN_MESSAGE_CAPACITY: usize = 64;
/// The default of [`metadata_capacity`](crate::HostBuilder::metadata_capacity): bytes that each slot
/// has for the batch's metadata, or for the report of its failure.
pub const DEFAULT_METADATA_CAPACITY: usize = 64 * 1024;
/// The largest [`metadata_capacity`](crate::HostBuilder::metadata_capacity), in bytes.
pub const MAX_METADATA_CAPACITY: usize = 64 * 1024 * 1024;
/// The smallest [`metadata_capacity`](crate::HostBuilder::metadata_capacity), in bytes: room for an
/// error and its causes. A longer report is cut.
pub const MIN_METADATA_CAPACITY: usize = 1024;
/// The default of [`max_attempts`](crate::HostBuilder::max_attempts). It is the number of times
/// that a message is tried if its worker dies each time; then the batch becomes an error. It is
/// also the number of times that a commander is started if it dies at the same message each time.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// The largest [`max_attempts`](crate::HostBuilder::max_attempts): the counter in a slot's word
/// holds no more.
pub const MAX_ATTEMPTS: u32 = 16_383;
/// The shortest deadline of a message ([`message_timeout`](crate::HostBuilder::message_timeout),
/// [`commander_timeout`](crate::HostBuilder::commander_timeout)): the clock that measures it
/// advances in steps of 1 to 10 ms.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(20);
/// The default of [`trace_batches`](crate::HostBuilder::trace_batches): the most batches that a trace
/// keeps, in some 10 MB of memory and 30 MB of file, which viewers open in seconds.
pub const DEFAULT_TRACE_BATCHES: usize = 50_000;
/// The largest [`trace_batches`](crate::HostBuilder::trace_batches).
pub const MAX_TRACE_BATCHES: usize = 10_000_000;
/// How many deaths, swaps and checkpoints a trace keeps, the last ones.
pub(crate) const MAX_TRACED_EVENTS: usize = 10_000;
/// How many threads of consumers a trace tells apart.
pub(crate) const MAX_TRACED_THREADS: usize = 64;
/// The longest deadline that is enforced, about 100 years. An application that sets a longer one
/// wants none; this one can still be added to a clock's time without overflow.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// How many fork servers in a row may die with no batch delivered in between. Then the stream ends
/// with an error.
pub(crate) const MAX_FORK_SERVER_STARTS: u32 = 3;
/// How many failed attempts at one message are kept, each with its log and stack: the first attempt
/// and the latest ones.
pub(crate) const KEPT_ATTEMPTS: usize = 32;
/// How many lines from the end of each worker's log an [`Attempt`](crate::Attempt) keeps.
pub const KEPT_LOG_LINES: usize = 10;
/// The most bytes of each of these log lines; longer lines are cut.
pub const KEPT_LOG_LINE_BYTES: usize = 500;
/// How many messages a commander that saves its state gives between two saves.
pub const SAVE_EVERY: u64 = 64;
/// The default of [`start_timeout`](crate::HostBuilder::start_timeout): how long
/// [`start`](crate::HostBuilder::start) waits for plugins to be opened and constructed.
pub(crate) const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(120);
/// The default of [`stop_grace`](crate::HostBuilder::stop_grace): how long plugins may take to
/// finish after the host stops. Processes that are left then are killed.
pub(crate) const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(2);
/// With how many messages at most a new producer is rehearsed before a swap. The rehearsal ends
/// with the first message that the producer can do.
pub(crate) const MAX_REHEARSED_MESSAGES: usize = 8;
/// How long a consumer waits while the application's own batches hold every slot, until the host
/// logs a warning.
pub(crate) const HELD_WARNING_AFTER: Duration = Duration::from_secs(1);
/// How many times in a row a worker may die before its plugin is constructed. Then it is not
/// started again; if this was the last worker, the stream ends with an error.
pub const MAX_FAILED_STARTS: u32 = 3;
/// The wait before a worker is started again that has died twice in a row without completing a
/// message. It doubles with each further such death, up to [`MAX_RESTART_BACKOFF`].
pub(crate) const RESTART_BACKOFF: Duration = Duration::from_millis(20);
/// How long the processes of a dead fork server may take to end. Then the host ends the run.
pub(crate) const ORPHANS_LIMIT: Duration = Duration::from_secs(10);
/// How many requests to the fork server may be unanswered. The socket for its answers holds about
/// 250, and a sender that finds it full has to wait.
pub(crate) const MAX_UNANSWERED: u32 = 32;
/// How often a process may be ended from outside at one message before that counts as an attempt at
/// the message.
pub(crate) const MAX_EXCUSES: u32 = 10;
/// How long the fork server may take to answer before the supervisor kills and replaces it. It
/// captures one stack at a time.
pub(crate) const SERVER_ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the fork server may take to capture the stack of one process.
pub(crate) const STACK_CAPTURE_LIMIT: Duration = Duration::from_secs(1);
/// How long the fork server waits for what the interpreter of a process that it is to kill says of
/// its threads. It takes about a millisecond.
pub(crate) const TRACE_LIMIT: Duration = Duration::from_millis(50);
/// The most bytes of that text. Together with a stack it fits an event.
pub(crate) const MAX_TRACE_BYTES: usize = 24 * 1024;
/// Bytes of stack for the handler that runs when a plugin's process crashes.
pub(crate) const CRASH_STACK_BYTES: usize = 64 * 1024;
/// How fast a worker is assumed to fill memory, in bytes a nanosecond. The fork server looks at a
/// worker's memory no earlier than the worker can reach its limit at this rate.
pub(crate) const MEMORY_BYTES_A_NANO: u64 = 8;
/// The part of the fork server's time that it may take to count the pages of one worker which it
/// shares with other processes: one in this many.
pub(crate) const MEMORY_COUNT_PART: u32 = 20;
/// The shortest time between two looks at the workers' memory.
pub(crate) const MEMORY_LOOK_AT_LEAST: Duration = Duration::from_millis(5);
/// The longest time between two looks at the workers' memory.
pub(crate) const MEMORY_LOOK_AT_MOST: Duration = Duration::from_millis(500);
/// The longest wait before a worker is started again that dies repeatedly without completing a
/// message.
pub(crate) const MAX_RESTART_BACKOFF: Duration = Duration::from_millis(200);
/// How long the throughput of each number of workers is measured if the host finds the number
/// ([`Workers::Auto`](crate::Workers::Auto)).
pub(crate) const TUNE_WINDOW: Duration = Duration::from_millis(500);
/// How many messages each worker must complete in one [`TUNE_WINDOW`]; if it completes fewer, the
/// measurement is extended.
pub(crate) const TUNE_MESSAGES_PER_WORKER: u64 = 3;
/// How many workers [`Workers::auto`](crate::Workers::auto) tries at most for each CPU that the
/// process may use.
pub const TUNED_WORKERS_PER_CPU: usize = 4;
/// How long after its grace a fork server may take to end before it is killed.
pub(crate) const SERVER_MARGIN: Duration = Duration::from_secs(1);
/// The most bytes of one event that a process sends to the host: a log record, a report or a
/// schema.
pub(crate) const MAX_EVENT_BYTES: usize = 128 * 1024;
/// The most bytes of a log record's text; longer texts are cut.
pub(crate) const MAX_LOG_BYTES: usize = 32 * 1024;
/// The most bytes of an error report in an event.
pub(crate) const MAX_REPORT_BYTES: usize = 32 * 1024;
/// The most threads in the stack of one process. The main thread is the first.
#[cfg(feature = "stacks")]
pub(crate) const MAX_STACK_THREADS: usize = 16;
/// The most frames in a thread's stack, innermost first. They are enough to recognise an endless
/// recursion.
pub(crate) const MAX_STACK_FRAMES: usize = 64;
/// The most bytes of all file names in a stack. Together with the frames of all threads it stays
/// below half of an event.
#[cfg(feature = "stacks")]
pub(crate) const MAX_STACK_NAME_BYTES: usize = 32 * 1024;
/// The most bytes that are read of one file's unwind tables. These tables are usually a tenth of
/// the file or less.
#[cfg(feature = "stacks")]
pub(crate) const MAX_UNWIND_TABLE_BYTES: u64 = 96 * 1024 * 1024;
/// The default of an examination's limit: how long each of its processes may take.
pub const DEFAULT_EXAMINATION_LIMIT: Duration = Duration::from_secs(30);
/// The default of an examination's soak: how long the first of its windows looks for leaks. The
/// other windows have as many messages as the first.
pub const DEFAULT_SOAK: Duration = Duration::from_millis(200);
/// How many messages of a commander an examination of its producer uses.
pub(crate) const EXAMINED_MESSAGES: u64 = 8;
/// How long a process looks repeatedly for something to do, while other processes may run, before
/// it sleeps. It is as long as sleeping and being woken take; a longer wait cannot save more than
/// that.
pub(crate) const SPIN_LIMIT: Duration = Duration::from_micros(20);
/// A process looks repeatedly only if its recent waits took less than this, including the time to
/// be woken.
pub(crate) const SPIN_BELOW: Duration = Duration::from_micros(50);
/// A yield is long if it took more than this: another program computes on the processor, and sleeping would
/// have cost little beside it. Processes of a run give the processor up sooner.
pub(crate) const LONG_YIELD: Duration = Duration::from_millis(1);
/// The number of waits that sleep at once after a long yield, if it was the first for long.
pub(crate) const MIN_REST: u32 = 64;
/// The most waits that sleep at once after a long yield. Then a process tries again.
pub(crate) const MAX_REST: u32 = 8192;
/// A worker's messages are quick if they take less than this: about as long as to wake another worker,
/// which is not worth it then.
pub(crate) const QUICK_MESSAGE: Duration = Duration::from_micros(20);
/// How long the claim of a worker whose messages are quick counts: until then it is taken to look for the
/// next one soon, and other workers are woken at most once in this time.
pub(crate) const TENDED_FOR: Duration = Duration::from_micros(250);
/// How long a task may take batches that are ready before it lets other tasks of its thread run: as
/// long as some hundred tiny batches take.
pub(crate) const TASK_TURN: Duration = Duration::from_micros(100);
/// A commander that sleeps because no slot is free is woken once at most one in this many slots
/// holds a queued message. With the default number of slots, one in four is one for each worker.
pub(crate) const LOW_BACKLOG_PART: usize = 4;
