//! The configuration, and the rows of each split.

use std::fmt;

use cobuf_plugin_api::prelude::*;

use crate::augment::Augment;
use crate::data::{self, Row};

/// The `producer.config` table.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", default)]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Config {
    /// The number of images in a batch. Default: 32.
    #[schemars(range(min = 1))]
    pub(crate) batch_size: usize,
    /// Whether images are f32 from 0 to 1. If false, they are u8 from 0 to 16, as in the data set.
    /// Default: true.
    pub(crate) normalise: bool,
    /// Random changes of the images. Default: none.
    pub(crate) augment: Augment,
    /// Which images there are. Default: all.
    pub(crate) split: Split,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_size: 32, normalise: true, augment: Augment::default(), split: Split::All }
    }
}

impl Config {
    /// Refuses values with which no batch can be made.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.batch_size > 0, "batch_size is 0, expected at least 1");
        self.augment.check()
    }
}

/// Every fifth image of the data set is for testing, the others are for training.
///
/// ```text
/// image in the data set   0  1  2  3  4  5  6  7  8  9 10 …
/// item of "train"         0  1  2  3     4  5  6  7     8 …
/// item of "test"                      0              1    …
/// ```
///
/// The same people wrote the images of both.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub enum Split {
    /// All 1,797 images.
    All,
    /// The 1,438 images for training.
    Train,
    /// The 359 images for testing.
    Test,
}

/// One row in this many is for testing: the last one.
const FOLD: usize = 5;

impl Split {
    /// The number of items.
    pub(crate) fn len(self) -> usize {
        let test = data::LEN / FOLD;
        match self {
            Split::All => data::LEN,
            Split::Train => data::LEN - test,
            Split::Test => test,
        }
    }

    /// The row of an item; `None` if there is no such item.
    pub(crate) fn row(self, item: u64) -> Option<Row> {
        let item = usize::try_from(item).ok().filter(|item| *item < self.len())?;
        Row::get(match self {
            Split::All => item,
            Split::Train => item / (FOLD - 1) * FOLD + item % (FOLD - 1),
            Split::Test => item * FOLD + (FOLD - 1),
        })
    }
}

/// As written in a configuration.
impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::All => "all",
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}
