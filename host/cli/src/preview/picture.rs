//! Pictures of a bounded size from arrays of any size: values to colours, and many pixels to one.

use cobuf_host::DType;

use super::array::{Array, Statistics, number, percent};
use super::frames::Frames;

/// The most columns and rows of a picture.
pub(super) const MOST_SIDE: usize = 128;
/// The most source pixels along a side that a pixel is the mean of.
const MOST_SAMPLES: usize = 6;
/// The largest number of a class in a mask, apart from 255, which often means "ignore".
const MOST_CLASSES: f64 = 40.0;

pub(super) type Colour = [u8; 3];

/// The colour of a pixel that is no number.
const NOT_A_NUMBER: Colour = [255, 0, 255];
/// Behind transparent pixels.
const BACKGROUND: f64 = 200.0;

/// The colours of a mask's classes from 1 on; those above repeat them. Class 0 is black.
const CLASSES: [Colour; 12] = [
    [230, 57, 70],
    [46, 196, 182],
    [255, 190, 11],
    [58, 134, 255],
    [251, 133, 0],
    [131, 56, 236],
    [112, 224, 0],
    [255, 143, 171],
    [0, 119, 182],
    [188, 108, 37],
    [202, 240, 248],
    [128, 128, 0],
];

/// How values become colours, the same for all pictures of an array.
#[derive(Debug, PartialEq)]
pub(super) enum Colours {
    /// Each integer has its own.
    Classes,
    /// From black to white, or from no to full colour.
    Scale { from: f64, to: f64 },
}

/// A picture in its final colours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<Colour>,
    /// Boxes, as left, top, right and bottom from 0 to 1.
    pub(super) boxes: Vec<[f64; 4]>,
    /// Whether the colours are those of classes, which have no mean.
    pub(super) classes: bool,
}

impl Colours {
    pub(super) fn of(array: &Array<'_>, frames: &Frames, found: &Statistics) -> Self {
        let (least, most) = found.range.unwrap_or_default();
        let one_channel = frames.channels == 1;
        if one_channel && !array.is_float() && least >= 0.0 && is_mask(array, most) {
            return Self::Classes;
        }
        let (from, to) = match array.dtype() {
            DType::U8 => (0.0, 255.0),
            _ if array.is_float() && least >= 0.0 && most <= 1.0 => (0.0, 1.0),
            _ if array.is_float() && least >= -1.0 && most <= 1.0 => (-1.0, 1.0),
            _ => (least, most),
        };
        Self::Scale { from, to }
    }

    /// The scale, for a caption.
    pub(super) fn text(&self, frames: &Frames, found: &Statistics) -> String {
        let mut parts = Vec::new();
        match self {
            Self::Classes => {
                let (least, most) = found.range.unwrap_or_default();
                parts.push(format!(
                    "mask, a colour for each class from {} to {}",
                    number(least),
                    number(most)
                ));
            }
            Self::Scale { from, to } => {
                parts.push(format!("{} is dark, {} is bright", number(*from), number(*to)));
            }
        }
        if frames.channels_first {
            parts.push("channels first".to_owned());
        }
        match frames.channels {
            2 => parts.push("the first of 2 channels".to_owned()),
            4 => parts.push("the fourth channel is alpha".to_owned()),
            channels @ 5.. => parts.push(format!("the first 3 of {channels} channels")),
            _ => {}
        }
        if found.nan > 0.0 {
            parts.push(format!("{} NaN, magenta", percent(found.nan)));
        }
        parts.join("; ")
    }

    fn level(&self, value: f64) -> f64 {
        match self {
            Self::Scale { from, to } if to > from => ((value - from) / (to - from)).clamp(0.0, 1.0) * 255.0,
            // All values are the same.
            _ => 128.0,
        }
    }
}

fn is_mask(array: &Array<'_>, most: f64) -> bool {
    // 255 beside classes means "ignore"; beside grey levels it is white.
    let ignoring = || {
        let step = array.len().div_ceil(1 << 16).max(1);
        (0..array.len())
            .step_by(step)
            .map(|index| array.get(index))
            .all(|value| value <= MOST_CLASSES || value == 255.0)
    };
    array.dtype() == DType::Bool || most <= MOST_CLASSES || (most == 255.0 && ignoring())
}

