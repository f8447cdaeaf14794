//! The trait that a commander plugin implements, and what its methods are told.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::seed::{self, Rng};
use crate::state::SavedState;
use crate::stop::StopFlag;

/// Says what to produce: one message, a dictionary, for each batch. Runs in one process of its own.
///
/// A commander is a function of its configuration, the run's seed and the number of messages asked for so far: the
/// same three give the same messages, in every run. So it can be restarted and resumed.
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
    /// The plugin's configuration: the `commander.config` table of a pipeline file. A field that it does not have is
    /// refused. Its JSON Schema is shown by `cobuf inspect`.
    type Config: DeserializeOwned + schemars::JsonSchema;

    /// A message, which must be a dictionary: a struct or a map with text keys, or a [`Dictionary`](crate::Dictionary).
    type Message: Serialize;

    /// Makes the commander, in its process, after the fork.
    ///
    /// # Errors
    /// Ends the start of the host with this error.
    fn new(config: Self::Config, context: &CommanderContext) -> anyhow::Result<Self>;

    /// The next message, or `None` at the end of the stream; it is not called again after that.
    ///
    /// # Errors
    /// Ends the stream with this error, after all batches that were commanded before, unless the host was asked to start the
    /// commander again.
    fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Self::Message>>;

    /// The number of messages in the whole stream, where it is known and finite: for progress bars.
    fn total(&self) -> Option<u64> {
        None
    }

    /// Goes on to the message `to`, which is asked for next, from that of [`CommanderContext::sequence`]: at the start of a run
    /// that is resumed, in place of a commander that died, and past messages that were delivered by an earlier run.
    ///
    /// By default it asks [`next`](Self::next) for the messages in between and drops them. A commander that can tell any message
    /// from its number alone has nothing to do: `Ok(())`.
    ///
    /// # Errors
    /// As of `next`.
    fn skip(&mut self, context: &mut CommanderContext, to: u64) -> anyhow::Result<()> {
        while context.sequence < to && self.next(context)?.is_some() {
            context.sequence += 1;
        }
        Ok(())
    }

    /// The commander's state before the message of [`CommanderContext::sequence`], for [`restore`](Self::restore), where asking
    /// for all messages again would not bring it there, or take too long. It is asked for now and then
    /// (`cobuf_host::limits::SAVE_EVERY`), and travels in checkpoints: keep it small. By default there is none.
    ///
    /// # Errors
    /// Before the first message, ends the start of the host; then as of `next`.
    fn save(&mut self, context: &CommanderContext) -> anyhow::Result<Option<SavedState>> {
        let _ = context;
        Ok(None)
    }

    /// Takes over the state that another one with the same configuration and seed saved before the message of
    /// [`CommanderContext::sequence`]. Called at most once, before anything else.
    ///
    /// # Errors
    /// Where it is of a version that this commander cannot read; ends the start of the host.
    fn restore(&mut self, context: &CommanderContext, state: &SavedState) -> anyhow::Result<()> {
        let _ = context;
        anyhow::bail!("a state of version {} cannot be restored: this commander saves none", state.version())
    }
}

/// What a commander is told.
#[derive(Debug, Clone)]
pub struct CommanderContext {
    pub(crate) seed: u64,
    pub(crate) sequence: u64,
    pub(crate) stop: StopFlag,
}

impl CommanderContext {
    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of the message that is asked for, from 0; in [`Commander::new`] that of the first one.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A generator of the run's seed and a number of the commander's choice, such as the epoch's, so that an epoch's
    /// shuffle can be made without those before it.
    pub fn rng(&self, stream: u64) -> Rng {
        // Not the same numbers as the producer of message `stream` has, which uses `message_seed` itself.
        seed::generator(!seed::message_seed(self.seed, stream))
    }

    /// Whether the host wants to stop. Long work should look now and then and return.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_set()
    }
}
