//! Boxes beside pictures: which array has them, to which picture each belongs, and what its four
//! numbers mean.
//!
//! ```text
//!   (B, n, 4)   n boxes for each of B pictures
//!   (n, 4)      of all pictures, beside integers (n,): the picture of each box; or of a single picture
//! ```
//!
//! The numbers are left, top, right, bottom; or left, top, width, height, if the third or fourth of
//! some box is less than its first or second. They are pixels, or parts of the picture if none is
//! above 1. A box of zeros, of negative numbers or of NaN fills an array up, and is left out.

use super::array::Array;
use super::frames::Frames;

/// The most boxes that are drawn in a picture.
const MOST_BOXES: usize = 100;

/// The boxes of the first pictures of a batch.
pub(super) struct Boxes {
    /// For each picture: left, top, right, bottom, from 0 to 1.
    pub(super) of_pictures: Vec<Vec<[f64; 4]>>,
    pub(super) caption: String,
}

impl Boxes {
    /// The boxes in `array` for the first `shown` pictures, if it has some.
    pub(super) fn of(array: &Array<'_>, others: &[Array<'_>], frames: &Frames, shown: usize) -> Option<Self> {
        if !array.is_float() || array.shape.last() != Some(&4) {
            return None;
        }
        let four = |row: usize| [0, 1, 2, 3].map(|side| array.get(row * 4 + side));
        let pictures: Vec<Vec<[f64; 4]>> = match array.shape[..] {
            [count, each, 4] if count == frames.count && !frames.single => {
                (0..shown).map(|picture| (picture * each..(picture + 1) * each).map(four).collect()).collect()
            }
            [all, 4] if frames.single => vec![(0..all).map(four).collect()],
            [all, 4] => {
                let owners = others.iter().find(|other| is_owner(other, all, frames.count))?;
                let of = |picture: usize| (0..all).filter(move |&row| owners.get(row) == picture as f64);
                (0..shown).map(|picture| of(picture).map(four).collect()).collect()
            }
            _ => return None,
        };
        let real =
            |found: &[f64; 4]| found.iter().all(|side| *side >= 0.0) && found.iter().any(|side| *side > 0.0);
        let real: Vec<Vec<[f64; 4]>> = pictures
            .into_iter()
            .map(|found| found.into_iter().filter(real).take(MOST_BOXES).collect())
            .collect();
        let all = || real.iter().flatten();
        let corners = all().all(|[left, top, right, bottom]| right >= left && bottom >= top);
        let parts = all().flatten().all(|&side| side <= 1.0);
        let (width, height) = if parts { (1.0, 1.0) } else { (frames.width as f64, frames.height as f64) };
        let scaled = |&[left, top, a, b]: &[f64; 4]| {
            let [right, bottom] = if corners { [a, b] } else { [left + a, top + b] };
            [left / width, top / height, right / width, bottom / height]
        };
        let meaning = if corners { "left, top, right, bottom" } else { "left, top, width, height" };
        let unit = if parts { "parts of the picture" } else { "pixels" };
        Some(Self {
            caption: format!("boxes of {}, as {meaning} in {unit}", array.title()),
            of_pictures: real.iter().map(|found| found.iter().map(scaled).collect()).collect(),
        })
    }
}

/// Whether an array says for each of `boxes` boxes to which of the pictures it belongs: ascending
/// numbers of pictures.
fn is_owner(array: &Array<'_>, boxes: usize, pictures: usize) -> bool {
    let numbers = || (0..boxes).map(|row| array.get(row));
    !array.is_float()
        && array.shape == [boxes]
        && numbers().is_sorted()
        && numbers().all(|number| (0.0..pictures as f64).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_host::{ArraySpec, DType};

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    fn boxes(shape: &[usize], values: &[f32], owners: Option<&[u8]>) -> Option<Boxes> {
        let image = ArraySpec::new("image", DType::U8, [2, 10, 20, 3]);
        let frames = Frames::of(&Array::new(&image, image.shape().to_vec(), &[]), true).unwrap();
        let (spec, bytes) = (ArraySpec::new("boxes", DType::F32, shape), bytes(values));
        let owner = ArraySpec::new("picture", DType::U8, [owners.map_or(1, <[u8]>::len)]);
        let others: Vec<Array<'_>> =
            owners.iter().map(|numbers| Array::new(&owner, owner.shape().to_vec(), numbers)).collect();
        Boxes::of(&Array::new(&spec, shape.to_vec(), &bytes), &others, &frames, 2)
    }

    #[test]
    fn numbers_are_corners_or_sizes_in_pixels_or_parts() {
        let found = boxes(&[2, 1, 4], &[2.0, 1.0, 20.0, 5.0, 0.0, 0.0, 0.0, 0.0], None).unwrap();
        assert_eq!(found.of_pictures, [vec![[0.1, 0.1, 1.0, 0.5]], vec![]]);
        assert_eq!(found.caption, "boxes of boxes f32 (2, 1, 4), as left, top, right, bottom in pixels");
        let found = boxes(&[2, 1, 4], &[10.0, 5.0, 2.0, 5.0, f32::NAN, 0.0, 1.0, 1.0], None).unwrap();
        assert_eq!(found.of_pictures, [vec![[0.5, 0.5, 0.6, 1.0]], vec![]]);
        let found = boxes(&[2, 1, 4], &[0.0, 0.5, 0.25, 1.0, -1.0, -1.0, -1.0, -1.0], None).unwrap();
        assert_eq!(found.of_pictures[0], [[0.0, 0.5, 0.25, 1.0]]);
        assert!(found.caption.ends_with("in parts of the picture"));
    }

    #[test]
    fn boxes_of_all_pictures_need_their_pictures_numbers() {
        let values = [0.0, 0.0, 10.0, 10.0, 5.0, 5.0, 10.0, 10.0, 1.0, 1.0, 2.0, 2.0];
        let found = boxes(&[3, 4], &values, Some(&[0, 1, 1])).unwrap();
        assert_eq!(found.of_pictures.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        for owners in [None, Some(&[0, 1][..]), Some(&[1, 0, 1]), Some(&[0, 1, 2])] {
            assert!(boxes(&[3, 4], &values, owners).is_none(), "{owners:?}");
        }
        assert!(boxes(&[3, 2, 2], &values, None).is_none());
    }
}
