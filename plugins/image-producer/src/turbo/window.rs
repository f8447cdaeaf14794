//! Which pixels a crop needs, and at which scale.

use fast_image_resize::CropBox;

use crate::region::Wanted;

/// The scales, as divisors, from the smallest picture.
const DIVISORS: [u32; 4] = [8, 4, 2, 1];
/// How many pixels beyond the filter's are decoded, because colours of less resolution are smoothed
/// with their neighbours: one, of up to 2 pixels.
const COLOR_MARGIN: f64 = 2.0;

/// The largest divisor with which the part still has the target's width and height.
pub(super) fn sufficient_divisor(wanted: &Wanted) -> u32 {
    let suffices = |divisor: &u32| {
        let part = scaled(wanted.part, *divisor);
        part.width >= f64::from(wanted.target.0) && part.height >= f64::from(wanted.target.1)
    };
    DIVISORS.into_iter().find(suffices).unwrap_or(1)
}

/// A part of a picture, in the pixels of the picture made smaller.
pub(super) fn scaled(part: CropBox, divisor: u32) -> CropBox {
    let scaled = |pixels: f64| pixels / f64::from(divisor);
    CropBox {
        left: scaled(part.left),
        top: scaled(part.top),
        width: scaled(part.width),
        height: scaled(part.height),
    }
}

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Window {
    /// A whole picture of this (width, height).
    pub(super) fn of((width, height): (u32, u32)) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// The pixels that resizing a part to `target` looks at, of a picture of the size `whole`. They begin
    /// at a multiple of `block` pixels.
    pub(super) fn around(part: CropBox, target: (u32, u32), whole: (u32, u32), block: u32) -> Self {
        let (left, right) = span(part.left, part.width, target.0, whole.0);
        let (top, bottom) = span(part.top, part.height, target.1, whole.1);
        let left = left / block * block;
        Self { left, top, width: right - left, height: bottom - top }
    }
}

/// The pixels from and to which the filter looks, along one axis. A bilinear filter looks as far beyond
/// the part as a pixel of the target is long, and at least one pixel.
fn span(start: f64, length: f64, target: u32, whole: u32) -> (u32, u32) {
    let margin = (length / f64::from(target)).max(1.0) + COLOR_MARGIN;
    // A cast keeps within 0 and the largest number.
    let first = (start - margin).floor() as u32;
    let end = (start + length + margin).ceil() as u32;
    (first.min(whole - 1), end.clamp(1, whole))
}
