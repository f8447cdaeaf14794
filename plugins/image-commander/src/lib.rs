//! A commander for a folder of pictures with a subfolder for each class. It has epochs, batches, a
//! shuffle that the run's seed decides, and a split into training and test part.
//!
//! ```text
//! folder = "flowers"                 label   train   test
//!   daisy/    0001.jpg                   0       x
//!             0002.jpg                   0               x
//!             macro/close.PNG            0       x              subfolders are searched, too
//!   poppy/    0001.jpeg                  1       x
//!   rose/     (empty so far)             2                      counts as a class all the same
//!   .cache/   notes.txt                                         hidden, or no picture: ignored
//! ```
//!
//! # Messages
//! | name | value |
//! | --- | --- |
//! | `epoch` | integer: the epoch, from 0 |
//! | `batch` | integer: the batch in its epoch, from 0 |
//! | `paths` | list of text: the files, each the configured `folder` joined with the path in it |
//! | `labels` | list of integers, one a path: the index of the class among the sorted names of all class folders |
//!
//! They fit the `image-producer` plugin beside this one. An epoch's last batch is shorter if
//! `batch_size` does not divide the number of pictures; with `drop_last` it is left out.
//!
//! # Dependencies of the messages
//! A message depends on the configuration, the folder's content at the start, the run's seed and
//! the message's number. It does not depend on the machine, the file system's order or the time. An
//! epoch's order follows from the seed and the epoch's number, so a run can be resumed anywhere
//! without the epochs before. A folder that changes between a run and its resumption gives other
//! messages.
//!
//! A picture's part of the split follows from its path inside the folder alone (a hash that
//! `src/split.rs` defines). Adding, removing or re-labelling other pictures never moves it from one
//! part to the other.
#![forbid(unsafe_code)]

mod catalog;
mod config;
mod plan;
mod split;

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::rand::seq::SliceRandom as _;

use catalog::{Catalog, Picture};
use config::Config;
use plan::Plan;

/// The pictures of one batch.
#[derive(Debug, Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct Message {
    epoch: u64,
    batch: u64,
    paths: Vec<String>,
    labels: Vec<i64>,
}

struct ImageCommander {
    folder: String,
    shuffle: bool,
    pictures: Vec<Picture>,
    plan: Plan,
    /// The last epoch that was asked for, and its order. It is only a cache: any epoch's order can
    /// be made at any time.
    order: Option<(u64, Vec<usize>)>,
}

impl Commander for ImageCommander {
    type Config = Config;
    type Message = Message;

    fn new(config: Config, _context: &CommanderContext) -> Result<Self> {
        config.check()?;
        let Catalog { classes, mut pictures } = Catalog::read(&config.folder)?;
        let found = pictures.len();
        pictures.retain(|picture| config.split.has(&picture.path));
        ensure!(
            !pictures.is_empty(),
            "none of the {found} pictures in folder {:?} falls into the {} part with test_fraction {}; \
             take another part or fraction",
            config.folder,
            config.split.part,
            config.split.test_fraction
        );
        log::info!(
            "{} of {found} pictures in {} classes of folder {:?}",
            pictures.len(),
            classes.len(),
            config.folder
        );
        let plan = Plan::new(pictures.len(), &config)?;
        Ok(Self { folder: config.folder, shuffle: config.shuffle, pictures, plan, order: None })
    }

    fn next(&mut self, context: &mut CommanderContext) -> Result<Option<Message>> {
        let Some(place) = self.plan.place(context.sequence()) else { return Ok(None) };
        if self.order.as_ref().is_none_or(|(epoch, _)| *epoch != place.epoch) {
            self.order = Some((place.epoch, self.epoch_order(place.epoch, context)));
        }
        let (_, order) = self.order.as_ref().context("the epoch has no order")?;
        let pictures = order[place.pictures].iter().map(|&index| &self.pictures[index]);
        Ok(Some(Message {
            epoch: place.epoch,
            batch: place.batch,
            paths: pictures.clone().map(|picture| join(&self.folder, &picture.path)).collect(),
            labels: pictures.map(|picture| picture.label).collect(),
        }))
    }

    fn total(&self) -> Option<u64> {
        self.plan.total()
    }

    /// Nothing to do: each message follows from its number and the folder's content at the start.
    fn skip(&mut self, _context: &mut CommanderContext, _to: u64) -> Result<()> {
        Ok(())
    }
}

impl ImageCommander {
    /// The order of the pictures in an epoch: a function of the run's seed and the epoch's number.
    fn epoch_order(&self, epoch: u64, context: &CommanderContext) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pictures.len()).collect();
        if self.shuffle {
            order.shuffle(&mut context.rng(epoch));
        }
        order
    }
}

/// The path of a file as it appears in messages.
fn join(folder: &str, path: &str) -> String {
    let separator = if folder.ends_with('/') { "" } else { "/" };
    format!("{folder}{separator}{path}")
}

cobuf_plugin_api::export_commander!(ImageCommander);

#[cfg(test)]
mod tests;
