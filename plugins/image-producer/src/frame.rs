//! Fits a decoded picture into a row of the batch: crop and resize in one pass into the slot's
//! memory, then the flip.

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::prelude::*;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{CropBox, FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::config::{Config, Crop};
use crate::crop::{self, RandomCrop};
use crate::decode::Picture;
use crate::region::CHANNELS;

/// Fits picture after picture, and keeps the resizer's buffers.
pub(crate) struct Framer {
    width: u32,
    height: u32,
    /// `None` takes the centre.
    random: Option<RandomCrop>,
    flip: f64,
    resizer: Resizer,
}

impl Framer {
    pub(crate) fn new(config: &Config) -> Self {
        let random = RandomCrop { scale: config.scale(), ratio: config.ratio() };
        Self {
            width: config.width,
            height: config.height,
            random: (config.crop == Crop::Random).then_some(random),
            flip: config.flip,
            resizer: Resizer::new(),
        }
    }

    /// The (width, height) of a row.
    pub(crate) fn target(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The part that is taken of a picture of this (width, height).
    pub(crate) fn choose(&self, size: (u32, u32), rng: &mut Rng) -> CropBox {
        match &self.random {
            Some(random) => random.draw(size, rng),
            None => crop::center(size, self.target()),
        }
    }

    /// Writes every byte of `row`, which has `height × width × 3` bytes.
    pub(crate) fn frame(&mut self, picture: &Picture<'_>, rng: &mut Rng, row: &mut [u8]) -> Result<()> {
        let part = picture.part;
        // The filter widens if it scales down (antialiasing), as that of Pillow and torchvision.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            part.left,
            part.top,
            part.width,
            part.height,
        );
        let source = ImageRef::new(picture.width, picture.height, picture.rgb, PixelType::U8x3)?;
        let mut target = Image::from_slice_u8(self.width, self.height, row, PixelType::U8x3)?;
        self.resizer.resize(&source, &mut target, &options)?;
        if rng.random_bool(self.flip) {
            mirror(row, self.width as usize);
        }
        Ok(())
    }
}

/// Mirrors a picture left to right.
fn mirror(pixels: &mut [u8], width: usize) {
    for line in pixels.chunks_exact_mut(width * CHANNELS) {
        line.as_chunks_mut::<CHANNELS>().0.reverse();
    }
}
