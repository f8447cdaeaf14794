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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CommanderHarness;
    use crate::{Dictionary, Value};

    /// Counts the calls by itself: what it gives follows from how often it was asked. Ends before message 5.
    #[derive(Default)]
    struct Counter {
        calls: u64,
    }

    impl Counter {
        fn message(&mut self, context: &CommanderContext) -> Option<Dictionary> {
            self.calls += 1;
            let message = Dictionary::new().with("calls", self.calls).with("sequence", context.sequence());
            (context.sequence() < 5).then_some(message)
        }
    }

    impl Commander for Counter {
        type Config = Dictionary;
        type Message = Dictionary;

        fn new(_: Dictionary, _: &CommanderContext) -> anyhow::Result<Self> {
            Ok(Self::default())
        }

        fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Dictionary>> {
            Ok(self.message(context))
        }
    }

    /// The same, but it knows how to skip, and saves how often it was asked.
    #[derive(Default)]
    struct Skipper(Counter);

    impl Commander for Skipper {
        type Config = Dictionary;
        type Message = Dictionary;

        fn new(_: Dictionary, _: &CommanderContext) -> anyhow::Result<Self> {
            Ok(Self::default())
        }

        fn next(&mut self, context: &mut CommanderContext) -> anyhow::Result<Option<Dictionary>> {
            Ok(self.0.message(context))
        }

        fn skip(&mut self, _: &mut CommanderContext, _: u64) -> anyhow::Result<()> {
            Ok(())
        }

        fn save(&mut self, context: &CommanderContext) -> anyhow::Result<Option<SavedState>> {
            let state = Dictionary::new().with("calls", self.0.calls).with("sequence", context.sequence());
            Ok(Some(SavedState::new(1, &state)?))
        }

        fn restore(&mut self, context: &CommanderContext, state: &SavedState) -> anyhow::Result<()> {
            let saved: Dictionary = state.read()?;
            anyhow::ensure!(saved.get("sequence") == Some(&Value::from(context.sequence())));
            let Some(Value::Int(calls)) = saved.get("calls") else { anyhow::bail!("no calls") };
            self.0.calls = calls.unsigned_abs();
            Ok(())
        }
    }

    fn open<C: Commander>() -> CommanderHarness<C> {
        CommanderHarness::open(&Dictionary::new(), 0).unwrap()
    }

    fn said<C: Commander>(commander: &mut CommanderHarness<C>) -> String {
        commander.next_message().unwrap().unwrap().to_string()
    }

    #[test]
    fn does_a_skip_ask_for_what_lies_between_where_nothing_else_is_said() {
        let mut counter = open::<Counter>();
        counter.next_message().unwrap();
        counter.skip(3).unwrap();
        assert_eq!(said(&mut counter), r#"{"calls":4,"sequence":3}"#);
        // Over the end, and no further.
        counter.skip(9).unwrap();
        assert!(counter.next_message().unwrap().is_none());
    }

    #[test]
    fn does_a_commander_skip_in_its_own_way() {
        let mut skipper = open::<Skipper>();
        skipper.skip(3).unwrap();
        assert_eq!(said(&mut skipper), r#"{"calls":1,"sequence":3}"#);
    }

    #[test]
    fn does_another_commander_go_on_with_what_was_saved() {
        let mut first = open::<Skipper>();
        first.take(2).unwrap();
        let state = first.save().unwrap().unwrap();
        let mut second = open::<Skipper>();
        second.restore(2, &state).unwrap();
        assert_eq!(said(&mut second), said(&mut first));
        // The context says before which message it was saved.
        assert!(open::<Skipper>().restore(3, &state).is_err());
    }

    #[test]
    fn does_a_commander_that_saves_nothing_refuse_a_state() {
        let mut counter = open::<Counter>();
        assert_eq!(counter.save().unwrap(), None);
        let state = SavedState::new(7, &Dictionary::new()).unwrap();
        assert_eq!(
            counter.restore(2, &state).unwrap_err().to_string(),
            "a state of version 7 cannot be restored: this commander saves none"
        );
    }
}
