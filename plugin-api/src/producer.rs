//! The trait that a producer plugin implements, and the contexts that its methods are given.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::schema::Schema;
use crate::seed::{self, Rng};
use crate::slot::Slot;
use crate::stop::StopFlag;

/// Fills slots with arrays, one batch for each message. It runs in worker processes, usually
/// several at the same time.
///
/// The host calls the methods in this order:
///
/// 1. [`schema`](Self::schema) once, in a process of its own, to learn how much memory a slot
///    needs.
/// 2. In each worker `schema`, then [`new`](Self::new), then [`produce`](Self::produce) for each
///    message that the worker claims, and `drop` at the end of the stream.
///
/// A worker calls the plugin from one thread; the plugin may start threads of its own.
///
/// A panic in a method is caught. In `produce` it becomes the error of that batch, and the worker
/// makes a new producer; an error can ask for that, too, see [`renew`](crate::renew). A crash ends
/// the worker only: another worker retries the message.
///
/// ```
/// use cobuf_plugin_api::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(crate = "cobuf_plugin_api::serde")]
/// #[schemars(crate = "cobuf_plugin_api::schemars")]
/// pub struct Config {
///     /// The number of rows in a batch.
///     batch_size: usize,
/// }
///
/// #[derive(Deserialize)]
/// #[serde(crate = "cobuf_plugin_api::serde")]
/// pub struct Message {
///     index: f32,
/// }
///
/// pub struct Constant;
///
/// impl Producer for Constant {
///     type Config = Config;
///     type Message = Message;
///
///     fn schema(config: &Config) -> Result<Schema> {
///         Ok(Schema::new([ArraySpec::new("x", DType::F32, [config.batch_size, 3])])?)
///     }
///
///     fn new(_config: Config, _context: &WorkerContext) -> Result<Self> {
///         Ok(Constant)
///     }
///
///     fn produce(
///         &mut self,
///         message: Message,
///         slot: &mut Slot<'_>,
///         _context: &mut ProduceContext<'_>,
///     ) -> Result<()> {
///         slot.array::<f32, Ix2>("x")?.fill(message.index);
///         Ok(())
///     }
/// }
///
/// cobuf_plugin_api::export_producer!(Constant);
/// # fn main() {}
/// ```
pub trait Producer: Sized + 'static {
    /// The plugin's configuration: the `producer.config` table of a pipeline file. The host refuses
    /// a field that this type does not have. `cobuf inspect` shows its JSON Schema.
    type Config: DeserializeOwned + schemars::JsonSchema;

    /// The entries of a message that the producer needs. A message is a dictionary, so this is a
    /// struct, or [`Dictionary`](crate::Dictionary) for all entries. Entries that a struct does not
    /// name are ignored.
    type Message: DeserializeOwned;

    /// The arrays of every slot. They depend on the configuration alone: the same configuration
    /// must give the same schema in every process.
    ///
    /// # Errors
    /// An error or a panic ends the start of the host.
    fn schema(config: &Self::Config) -> anyhow::Result<Schema>;

    /// Makes the producer, in the worker, after the fork: open files, start threads and load models
    /// here.
    ///
    /// # Errors
    /// An error or a panic ends the start of the host.
    fn new(config: Self::Config, context: &WorkerContext) -> anyhow::Result<Self>;

    /// Fills the slot's arrays from a message.
    ///
    /// The content should depend on the configuration, the message and the
    /// [generator](ProduceContext::rng) only. Then a run is reproducible with any number of
    /// workers, and a retried message gives the same bytes.
    ///
    /// # Errors
    /// An error becomes the error of this batch, with its chain of causes, and is not retried. The
    /// producer continues with the next message.
    fn produce(
        &mut self,
        message: Self::Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> anyhow::Result<()>;
}

/// The worker that a producer runs in.
#[derive(Debug, Clone)]
pub struct WorkerContext {
    pub(crate) worker: u32,
    pub(crate) workers: u32,
    pub(crate) incarnation: u32,
    pub(crate) stop: StopFlag,
}

impl WorkerContext {
    /// The worker's number, from 0.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// The number of workers that the host was started with. It may change later, by
    /// `Host::set_workers` or by auto-tuning, and this value does not follow. Content should not
    /// depend on it.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// How often this worker was started before: 0, unless it died and was replaced.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Whether the host wants to stop. Long work should check it now and then, and return an error:
    /// a worker that is still busy after the host's grace period (by default 2 seconds) is killed.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_set()
    }
}

/// The message that is being produced: its number, attempt, seed and generator.
pub struct ProduceContext<'worker> {
    worker: &'worker WorkerContext,
    sequence: u64,
    attempt: u32,
    seed: u64,
    rng: Option<Rng>,
}

impl<'worker> ProduceContext<'worker> {
    pub(crate) fn new(worker: &'worker WorkerContext, sequence: u64, attempt: u32, seed: u64) -> Self {
        Self { worker, sequence, attempt, seed, rng: None }
    }

    /// The worker that produces the message.
    pub fn worker(&self) -> &WorkerContext {
        self.worker
    }

    /// The message's number in the stream, from 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of earlier attempts at this message that ended with the death of a worker: 0 at
    /// first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The message's seed. It depends only on the run's seed and the sequence number.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The message's generator, which is made from [`seed`](Self::seed) at the first call.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng.get_or_insert_with(|| seed::generator(self.seed))
    }

    /// As [`WorkerContext::stop_requested`].
    pub fn stop_requested(&self) -> bool {
        self.worker.stop_requested()
    }
}

impl fmt::Debug for ProduceContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceContext")
            .field("worker", &self.worker.worker)
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
