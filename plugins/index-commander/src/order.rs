//! The order of the items in one epoch.

use std::ops::Range;

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::rand::seq::SliceRandom as _;

/// All items of the data set, in one epoch's order.
#[derive(Debug)]
pub(crate) struct Order {
    epoch: u64,
    items: Vec<u64>,
}

impl Order {
    /// A permutation that depends on the run's seed, the epoch and the length only (the shuffle of
    /// Fisher and Yates).
    pub(crate) fn shuffled(epoch: u64, length: u64, context: &CommanderContext) -> Result<Self> {
        let mut items = allocate(length)?;
        items.extend(0..length);
        items.shuffle(&mut context.rng(epoch));
        Ok(Self { epoch, items })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The items at these positions of the epoch's order.
    pub(crate) fn items(&self, places: Range<u64>) -> &[u64] {
        // Both ends are at most the length, which fits `usize` because all items are in memory.
        &self.items[places.start as usize..places.end as usize]
    }
}

/// Allocates memory for the items of an epoch.
pub(crate) fn allocate(length: u64) -> Result<Vec<u64>> {
    let mut items = Vec::new();
    let too_large = || {
        format!(
            "length {length} is too large to shuffle, which takes 8 bytes of memory for each item; \
             take a smaller length or shuffle = false"
        )
    };
    items.try_reserve_exact(usize::try_from(length).with_context(too_large)?).with_context(too_large)?;
    Ok(items)
}
