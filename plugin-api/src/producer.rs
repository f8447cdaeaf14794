//! The trait that a producer plugin implements, and what its methods are told.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::schema::Schema;
use crate::seed::{self, Rng};
use crate::slot::Slot;
use crate::stop::StopFlag;

/// Fills slots with arrays, one batch a message. Runs in worker processes, many of them side by side.
///
/// The order of calls: [`schema`](Self::schema) once in a process of its own, to learn how much memory is needed;
/// then in each worker `schema`, [`new`](Self::new), [`produce`](Self::produce) for each message that the worker gets, and
/// `drop` at the end of the stream. A worker has a single thread, unless the plugin starts others.
///
/// A panic in any of them is caught and becomes that batch's error. A crash ends the worker only: another one does
/// the message again.
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
///     fn produce(&mut self, message: Message, slot: &mut Slot<'_>, _context: &mut ProduceContext<'_>) -> Result<()> {
///         slot.array::<f32, Ix2>("x")?.fill(message.index);
///         Ok(())
///     }
/// }
///
/// cobuf_plugin_api::export_producer!(Constant);
/// # fn main() {}
/// ```
pub trait Producer: Sized + 'static {
    /// The plugin's configuration: the `producer.config` table of a pipeline file. A field that it does not have is
    /// refused. Its JSON Schema is shown by `cobuf inspect`.
    type Config: DeserializeOwned + schemars::JsonSchema;

    /// What it needs of a message, which must be a dictionary: a struct, or [`Dictionary`](crate::Dictionary) for any.
    /// Entries that it does not name are left alone.
    type Message: DeserializeOwned;

    /// The arrays of every slot, from the configuration alone: the same configuration must give the same schema in
    /// every process.
    ///
    /// # Errors
    /// Ends the start of the host with this error.
    fn schema(config: &Self::Config) -> anyhow::Result<Schema>;

    /// Makes the producer, in the worker, after the fork: open files, start threads, load models here.
    ///
    /// # Errors
    /// Ends the start of the host with this error.
    fn new(config: Self::Config, context: &WorkerContext) -> anyhow::Result<Self>;

    /// Fills the slot's arrays from a message.
    ///
    /// The content should depend on the configuration, the message and the [generator](ProduceContext::rng) only: then
    /// a run is reproducible whatever the number of workers, and a message that is done again gives the same bytes.
    ///
    /// # Errors
    /// Becomes the error of this batch, with its chain; the producer goes on with the next message.
    fn produce(
        &mut self,
        message: Self::Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> anyhow::Result<()>;
}

/// Which worker this is.
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

    /// The number of workers. Content should not depend on it.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// How often this worker was started before: 0, unless it died and was replaced.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Whether the host wants to stop. Long work should look now and then and return: what takes longer than the
    /// host's patience is killed.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_set()
    }
}

/// What belongs to one message.
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

    /// How many attempts at this message ended in a worker's death before: 0 at first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The message's seed: it depends on the run's seed and the sequence number only.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The message's generator, made from [`seed`](Self::seed) at the first call.
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
