//! Serves images of handwritten digits: 1,797 of 8×8 pixels, with their labels. They are part of
//! the plugin.
//!
//! ```text
//!   . . + # # + . .
//!   . . # # # # + .
//!   . + # + . # # .        item 0, label 0:
//!   . + # . . # # .        `.` paper, 0; `+` 1 to 7; `#` ink, 8 to 16
//!   . + # . . # # .
//!   . + # . + # + .
//!   . + # + # # . .
//!   . . + # # . . .
//! ```
//!
//! The data are UCI's *Optical Recognition of Handwritten Digits*; see `data/README.md` for source
//! and licence.
//!
//! # Configuration
//! See [`Config`] and [`Augment`].
//!
//! # Messages
//! `items`: a list of at most `batch_size` item numbers. Each is the number of an image in the
//! [split](Split), from 0. The index-commander gives such messages, with `length` = the number of
//! items in the split, and the same `batch_size`. Fewer items make a shorter batch.
//!
//! # Arrays
//! | array | type | shape | values |
//! |---|---|---|---|
//! | `image` | f32; u8 if `normalise` is false | (batch_size, 8, 8): item, row from the top, column from the left | 0 paper to 1 ink; 0 to 16 for u8 |
//! | `label` | i64 | (batch_size,) | the digit, 0 to 9 |
//!
//! Augmentation draws from the message's generator, so a run can be repeated with the same images.
#![forbid(unsafe_code)]

mod augment;
mod config;
mod data;

pub use augment::Augment;
pub use config::{Config, Split};

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::{Element, ndarray::ArrayViewMut3};

use data::{INK, Row, SIDE};

/// The images of one batch.
#[derive(Debug, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    /// Their numbers in the split.
    items: Vec<u64>,
}

/// The producer.
#[derive(Debug)]
pub struct DigitsProducer {
    config: Config,
}

impl Producer for DigitsProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        config.check()?;
        let (rows, pixel) = (config.batch_size, if config.normalise { DType::F32 } else { DType::U8 });
        Ok(Schema::new([
            ArraySpec::new("image", pixel, [rows, SIDE, SIDE]),
            ArraySpec::new("label", DType::I64, [rows]),
        ])?)
    }

    fn new(config: Config, _context: &WorkerContext) -> Result<Self> {
        Ok(Self { config })
    }

    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        let rows = self.rows(&message.items)?;
        slot.set_rows(rows.len())?;
        let mut label = slot.array::<i64, Ix1>("label")?;
        for (label, row) in label.iter_mut().zip(&rows) {
            *label = row.label();
        }
        if self.config.normalise {
            // Sixteenths are exact in f32.
            self.fill(&rows, slot.array("image")?, context, |level| (level / INK) as f32);
        } else {
            self.fill(&rows, slot.array("image")?, context, |level| level.round() as u8);
        }
        Ok(())
    }
}

impl DigitsProducer {
    /// The rows of the data set for a message's items.
    fn rows(&self, items: &[u64]) -> Result<Vec<Row>> {
        let (most, split) = (self.config.batch_size, self.config.split);
        ensure!(
            items.len() <= most,
            "the message has {} items, expected at most batch_size, {most}; \
             give commander and producer the same batch_size",
            items.len()
        );
        let row = |&item: &u64| {
            split.row(item).with_context(|| {
                format!(
                    "there is no item {item} in split \"{split}\", which has items 0 to {}; \
                     give the commander length = {}",
                    split.len() - 1,
                    split.len()
                )
            })
        };
        items.iter().map(row).collect()
    }

    /// Fills the images with augmented elements, which `element` makes from levels of ink, each 0
    /// to [`INK`].
    fn fill<T: Element>(
        &self,
        rows: &[Row],
        mut images: ArrayViewMut3<'_, T>,
        context: &mut ProduceContext<'_>,
        element: impl Fn(f64) -> T,
    ) {
        for (mut image, row) in images.outer_iter_mut().zip(rows) {
            let levels = self.config.augment.apply(row.levels(), context);
            for (pixel, level) in image.iter_mut().zip(levels.as_flattened()) {
                *pixel = element(*level);
            }
        }
    }
}

cobuf_plugin_api::export_producer!(DigitsProducer);

#[cfg(test)]
mod tests;
