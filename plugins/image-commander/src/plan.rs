//! Maps a batch's number in the stream to its pictures: arithmetic without state.

use std::ops::Range;

use cobuf_plugin_api::prelude::*;

use crate::config::Config;

/// The batches of a stream; every epoch has at least one.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The number of pictures in an epoch.
    pictures: usize,
    batch_size: usize,
    /// The number of batches in an epoch.
    batches: u64,
    /// The number of batches in the stream; `None` if it is endless.
    total: Option<u64>,
}

/// One batch's place in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) batch: u64,
    /// The range of its pictures in the epoch's order.
    pub(crate) pictures: Range<usize>,
}

impl Plan {
    /// The plan for a checked configuration and at least one picture.
    pub(crate) fn new(pictures: usize, config: &Config) -> Result<Self> {
        let &Config { batch_size, epochs, drop_last, .. } = config;
        ensure!(
            !drop_last || pictures >= batch_size,
            "there are {pictures} pictures, less than batch_size {batch_size}, so drop_last would drop every batch; \
             take a smaller batch_size or drop_last = false"
        );
        let batches = if drop_last { pictures / batch_size } else { pictures.div_ceil(batch_size) } as u64;
        let total = epochs.map(|epochs| total(epochs, batches)).transpose()?;
        Ok(Self { pictures, batch_size, batches, total })
    }

    /// The number of batches in the stream; `None` if it is endless.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The place of the batch with this number in the stream; `None` after the last batch.
    pub(crate) fn place(&self, sequence: u64) -> Option<Place> {
        if self.total.is_some_and(|total| sequence >= total) {
            return None;
        }
        let (epoch, batch) = (sequence / self.batches, sequence % self.batches);
        // The result is below the number of pictures, which fits `usize`, because `batch` is below
        // the number of batches.
        let start = batch as usize * self.batch_size;
        let end = start + self.batch_size.min(self.pictures - start);
        Some(Place { epoch, batch, pictures: start..end })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Split;

    fn config(batch_size: usize, epochs: Option<u64>, drop_last: bool) -> Config {
        let folder = String::new();
        Config { folder, batch_size, epochs, shuffle: true, drop_last, split: Split::default() }
    }

    fn places(pictures: usize, config: &Config) -> Vec<(u64, u64, Range<usize>)> {
        let plan = Plan::new(pictures, config).unwrap();
        (0..7)
            .map_while(|sequence| plan.place(sequence))
            .map(|place| (place.epoch, place.batch, place.pictures))
            .collect()
    }

    #[test]
    fn epochs_and_batches_begin_where_planned() {
        let kept = places(5, &config(2, Some(2), false));
        assert_eq!(
            kept,
            [(0, 0, 0..2), (0, 1, 2..4), (0, 2, 4..5), (1, 0, 0..2), (1, 1, 2..4), (1, 2, 4..5)]
        );
        let dropped = places(5, &config(2, Some(2), true));
        assert_eq!(dropped, [(0, 0, 0..2), (0, 1, 2..4), (1, 0, 0..2), (1, 1, 2..4)]);
        assert_eq!(places(3, &config(usize::MAX, Some(2), false)), [(0, 0, 0..3), (1, 0, 0..3)]);
    }

    #[test]
    fn stream_has_the_configured_length() {
        let total = |config: Config| Plan::new(5, &config).unwrap().total();
        assert_eq!(total(config(2, Some(4), false)), Some(12));
        assert_eq!(total(config(2, Some(4), true)), Some(8));
        let endless = Plan::new(5, &config(2, None, false)).unwrap();
        assert_eq!(endless.total(), None);
        assert_eq!(endless.place(u64::MAX).unwrap().epoch, u64::MAX / 3);
    }

    #[test]
    fn stream_without_batches_or_too_long_is_refused() {
        let error = |config: Config| Plan::new(5, &config).unwrap_err().to_string();
        assert!(error(config(6, None, true)).starts_with("there are 5 pictures, less than batch_size 6"));
        assert!(
            error(config(1, Some(u64::MAX), false))
                .starts_with("18446744073709551615 epochs of 5 batches are more than")
        );
    }
}
