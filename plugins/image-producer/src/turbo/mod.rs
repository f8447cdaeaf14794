//! libjpeg-turbo: decodes the region of a JPEG file that a crop needs, at the scale that suffices for it.
//!
//! ```text
//!   file's pixels        ÷ 1, 2, 4 or 8: as small as the crop    a region around the crop, as wide as the
//!   ┌─────────────┐      may be before it is resized             resizing filter looks beyond it
//!   │   ┌─crop──┐ │  ──►  ┌───────┐                         ──►  ┌─────┐ from whole blocks on at the left,
//!   │   └───────┘ │       │ └──┘  │                              │┌──┐ │ rows above and below skipped
//!   └─────────────┘       └───────┘                              └┴──┴─┘
//! ```
//!
//! The scale is part of the inverse cosine transform: of each block of 8 × 8 pixels only 4 × 4, 2 × 2 or
//! one are computed. libjpeg-turbo has SIMD for these and for 8 × 8; what lies between takes longer than
//! 8 × 8, and is not used. It is the rule of Pillow's `Image.draft`.

mod instance;
mod window;

use cobuf_plugin_api::prelude::*;
use fast_image_resize::CropBox;

use crate::region::{Region, Wanted};
use instance::Instance;
use window::Window;

/// Decodes file after file.
#[derive(Debug)]
pub(crate) struct Turbo {
    instance: Instance,
    max_bytes: u64,
    may_shrink: bool,
}

impl Turbo {
    /// `max_bytes` bounds what it allocates; `may_shrink` says whether pictures may be made smaller while
    /// they are decoded.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn new(max_bytes: u64, may_shrink: bool) -> Result<Self> {
        Ok(Self { instance: Instance::new(max_bytes)?, max_bytes, may_shrink })
    }

    /// Decodes what is wanted of a JPEG file into `rgb`. `None` if the file is of a kind that this
    /// library does not turn into RGB: with four colours, or without loss.
    ///
    /// # Errors
    /// The file is corrupt. Damage that leaves pixels wrong, but not out, is no error.
    pub(crate) fn decode(
        &mut self,
        file: &[u8],
        wanted: &Wanted,
        rgb: &mut Vec<u8>,
    ) -> Result<Option<Region>> {
        let decoded = self.decode_by_instance(file, wanted, rgb);
        if decoded.is_err() {
            // An instance that failed in a header goes on in the middle of it with the next file.
            self.instance = Instance::new(self.max_bytes)?;
        }
        decoded
    }

    fn decode_by_instance(
        &mut self,
        file: &[u8],
        wanted: &Wanted,
        rgb: &mut Vec<u8>,
    ) -> Result<Option<Region>> {
        let instance = &mut self.instance;
        instance.read_header(file)?;
        let size = instance.size();
        ensure!(
            size == (i64::from(wanted.size.0), i64::from(wanted.size.1)),
            "the picture has {} x {} pixels for libjpeg-turbo, expected {} x {}",
            size.0,
            size.1,
            wanted.size.0,
            wanted.size.1
        );
        if !instance.becomes_rgb() {
            return Ok(None);
        }
        let divisor = if self.may_shrink { window::sufficient_divisor(wanted) } else { 1 };
        let part = window::scaled(wanted.part, divisor);
        let whole = (wanted.size.0.div_ceil(divisor), wanted.size.1.div_ceil(divisor));
        let window = match instance.block_width() {
            Some(block) => Window::around(part, wanted.target, whole, block / divisor),
            None => Window::of(whole),
        };
        instance.set_window(divisor, window, whole)?;
        instance.decode(file, window, rgb)?;
        let (left, top) = (f64::from(window.left), f64::from(window.top));
        let part = CropBox { left: part.left - left, top: part.top - top, ..part };
        Ok(Some(Region { size: (window.width, window.height), part }))
    }
}

#[cfg(test)]
mod tests;
