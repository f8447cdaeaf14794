//! A producer that decodes pictures into batches of RGB, all of one size: the input of image
//! classifiers.
//!
//! ```text
//!   path ──read──► file ──decode──► RGB of any size ──crop, resize, flip──► a row of "image",
//!                   │    turn upright                  drawn from the row's     in the slot itself
//!                   ▼                                  own generator
//!            unreadable, corrupt, too large: the batch's error, or left out of the batch
//! ```
//!
//! | | name | value |
//! | --- | --- | --- |
//! | message | `paths` | list of text: the files, at most `batch_size`; relative ones start at the process's working directory |
//! | message | `labels` | list of integers, one a path |
//! | array | `image` | `u8 (batch_size, height, width, 3)`: rows from the top, pixels from the left, red, green, blue; 0 to 255, as in the file (mostly sRGB) |
//! | array | `label` | `i64 (batch_size,)`: the message's label of each row |
//! | metadata | `skipped` | with `on_corrupt = "skip"` only: list of `{ path, reason }`, empty if no file was left out |
//!
//! If a message has fewer paths than `batch_size`, the batch has as many rows as paths. Other
//! entries of a message are ignored. The `image-commander` plugin beside this one makes messages
//! that fit.
//!
//! **Formats.** JPEG (baseline, progressive, grey, CMYK) and PNG (all colour types, 8 and 16 bits),
//! recognised by content, not by name. Everything becomes 8-bit RGB: grey is repeated, 16 bits are
//! rounded to 8, alpha is *dropped* (the colours under transparent pixels show). Pictures are
//! turned upright by their EXIF orientation. Colour profiles are not applied. The default image of
//! an animated PNG is taken.
//!
//! **Corrupt files**, for `on_corrupt`: the file cannot be opened or read, is not a regular file
//! (but a folder, a pipe, a socket or a device), has more than `max_file_bytes`, is neither JPEG nor
//! PNG, is truncated, has more pixels than `max_pixels`, or the decoder refuses it or panics on it.
//! PNG has checksums. JPEG has none, so damage in the middle of one mostly shows as wrong or grey
//! pixels, not as an error. With the feature `libjpeg-turbo`, a file is corrupt only if both decoders
//! refuse it; damage below the crop is not looked at, so whether it counts may depend on the crop.
//!
//! **Randomness.** Each row has a generator of its own, drawn from the message's. So a row depends
//! on the run's seed, the message's sequence number and the row's position in the message, but not
//! on whether an earlier file was left out.
//!
//! **Decoders.** The `image` crate, in Rust, decodes whole pictures. With the feature `libjpeg-turbo`,
//! the C library of that name decodes JPEG files, and only what the crop needs of them: the rows and
//! columns around it, at a half, a quarter or an eighth of their size if the crop is still as large as
//! a row of the batch. That takes less time, and gives other values, the same as Pillow after
//! `Image.draft`; `shrink_on_load = false` decodes at full size. What the library refuses, such as sides of
//! more than 65,500 pixels, and files with four colours (CMYK), are left to the other decoder. The `image`
//! crate's decoder (zune-jpeg 0.5.15) gives wrong pixels for two rare kinds of JPEG files, which
//! libjpeg-turbo reads as they are: baseline files with a scan for each colour and colours of less
//! resolution, and files whose brightness has less resolution than their colours.
// Only the calls of libjpeg-turbo are unsafe.
#![cfg_attr(not(feature = "libjpeg-turbo"), forbid(unsafe_code))]

mod config;
mod crop;
mod decode;
#[cfg(test)]
mod fixtures;
mod frame;
mod jpeg;
mod region;
#[cfg(feature = "libjpeg-turbo")]
mod turbo;
mod upright;

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::ndarray::Axis;
use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::rand::SeedableRng as _;

use config::{Config, OnCorrupt};
use decode::Decoder;
use frame::Framer;

/// The entries of a message that the producer needs.
#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct Message {
    paths: Vec<String>,
    labels: Vec<i64>,
}

impl Message {
    fn check(&self, batch_size: usize) -> Result<()> {
        let (paths, labels) = (self.paths.len(), self.labels.len());
        ensure!(
            paths == labels,
            "the message has {paths} paths and {labels} labels, expected one label a path"
        );
        ensure!(
            paths <= batch_size,
            "the message has {paths} paths, expected at most batch_size = {batch_size}; \
             give commander and producer the same batch_size"
        );
        Ok(())
    }
}

/// The metadata of a batch that may leave files out.
#[derive(Serialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct Metadata {
    skipped: Vec<Skipped>,
}

/// A file that was left out.
#[derive(Serialize)]
#[cfg_attr(test, derive(Deserialize))]
#[serde(crate = "cobuf_plugin_api::serde")]
struct Skipped {
    path: String,
    reason: String,
}

struct ImageProducer {
    batch_size: usize,
    on_corrupt: OnCorrupt,
    decoder: Decoder,
    framer: Framer,
}

impl Producer for ImageProducer {
    type Config = Config;
    type Message = Message;

    fn schema(config: &Config) -> Result<Schema> {
        config.check()?;
        let (rows, height, width) = (config.batch_size, config.height as usize, config.width as usize);
        Ok(Schema::new([
            ArraySpec::new("image", DType::U8, [rows, height, width, 3]),
            ArraySpec::new("label", DType::I64, [rows]),
        ])?)
    }

    fn new(config: Config, _context: &WorkerContext) -> Result<Self> {
        Ok(Self {
            batch_size: config.batch_size,
            on_corrupt: config.on_corrupt,
            decoder: Decoder::new(config.bounds()),
            framer: Framer::new(&config),
        })
    }

    fn produce(
        &mut self,
        message: Message,
        slot: &mut Slot<'_>,
        context: &mut ProduceContext<'_>,
    ) -> Result<()> {
        message.check(self.batch_size)?;
        let mut image = slot.array::<u8, Ix4>("image")?;
        let mut label = slot.array::<i64, Ix1>("label")?;
        let (mut rows, mut skipped) = (0, Vec::new());
        for (path, class) in message.paths.into_iter().zip(message.labels) {
            // Drawn for every path, so that a file that is left out does not change the rows after
            // it.
            let mut rng = Rng::seed_from_u64(context.rng().next_u64());
            let choose = |size| self.framer.choose(size, &mut rng);
            let decoded = self.decoder.decode(&path, self.framer.target(), choose);
            let picture = match (decoded, self.on_corrupt) {
                (Ok(picture), _) => picture,
                (Err(error), OnCorrupt::Skip) => {
                    skipped.push(Skipped { path, reason: format!("{error:#}") });
                    continue;
                }
                (Err(error), OnCorrupt::Error) => {
                    return Err(error.context(format!("picture {path:?} cannot be used")));
                }
            };
            let mut row = image.index_axis_mut(Axis(0), rows);
            let pixels = row.as_slice_mut().context("a row of array \"image\" is not contiguous")?;
            self.framer.frame(&picture, &mut rng, pixels)?;
            label[rows] = class;
            rows += 1;
        }
        slot.set_rows(rows)?;
        if self.on_corrupt == OnCorrupt::Skip {
            slot.set_metadata(&Metadata { skipped })?;
        }
        Ok(())
    }
}

cobuf_plugin_api::export_producer!(ImageProducer);

#[cfg(test)]
mod pillow_tests;
#[cfg(test)]
mod tests;