fn class(value: f64) -> Colour {
    match value as u64 {
        0 => [0; 3],
        255 => [230; 3],
        class => CLASSES[(class - 1) as usize % CLASSES.len()],
    }
}

impl Picture {
    /// A picture of an array, made smaller if it is large.
    pub(super) fn of(array: &Array<'_>, frames: &Frames, which: usize, colours: &Colours) -> Self {
        let (width, height) = fit(frames.width, frames.height, MOST_SIDE);
        let classes = *colours == Colours::Classes;
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = samples(y, height, frames.height, classes);
            for x in 0..width {
                let columns = samples(x, width, frames.width, classes);
                pixels.push(pixel(array, frames, which, colours, &rows, &columns));
            }
        }
        Self { width, height, pixels, boxes: Vec::new(), classes }
    }

    /// The picture in another size.
    pub(super) fn resized(&self, width: usize, height: usize) -> Self {
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = samples(y, height, self.height, self.classes);
            for x in 0..width {
                let columns = samples(x, width, self.width, self.classes);
                let found = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
                let mut sum = [0; 3];
                for (row, column) in found {
                    let pixel = self.pixels[row * self.width + column];
                    sum.iter_mut().zip(pixel).for_each(|(sum, part)| *sum += usize::from(part));
                }
                pixels.push(sum.map(|sum| (sum / (rows.len() * columns.len())) as u8));
            }
        }
        Self { width, height, pixels, boxes: self.boxes.clone(), classes: self.classes }
    }

    /// Draws the boxes into the pixels.
    pub(super) fn with_boxes(mut self, colour: Colour) -> Self {
        let edge = |at: f64, length: usize| (at.clamp(0.0, 1.0) * (length - 1) as f64).round() as usize;
        for [left, top, right, bottom] in std::mem::take(&mut self.boxes) {
            let (left, right) = (edge(left, self.width), edge(right, self.width));
            let (top, bottom) = (edge(top, self.height), edge(bottom, self.height));
            for x in left..=right.max(left) {
                self.pixels[top * self.width + x] = colour;
                self.pixels[bottom * self.width + x] = colour;
            }
            for y in top..=bottom.max(top) {
                self.pixels[y * self.width + left] = colour;
                self.pixels[y * self.width + right] = colour;
            }
        }
        self
    }
}

/// The largest size of the same proportions with sides of at most `most`; no larger than it is.
pub(super) fn fit(width: usize, height: usize, most: usize) -> (usize, usize) {
    let long = width.max(height);
    if long <= most {
        return (width, height);
    }
    let scaled = |side: usize| (side as f64 * most as f64 / long as f64).round() as usize;
    (scaled(width).max(1), scaled(height).max(1))
}

/// The source positions that a position of the picture shows: a class cannot be a mean.
fn samples(at: usize, of: usize, source: usize, classes: bool) -> Vec<usize> {
    let (from, to) = (at * source / of, ((at + 1) * source / of).max(at * source / of + 1));
    if classes {
        return vec![usize::midpoint(from, to - 1)];
    }
    let count = (to - from).min(MOST_SAMPLES);
    (0..count).map(|index| from + index * (to - from) / count).collect()
}

