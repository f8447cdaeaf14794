//! Turns pictures upright, and rectangles of them to and fro: a file has its rows as the camera held
//! them, and an EXIF orientation that says how they are to be turned.

use cobuf_plugin_api::prelude::*;
use fast_image_resize::CropBox;
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// The (width, height) that a picture of this size has once it is upright.
pub(crate) fn turned_size((width, height): (u32, u32), by: Orientation) -> (u32, u32) {
    if swaps_axes(by) { (height, width) } else { (width, height) }
}

/// Where a part of a picture of this size lies once the picture is upright.
pub(crate) fn turn_part(part: CropBox, (width, height): (u32, u32), by: Orientation) -> CropBox {
    let mirrored = |part: CropBox| CropBox { left: f64::from(width) - part.left - part.width, ..part };
    let upside_down = |part: CropBox| CropBox { top: f64::from(height) - part.top - part.height, ..part };
    let transposed =
        |CropBox { left, top, width, height }| CropBox { left: top, top: left, width: height, height: width };
    match by {
        Orientation::NoTransforms => part,
        Orientation::FlipHorizontal => mirrored(part),
        Orientation::FlipVertical => upside_down(part),
        Orientation::Rotate180 => mirrored(upside_down(part)),
        Orientation::Rotate90FlipH => transposed(part),
        Orientation::Rotate270FlipH => transposed(mirrored(upside_down(part))),
        Orientation::Rotate90 => transposed(upside_down(part)),
        Orientation::Rotate270 => transposed(mirrored(part)),
    }
}

/// Where a part of the upright picture of this size lies in the file's.
pub(crate) fn turn_part_back(part: CropBox, upright: (u32, u32), by: Orientation) -> CropBox {
    turn_part(part, upright, opposite(by))
}

/// Turns the pixels of a picture upright. Returns the new width and height.
pub(crate) fn turn_pixels(rgb: &mut Vec<u8>, size: (u32, u32), by: Orientation) -> Result<(u32, u32)> {
    if by == Orientation::NoTransforms {
        return Ok(size);
    }
    let image =
        RgbImage::from_raw(size.0, size.1, std::mem::take(rgb)).context("there are too few pixels")?;
    let mut image = DynamicImage::from(image);
    image.apply_orientation(by);
    let size = (image.width(), image.height());
    *rgb = image.into_rgb8().into_raw();
    Ok(size)
}

fn swaps_axes(by: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(by, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn opposite(of: Orientation) -> Orientation {
    match of {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        // Done twice, these do nothing.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    const SIZE: (u32, u32) = (5, 3);

    /// Every orientation.
    fn all() -> impl Iterator<Item = Orientation> {
        (1..=8).map(|exif| Orientation::from_exif(exif).unwrap())
    }

    fn values(CropBox { left, top, width, height }: CropBox) -> [f64; 4] {
        [left, top, width, height]
    }

    #[test]
    fn part_is_turned_as_its_pixels_are() {
        let part = CropBox { left: 3.0, top: 1.0, width: 2.0, height: 1.0 };
        // White where the part is.
        let is_inside = |x, y| (3..5).contains(&x) && y == 1;
        let image = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb([if is_inside(x, y) { 255 } else { 0 }; 3]));
        for by in all() {
            let mut rgb = image.clone().into_raw();
            let (width, height) = turn_pixels(&mut rgb, SIZE, by).unwrap();
            assert_eq!((width, height), turned_size(SIZE, by), "{by:?}");
            let turned = RgbImage::from_raw(width, height, rgb).unwrap();
            let [left, top, wide, high] = values(turn_part(part, SIZE, by)).map(|value| value as u32);
            for (x, y, pixel) in turned.enumerate_pixels() {
                let expected = (left..left + wide).contains(&x) && (top..top + high).contains(&y);
                assert_eq!(pixel[0] == 255, expected, "{by:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn part_that_is_turned_and_turned_back_is_the_same() {
        let part = CropBox { left: 0.5, top: 1.25, width: 2.0, height: 1.5 };
        for by in all() {
            let turned = turn_part(part, SIZE, by);
            assert_eq!(values(turn_part_back(turned, turned_size(SIZE, by), by)), values(part), "{by:?}");
        }
    }
}
