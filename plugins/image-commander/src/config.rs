//! The configuration: its fields, their defaults, and the values that are refused.

use std::fmt;

use cobuf_plugin_api::prelude::*;

/// Which pictures to command, and how to group them into batches.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) struct Config {
    /// The folder that has a subfolder of .jpg, .jpeg and .png files for each class: an absolute
    /// path, or one relative to the working directory of the plugin's process. In a pipeline that
    /// is the pipeline file's folder.
    pub(crate) folder: String,
    /// The number of pictures in a batch. Default: 32.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1))]
    pub(crate) batch_size: usize,
    /// How often to go through the pictures. Default: without end.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) epochs: Option<u64>,
    /// Whether each epoch has the pictures in a random order of its own, made from the run's seed
    /// and the epoch's number. If false, they are sorted by their paths. Default: true.
    #[serde(default = "default_shuffle")]
    pub(crate) shuffle: bool,
    /// Whether to leave out an epoch's last batch if it has fewer than batch_size pictures.
    /// Default: false.
    #[serde(default)]
    pub(crate) drop_last: bool,
    /// Which part of the pictures to command. Default: all of them.
    #[serde(default)]
    pub(crate) split: Split,
}

/// Which part of the pictures to command. A picture's part follows from its path inside the folder
/// alone.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) struct Split {
    /// The part. Default: "all".
    #[serde(default)]
    pub(crate) part: Part,
    /// The approximate fraction of the pictures in the test part, 0 to 1; the rest is for training.
    /// A larger fraction only adds pictures to the test part. Default: 0.2.
    #[serde(default = "default_test_fraction")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) test_fraction: f64,
}

/// A part of the pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) enum Part {
    /// The pictures that are not in the test part.
    Train,
    /// The test part.
    Test,
    /// Both parts.
    #[default]
    All,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "train",
            Part::Test => "test",
            Part::All => "all",
        })
    }
}

impl Default for Split {
    fn default() -> Self {
        Self { part: Part::default(), test_fraction: default_test_fraction() }
    }
}

fn default_batch_size() -> usize {
    32
}

fn default_shuffle() -> bool {
    true
}

fn default_test_fraction() -> f64 {
    0.2
}

impl Config {
    /// Refuses values that are wrong for every folder.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.batch_size > 0, "batch_size is 0, expected at least 1 picture");
        ensure!(
            self.epochs != Some(0),
            "epochs is 0, expected at least 1; leave it out for an endless stream"
        );
        let fraction = self.split.test_fraction;
        ensure!(
            (0.0..=1.0).contains(&fraction),
            "split.test_fraction is {fraction}, expected a part of the pictures from 0 to 1"
        );
        Ok(())
    }
}
