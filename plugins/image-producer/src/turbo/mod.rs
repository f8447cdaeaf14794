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

use fast_image_resize::CropBox;

use crate::region::{Region, Wanted};
use instance::Instance;
use window::Window;

/// How files are decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turbo {
    /// The most bytes that a file's decoding allocates, beside the pixels.
    pub(crate) max_bytes: u64,
    /// Whether pictures may be made smaller while they are decoded.
    pub(crate) may_shrink: bool,
}

impl Turbo {
    /// Decodes what is wanted of a JPEG file into `rgb`. `None` if the library refuses the file, or does
    /// not turn it into RGB: what becomes of it is left to the other decoder. Damage that leaves pixels
    /// wrong, but not out, is no reason to refuse it.
    pub(crate) fn decode(&self, file: &[u8], wanted: &Wanted, rgb: &mut Vec<u8>) -> Option<Region> {
        // An instance keeps the tables of its last file, so each file has its own.
        let mut instance = Instance::open(file, self.max_bytes).ok()?;
        if !instance.becomes_rgb() || instance.size() != wanted.size {
            return None;
        }
        let divisor = if self.may_shrink { window::sufficient_divisor(wanted) } else { 1 };
        let part = window::scaled(wanted.part, divisor);
        let whole = instance.size_by(divisor);
        let window = match instance.block_width() {
            Some(block) => Window::around(part, wanted.target, whole, block / divisor),
            None => Window::of(whole),
        };
        instance.decode(divisor, window, rgb).ok()?;
        let (left, top) = (f64::from(window.left), f64::from(window.top));
        let part = CropBox { left: part.left - left, top: part.top - top, ..part };
        Some(Region { size: (window.width, window.height), part })
    }
}

#[cfg(test)]
mod tests;
