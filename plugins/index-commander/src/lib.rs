//! Counts through a data set: epochs, batches, and a shuffle that the run's seed decides.
//!
//! ```text
//! length = 5, batch_size = 2, epochs = 2
//!
//! sequence     0       1       2       3       4       5     end
//! epoch        0       0       0       1       1       1
//! batch        0       1       2       0       1       2
//! index        0       2       4       0       2       4
//! items     [0, 1]  [2, 3]    [4]   [0, 1]  [2, 3]    [4]        shuffle = false
//! items     [3, 0]  [4, 1]    [2]   [1, 4]  [0, 3]    [2]        shuffle = true, for instance
//! ```
//!
//! # Configuration
//! See [`Config`]. `length = 100` alone gives an index that counts from 0 to 99 and wraps, forever.
//!
//! # Messages
//! See [`Message`]: `index`, `epoch` and `batch` are integers, `items` is a list of integers. The
//! last batch of an epoch is shorter if `batch_size` does not divide `length`; with `drop_last` it
//! is left out.
//!
//! Each message follows from the configuration, the run's seed and the message's number in the
//! stream alone. An epoch's order follows from the seed and the epoch's number. So a run can be
//! resumed anywhere, without the epochs before.
#![forbid(unsafe_code)]

mod order;
mod plan;

pub use plan::Config;

use cobuf_plugin_api::prelude::*;

use order::Order;
use plan::Plan;

/// The items of one batch.
#[derive(Debug, Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// The position of the batch's first item in the epoch: `batch * batch_size`.
    index: u64,
    /// The number of the epoch, from 0.
    epoch: u64,
    /// The number of the batch in its epoch, from 0.
    batch: u64,
    /// The numbers of the batch's items in the data set, each from 0 to below `length`.
    items: Vec<u64>,
}

/// The commander.
#[derive(Debug)]
pub struct IndexCommander {
    plan: Plan,
    shuffle: bool,
    /// The order of the last epoch that was asked for. It is only a cache: any epoch's order can be
    /// made at any time.
    order: Option<Order>,
}

impl Commander for IndexCommander {
    type Config = Config;
    type Message = Message;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        Ok(Self { plan: Plan::new(&config)?, shuffle: config.shuffle, order: None })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        let Some(batch) = self.plan.batch(context.sequence()) else { return Ok(None) };
        let items = if self.shuffle {
            self.order(batch.epoch, context)?.items(batch.start..batch.end).to_vec()
        } else {
            (batch.start..batch.end).collect()
        };
        Ok(Some(Message { index: batch.start, epoch: batch.epoch, batch: batch.number, items }))
    }

    fn total(&self) -> Option<u64> {
        self.plan.total()
    }

    /// Nothing to do: each message follows from its number alone.
    fn skip(&mut self, _context: &mut CommanderContext, _to: u64) -> Result<()> {
        Ok(())
    }
}

impl IndexCommander {
    /// The order of an epoch, from the cache if it is the last one that was asked for.
    fn order(&mut self, epoch: u64, context: &CommanderContext) -> Result<&Order> {
        let order = match self.order.take() {
            Some(order) if order.epoch() == epoch => order,
            _ => Order::shuffled(epoch, self.plan.length(), context)?,
        };
        Ok(self.order.insert(order))
    }
}

