//! Which arrays can be pictures, and where a pixel of them lies.
//!
//! ```text
//!   (B, H, W, C)   C is 1, 3 or 4; of other numbers of channels, the first three are shown
//!   (B, C, H, W)   channels first: C is 1, 3 or 4, and the last axis is not
//!   (B, H, W)      one channel, if the first axis is that of the batch's rows
//!   (H, W, C)      a single picture, if it is not
//!   (H, W)         the same
//! ```

use super::array::Array;

/// The most channels of an array that is a picture.
const MOST_CHANNELS: usize = 64;

/// The pictures in an array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frames {
    pub(super) count: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// How far it is from one picture, row, column, channel to the next, in elements.
    strides: [usize; 4],
    pub(super) channels_first: bool,
    /// Whether there is one picture for the whole batch, not one for each row.
    pub(super) single: bool,
}

impl Frames {
    /// The pictures of an array, if it can be some. `shares_rows`: another array has the same first
    /// axis, so that this is the axis of rows.
    pub(super) fn of(array: &Array<'_>, shares_rows: bool) -> Option<Self> {
        let frames = match array.shape[..] {
            [count, a, b, c] => {
                let known = |channels: usize| matches!(channels, 1 | 3 | 4);
                let first = !known(c) && (known(a) || (a < c && a < b));
                if first { Self::first(count, a, b, c) } else { Self::last(count, a, b, c) }
            }
            [height, width, channels] if !shares_rows && height > 1 && matches!(channels, 1 | 3 | 4) => {
                Self { single: true, ..Self::last(1, height, width, channels) }
            }
            [count, height, width] => {
                // Points, or boxes.
                if width <= 4 && height != width {
                    return None;
                }
                Self::last(count, height, width, 1)
            }
            // Of up to four columns: points, or boxes.
            [height, width] if !shares_rows && width > 4 => {
                Self { single: true, ..Self::last(1, height, width, 1) }
            }
            _ => return None,
        };
        let empty = frames.count == 0 || frames.height == 0 || frames.width == 0;
        (!empty && (1..=MOST_CHANNELS).contains(&frames.channels)).then_some(frames)
    }

    fn last(count: usize, height: usize, width: usize, channels: usize) -> Self {
        let strides = [height * width * channels, width * channels, channels, 1];
        Self { count, height, width, channels, strides, channels_first: false, single: false }
    }

    fn first(count: usize, channels: usize, height: usize, width: usize) -> Self {
        let strides = [height * width * channels, width, 1, height * width];
        Self { count, height, width, channels, strides, channels_first: true, single: false }
    }

    /// The position of an element.
    pub(super) fn index(&self, [picture, row, column, channel]: [usize; 4]) -> usize {
        let [p, r, c, h] = self.strides;
        picture * p + row * r + column * c + channel * h
    }

    /// How many channels are shown: one as grey, three as red, green and blue, four with alpha.
    pub(super) fn shown_channels(&self) -> usize {
        match self.channels {
            1 | 2 => 1,
            3 | 4 => self.channels,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_host::{ArraySpec, DType};

    fn frames(shape: &[usize], shares_rows: bool) -> Option<Frames> {
        let spec = ArraySpec::new("x", DType::U8, [1]);
        Frames::of(&Array::new(&spec, shape.to_vec(), &[]), shares_rows)
    }

    #[test]
    fn axes_are_told_by_their_lengths() {
        for shape in [[8, 32, 40, 3], [8, 3, 40, 3], [8, 32, 40, 7], [8, 1, 1, 3]] {
            let found = frames(&shape, true).unwrap();
            assert!(!found.channels_first && found.channels == shape[3], "{shape:?}");
            assert_eq!(found.index([1, 0, 0, 0]), shape[1] * shape[2] * shape[3]);
        }
        for shape in [[8, 3, 32, 40], [8, 1, 32, 40], [8, 7, 32, 40]] {
            let found = frames(&shape, true).unwrap();
            assert!(found.channels_first && found.channels == shape[1], "{shape:?}");
            assert_eq!((found.height, found.width, found.index([0, 0, 1, 2])), (32, 40, 1 + 2 * 32 * 40));
        }
        assert_eq!(frames(&[8, 32, 40], true).unwrap().count, 8);
        assert!(frames(&[20_000, 20_000], false).unwrap().single);
        assert!(frames(&[32, 40, 3], false).unwrap().single);
    }

    #[test]
    fn other_arrays_are_no_pictures() {
        for shape in
            [&[8][..], &[8, 100], &[], &[8, 17, 4], &[0, 32, 32, 3], &[8, 0, 32, 3], &[2, 3, 4, 5, 6]]
        {
            assert_eq!(frames(shape, true), None, "{shape:?}");
        }
        assert_eq!(frames(&[8, 200, 100, 300], true), None, "too many channels");
        assert_eq!(frames(&[9, 4], false), None, "boxes");
    }
}
