//! What a crop needs of a picture, and what of the picture was decoded. Both are in the file's own
//! directions, before the picture is turned upright.

use fast_image_resize::CropBox;

/// Bytes of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;

/// What a crop needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The width and height of the file's picture in pixels.
    pub(crate) size: (u32, u32),
    /// The part that is taken, in the file's pixels.
    pub(crate) part: CropBox,
    /// The width and height that the part gets.
    #[cfg_attr(
        not(feature = "libjpeg-turbo"),
        expect(dead_code, reason = "the image crate decodes whole pictures")
    )]
    pub(crate) target: (u32, u32),
}

/// The pixels that were decoded: of the whole picture, or of some of it, perhaps smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    /// Their width and height.
    pub(crate) size: (u32, u32),
    /// The part that is taken, in these pixels.
    pub(crate) part: CropBox,
}