cobuf_plugin_api::export_commander!(IndexCommander);

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::testing::CommanderHarness;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(crate = "cobuf_plugin_api::serde")]
    struct Seen {
        index: u64,
        epoch: u64,
        batch: u64,
        items: Vec<u64>,
    }

    fn open(config: &Dictionary, seed: u64) -> CommanderHarness<IndexCommander> {
        CommanderHarness::open(config, seed).unwrap()
    }

    /// The first messages of a run, as a producer would read them.
    fn messages(config: &Dictionary, seed: u64, most: usize) -> Vec<Seen> {
        let bytes = |message| cobuf_plugin_api::codec::encode("a message", &message).unwrap();
        let seen = |message| cobuf_plugin_api::codec::decode("the message", &bytes(message)).unwrap();
        open(config, seed).take(most).unwrap().into_iter().map(seen).collect()
    }

    fn items(messages: &[Seen]) -> Vec<u64> {
        messages.iter().flat_map(|message| message.items.clone()).collect()
    }

    fn length(length: u64) -> Dictionary {
        Dictionary::new().with("length", length)
    }

    #[test]
    fn index_counts_to_its_maximum_and_wraps() {
        let mut commander = open(&length(3), 0);
        assert_eq!(commander.total(), None);
        let counted = commander.take(7).unwrap();
        let index: Vec<_> = counted.iter().map(|message| message.get("index").cloned().unwrap()).collect();
        assert_eq!(index, [0, 1, 2, 0, 1, 2, 0].map(cobuf_plugin_api::Value::Int));
    }

    #[test]
    fn messages_after_a_skip_are_those_of_the_whole_stream() {
        let config = length(5).with("batch_size", 2).with("shuffle", true);
        let whole = open(&config, 7).take(20).unwrap();
        let mut commander = open(&config, 7);
        commander.take(2).unwrap();
        commander.skip(11).unwrap();
        assert_eq!(commander.take(9).unwrap(), whole[11..]);
        // Asking for all messages in between would take years.
        commander.skip(1 << 60).unwrap();
        assert!(commander.next_message().unwrap().is_some());
    }

    #[test]
    fn last_batch_may_be_short() {
        let config = length(5).with("batch_size", 2).with("epochs", 2);
        let mut commander = open(&config, 0);
        assert_eq!(commander.total(), Some(6));
        assert_eq!(commander.take(100).unwrap().len(), 6);
        let messages = messages(&config, 0, 6);
        assert_eq!(messages[2], Seen { index: 4, epoch: 0, batch: 2, items: vec![4] });
        assert_eq!(messages[3], Seen { index: 0, epoch: 1, batch: 0, items: vec![0, 1] });
    }

    #[test]
    fn last_batch_is_dropped_on_request() {
        let config = length(5).with("batch_size", 2).with("epochs", 2).with("drop_last", true);
        assert_eq!(open(&config, 0).total(), Some(4));
        assert_eq!(items(&messages(&config, 0, 100)), [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn shuffled_epoch_has_each_item_once() {
        let config = length(100).with("batch_size", 7).with("epochs", 2).with("shuffle", true);
        let seen = messages(&config, 3, 100);
        let (first, second) = seen.split_at(seen.len() / 2);
        assert_ne!(items(first), items(second));
        for epoch in [first, second] {
            let mut sorted = items(epoch);
            assert!(!sorted.is_sorted());
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
    }

    #[test]
    fn order_follows_from_seed_and_epoch_alone() {
        let config = length(50).with("shuffle", true);
        let one_by_one = messages(&config, 3, 100);
        assert_eq!(messages(&config, 3, 100), one_by_one);
        assert_ne!(items(&messages(&config, 4, 100)), items(&one_by_one));
        // With batches of 5 an epoch has the same order.
        assert_eq!(items(&messages(&config.with("batch_size", 5), 3, 20)), items(&one_by_one));
    }

    #[test]
    fn shuffle_never_changes() {
        let config = length(8).with("batch_size", 8).with("shuffle", true);
        assert_eq!(items(&messages(&config, 0, 1)), [3, 0, 4, 7, 6, 2, 5, 1]);
    }

    #[test]
    fn configuration_without_a_batch_is_refused() {
        let refusal = |config: Dictionary| {
            CommanderHarness::<IndexCommander>::open(&config, 0).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(length(0)),
            "length is 0, expected at least 1: a data set without items has no batch"
        );
        assert_eq!(refusal(length(9).with("batch_size", 0)), "batch_size is 0, expected at least 1");
        assert_eq!(
            refusal(length(9).with("epochs", 0)),
            "epochs is 0, expected at least 1; leave it out for an endless stream"
        );
        assert_eq!(
            refusal(length(9).with("batch_size", 10).with("drop_last", true)),
            "length 9 is less than batch_size 10, so drop_last would drop every batch; \
             take a smaller batch_size or drop_last = false"
        );
        assert_eq!(
            refusal(length(u64::MAX).with("epochs", 2)),
            "2 epochs of 18446744073709551615 batches are more than a stream can have, \
             18446744073709551615; take fewer epochs, or leave epochs out for an endless stream"
        );
        // The standard library's cause follows.
        assert!(refusal(length(u64::MAX).with("shuffle", true)).starts_with(
            "length 18446744073709551615 is too large to shuffle, which takes 8 bytes of memory for each item; \
             take a smaller length or shuffle = false: "
        ));
    }
}
