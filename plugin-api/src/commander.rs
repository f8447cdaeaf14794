//! The trait that a commander plugin implements, and the context that its methods are given.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::seed::{self, Rng};
use crate::state::SavedState;
use crate::stop::StopFlag;

/// Says what to produce: one message, which is a dictionary, for each batch. It runs in one process
/// of its own.
///
/// A commander is a function of its configuration, the run's seed and the number of messages asked
/// for so far. The same three give the same messages in every run, so the host can restart and
/// resume a commander.
///
/// The host calls [`new`](Self::new) once, then [`next`](Self::next) for each message. If it
/// resumes a run or replaces a commander that died, it first calls [`restore`](Self::restore) or
/// [`skip`](Self::skip). All calls come from one thread, in the commander's process.
///
/// ```
/// use cobuf_plugin_api::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(crate = "cobuf_plugin_api::serde")]
/// #[schemars(crate = "cobuf_plugin_api::schemars")]
/// pub struct Config {
///     /// The number of messages.
///     count: u64,
/// }
///
/// #[derive(Serialize)]
/// #[serde(crate = "cobuf_plugin_api::serde")]
/// pub struct Message {
///     index: u64,
/// }
///
/// pub struct Counter(Config);
///
/// impl Commander for Counter {
///     type Config = Config;
///     type Message = Message;
///
///     fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
///         Ok(Counter(config))
///     }
///
///     fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
///         let index = context.sequence();
///         Ok((index < self.0.count).then_some(Message { index }))
///     }
/// }
///
/// cobuf_plugin_api::export_commander!(Counter);
/// # fn main() {}
/// ```
pub trait Commander: Sized + 'static {
    /// The plugin's configuration: the `commander.config` table of a pipeline file. The host
    /// refuses a field that this type does not have. `cobuf inspect` shows its JSON Schema.
    type Config: DeserializeOwned + schemars::JsonSchema;

    /// A message, which must be a dictionary: a struct or a map with text keys, or a
    /// [`Dictionary`](crate::Dictionary).
    type Message: Serialize;

    /// Makes the commander, in its process, after the fork.
    ///
    /// # Errors
    /// An error ends the start of the host.
    fn new(config: Self::Config, context: &CommanderContext) -> anyhow::Result<Self>;

    /// The next message, or `None` at the end of the stream. After `None` the host does not call it
    /// again.
    ///
    /// # Errors
    /// An error ends the stream, after all batches of earlier messages, unless the application has
    /// asked the host to restart the commander.
    fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Self::Message>>;

    /// The number of messages in the whole stream, for progress bars; `None` (the default) if it is
    /// unknown or infinite.
    fn total(&self) -> Option<u64> {
        None
    }

    /// Skips from the message of [`CommanderContext::sequence`] to the message `to`, which is asked
    /// for next. The host calls it at the start of a resumed run, after it replaced a commander
    /// that died, and to pass messages that an earlier run has delivered.
    ///
    /// By default it asks [`next`](Self::next) for the messages in between and drops them. If a
    /// commander can make any message from its number alone, `Ok(())` is enough.
    ///
    /// # Errors
    /// As for `next`.
    fn skip(&mut self, context: &mut CommanderContext, to: u64) -> anyhow::Result<()> {
        while context.sequence < to {
            if self.next(context)?.is_none() {
                context.ended = true;
                break;
            }
            context.sequence += 1;
        }
        Ok(())
    }

    /// The commander's state before the message of [`CommanderContext::sequence`], for
    /// [`restore`](Self::restore). Implement both if asking for all earlier messages again would
    /// not restore the state, or would take too long. By default there is no state.
    ///
    /// The host asks for the state every `cobuf_host::limits::SAVE_EVERY` messages (64) and stores
    /// it in checkpoints: keep it small.
    ///
    /// # Errors
    /// Before the first message, an error ends the start of the host; later it is handled as an
    /// error of `next`.
    fn save(&mut self, context: &CommanderContext) -> anyhow::Result<Option<SavedState>> {
        let _ = context;
        Ok(None)
    }

    /// Takes over the state that another commander with the same configuration and seed saved
    /// before the message of [`CommanderContext::sequence`]. The host calls it at most once, before
    /// all other calls but `new`.
    ///
    /// # Errors
    /// The state is of a version that this commander cannot read. An error ends the start of the
    /// host.
    fn restore(&mut self, context: &CommanderContext, state: &SavedState) -> anyhow::Result<()> {
        let _ = context;
        anyhow::bail!("a state of version {} cannot be restored: this commander saves none", state.version())
    }
}

/// The run, and the commander's place in it.
#[derive(Debug, Clone)]
pub struct CommanderContext {
    pub(crate) seed: u64,
    pub(crate) sequence: u64,
    /// Whether a skip has found the end of the stream.
    pub(crate) ended: bool,
    pub(crate) stop: StopFlag,
}

impl CommanderContext {
    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of the message that is asked for, from 0. In [`Commander::new`] it is the number
    /// of the first message.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A generator made from the run's seed and a number of the commander's choice, such as the
    /// epoch's. So an epoch's shuffle can be made without those of the epochs before.
    pub fn rng(&self, stream: u64) -> Rng {
        // Other numbers than the producer of message `stream` gets, which uses `message_seed`
        // itself.
        seed::generator(!seed::message_seed(self.seed, stream))
    }

    /// Whether the host wants to stop. Long work should check it now and then, and return.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_set()
    }
}