fn pixel(
    array: &Array<'_>,
    frames: &Frames,
    which: usize,
    colours: &Colours,
    rows: &[usize],
    columns: &[usize],
) -> Colour {
    let mut levels = [0.0; 4];
    let channels = frames.shown_channels();
    for (channel, level) in levels.iter_mut().enumerate().take(channels) {
        let mut sum = 0.0;
        for (&row, &column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            let value = array.get(frames.index([which, row, column, channel]));
            if value.is_nan() {
                return NOT_A_NUMBER;
            }
            if *colours == Colours::Classes {
                return class(value);
            }
            sum += colours.level(value);
        }
        *level = sum / (rows.len() * columns.len()) as f64;
    }
    let [red, green, blue, alpha] = levels;
    let over = |level: f64| (level * alpha + BACKGROUND * (255.0 - alpha)) / 255.0;
    match channels {
        1 => [red as u8; 3],
        4 => [red, green, blue].map(|level| over(level) as u8),
        _ => [red, green, blue].map(|level| level as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_host::ArraySpec;

    fn shown(dtype: DType, shape: &[usize], bytes: &[u8]) -> (Picture, Colours, String) {
        let spec = ArraySpec::new("x", dtype, shape);
        let array = Array::new(&spec, shape.to_vec(), bytes);
        let frames = Frames::of(&array, true).unwrap();
        let found = array.statistics();
        let colours = Colours::of(&array, &frames, &found);
        (
            Picture::of(&array, &frames, 0, &colours),
            colours,
            Colours::of(&array, &frames, &found).text(&frames, &found),
        )
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    #[test]
    fn ranges_of_floats_are_told() {
        for (values, range) in [
            ([0.0, 0.25, 1.0, 0.5], (0.0, 1.0)),
            ([-0.5, 0.0, 0.5, 1.0], (-1.0, 1.0)),
            ([-3.0, 0.0, 9.0, 1.0], (-3.0, 9.0)),
        ] {
            let (picture, colours, text) = shown(DType::F32, &[1, 2, 2, 1], &floats(&values));
            assert_eq!(colours, Colours::Scale { from: range.0, to: range.1 });
            assert_eq!(text, format!("{} is dark, {} is bright", range.0, range.1));
            assert_eq!(
                picture.pixels[2],
                [(((values[2] as f64) - range.0) / (range.1 - range.0) * 255.0) as u8; 3]
            );
        }
    }

    #[test]
    fn nan_and_constants_are_shown() {
        let (picture, _, text) = shown(DType::F32, &[1, 1, 2, 1], &floats(&[f32::NAN, 0.5]));
        assert_eq!((picture.pixels[0], picture.pixels[1]), (NOT_A_NUMBER, [127; 3]));
        assert!(text.ends_with("50.0 % NaN, magenta"), "{text}");
        let (picture, ..) = shown(DType::F32, &[1, 1, 1, 3], &floats(&[7.0, 7.0, 7.0]));
        assert_eq!(picture.pixels, [[128; 3]]);
        let (picture, ..) = shown(DType::F32, &[1, 1, 1, 1], &floats(&[f32::INFINITY]));
        assert_eq!(picture.pixels.len(), 1);
    }

    #[test]
    fn small_integers_are_a_mask_and_grey_levels_are_not() {
        let (picture, colours, _) = shown(DType::U8, &[1, 5, 5], &[[0, 1, 2, 13, 255]; 5].concat());
        assert_eq!(colours, Colours::Classes);
        assert_eq!(picture.pixels[..5], [[0; 3], CLASSES[0], CLASSES[1], CLASSES[0], [230; 3]]);
        let (_, colours, _) = shown(DType::U8, &[1, 5, 5], &[[0, 100, 200, 13, 255]; 5].concat());
        assert_eq!(colours, Colours::Scale { from: 0.0, to: 255.0 });
    }

    #[test]
    fn picture_is_small_whatever_the_array() {
        let bytes: Vec<u8> = (0..3000 * 2000).map(|index| (index % 256) as u8).collect();
        let (picture, ..) = shown(DType::U8, &[1, 3000, 2000, 1], &bytes);
        assert_eq!((picture.width, picture.height, picture.pixels.len()), (85, 128, 85 * 128));
        let (picture, ..) = shown(DType::U8, &[1, 1, 2000, 3], &bytes[..6000]);
        assert_eq!((picture.width, picture.height), (128, 1));
        let (_, _, text) = shown(DType::U8, &[1, 40, 40, 7], &bytes[..40 * 40 * 7]);
        assert!(text.ends_with("the first 3 of 7 channels"), "{text}");
    }

    #[test]
    fn boxes_stay_inside() {
        let (mut picture, ..) = shown(DType::U8, &[1, 5, 5], &[200; 25]);
        picture.boxes = vec![[0.0, 0.0, 1.0, 1.0], [-3.0, 0.5, 9.0, 0.5], [0.9, 0.9, 0.1, 0.1]];
        let drawn = picture.with_boxes([1, 2, 3]);
        assert_eq!((drawn.pixels[0], drawn.pixels[24], drawn.pixels[12]), ([1, 2, 3], [1, 2, 3], [1, 2, 3]));
    }
}
