//! A commander: says what to produce, with one message (a dictionary) for each batch. It runs in
//! one process.
//!
//! This one draws the items of each batch at random. Put your own list of files, sampling or
//! curriculum into `next`.
#![forbid(unsafe_code)]

use cobuf_plugin_api::prelude::*;

/// The table `[commander.config]` of a pipeline file. `cobuf inspect` shows these comments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The number of batches, after which the stream ends.
    batches: u64,
    /// The number of items in a batch.
    batch_size: usize,
    /// The number of items in the data set, which are counted from 0.
    length: u64,
}

/// The message for a producer.
#[derive(Debug, Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// The numbers of the batch's items.
    items: Vec<u64>,
}

/// The commander.
#[derive(Debug)]
pub struct Draws {
    config: Config,
}

impl Commander for Draws {
    type Config = Config;
    type Message = Message;

    /// Called in the commander's process, before its first message. Read lists and catalogues here.
    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        ensure!(config.length > 0, "length is 0, expected 1 or more");
        log::info!("{} batches of {} items", config.batches, config.batch_size);
        Ok(Self { config })
    }

    /// The next message, or `None` at the end. It should follow from configuration, seed and number
    /// only; then a run can be repeated and resumed.
    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        let sequence = context.sequence();
        if sequence == self.config.batches {
            return Ok(None);
        }
        // A generator that is seeded with the run's seed and a number of our choice.
        let mut rng = context.rng(sequence);
        let items = (0..self.config.batch_size)
            .map(|_| rng.random_range(0..self.config.length))
            .collect();
        Ok(Some(Message { items }))
    }

    fn total(&self) -> Option<u64> {
        Some(self.config.batches)
    }

    /// Goes on to the message `to`. There is nothing to do, since each message follows from its
    /// number. A commander that counts or remembers leaves this method out, and is asked for all
    /// messages in between.
    fn skip(&mut self, _context: &mut CommanderContext, _to: u64) -> Result<()> {
        Ok(())
    }
}

cobuf_plugin_api::export_commander!(Draws);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::testing::CommanderHarness;

    fn config() -> Dictionary {
        Dictionary::new()
            .with("batches", 3)
            .with("batch_size", 4)
            .with("length", 10)
    }

    fn open(seed: u64) -> CommanderHarness<Draws> {
        CommanderHarness::open(&config(), seed).unwrap()
    }

    #[test]
    fn stream_has_as_many_messages_as_configured() {
        let mut commander = open(7);
        assert_eq!(commander.total(), Some(3));
        assert_eq!(commander.take(10).unwrap().len(), 3);
    }

    #[test]
    fn seed_decides_which_items_are_drawn() {
        let drawn = |seed| open(seed).take(3).unwrap();
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn resumed_run_continues_with_the_same_messages() {
        let mut resumed = open(7);
        resumed.skip(2).unwrap();
        assert_eq!(resumed.take(1).unwrap(), open(7).take(3).unwrap()[2..]);
    }

    #[test]
    fn data_set_without_items_is_refused() {
        let config = config().with("length", 0);
        let error = CommanderHarness::<Draws>::open(&config, 0).unwrap_err();
        assert!(error.to_string().contains("length is 0"), "{error}");
    }
}
