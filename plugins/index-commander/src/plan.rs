//! Maps a batch's number in the stream to its items: arithmetic without state.

use cobuf_plugin_api::prelude::*;

use crate::order;

/// The `commander.config` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The number of items in the data set.
    #[schemars(range(min = 1))]
    length: u64,
    /// The number of items in a batch. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    batch_size: u64,
    /// How often to go through the data set. Default: without end.
    #[serde(default)]
    #[schemars(range(min = 1))]
    epochs: Option<u64>,
    /// Whether each epoch has its items in a random order of its own, made from the run's seed and
    /// the epoch's number. Default: false.
    #[serde(default)]
    pub(crate) shuffle: bool,
    /// Whether to leave out an epoch's last batch if it has fewer than `batch_size` items. Default:
    /// false.
    #[serde(default)]
    drop_last: bool,
}

fn one() -> u64 {
    1
}

/// A configuration that was checked: every epoch has at least one batch.
#[derive(Debug)]
pub(crate) struct Plan {
    length: u64,
    batch_size: u64,
    /// The number of batches in an epoch.
    batches: u64,
    /// The number of batches in the stream; `None` if it is endless.
    total: Option<u64>,
}

/// One batch's place: the items `start..end` of the epoch's order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Plan {
    /// Refuses a configuration that has no batch, or more batches than can be counted.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let &Config { length, batch_size, epochs, shuffle, drop_last } = config;
        ensure!(length > 0, "length is 0, expected at least 1: a data set without items has no batch");
        ensure!(batch_size > 0, "batch_size is 0, expected at least 1");
        ensure!(epochs != Some(0), "epochs is 0, expected at least 1; leave it out for an endless stream");
        ensure!(
            !drop_last || length >= batch_size,
            "length {length} is less than batch_size {batch_size}, so drop_last would drop every batch; \
             take a smaller batch_size or drop_last = false"
        );
        if shuffle {
            // Fails at the start of the run instead of in the middle.
            drop(order::allocate(length)?);
        }
        let batches = if drop_last { length / batch_size } else { length.div_ceil(batch_size) };
        let total = epochs.map(|epochs| total(epochs, batches)).transpose()?;
        Ok(Self { length, batch_size, batches, total })
    }

    /// The number of items in the data set.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The number of batches in the stream; `None` if it is endless.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The batch with this number in the stream; `None` after the last batch.
    pub(crate) fn batch(&self, sequence: u64) -> Option<Batch> {
        if self.total.is_some_and(|total| sequence >= total) {
            return None;
        }
        let (epoch, number) = (sequence / self.batches, sequence % self.batches);
        // The result is below the length, because `number` is below the number of batches: no
        // overflow.
        let start = number * self.batch_size;
        let end = start + self.batch_size.min(self.length - start);
        Some(Batch { epoch, number, start, end })
    }
}

fn total(epochs: u64, batches: u64) -> Result<u64> {
    epochs.checked_mul(batches).with_context(|| {
        format!(
            "{epochs} epochs of {batches} batches are more than a stream can have, {}; \
             take fewer epochs, or leave epochs out for an endless stream",
            u64::MAX
        )
    })
}
