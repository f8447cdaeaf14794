//! The content that is shown of a batch, before it is drawn.
//!
//! ```text
//!   batch 7                                        heading
//!   message {"index":7,…}                          texts
//!   image f32 (64, 8, 8): 0 is dark, 1 is bright   a band of pictures: a column for each row of the batch
//!   ┌──┐ ┌──┐ ┌──┐ ┌──┐
//!   label i64 (64,)                                a band of values, below them
//!     7    3    1    0
//!   weights f32 (10, 10): min 0, max 1, …          a band of numbers, with a histogram
//! ```

use anyhow::Result;
use cobuf_host::{Batch, Dictionary, StreamError};

use super::array::Array;
use super::boxes::Boxes;
use super::frames::Frames;
use super::picture::{Colours, Picture};

/// The most values of a row that are shown below its pictures.
const MOST_VALUES: usize = 4;
/// The most values that are shown of an array without pictures.
const FIRST_VALUES: usize = 8;

/// A batch, or why there is none.
pub(super) struct Sheet {
    pub(super) heading: String,
    /// Message and metadata.
    pub(super) texts: Vec<String>,
    pub(super) bands: Vec<Band>,
}

/// An array.
pub(super) enum Band {
    Pictures { caption: String, pictures: Vec<Picture> },
    Values { caption: String, values: Vec<String> },
    Numbers { caption: String, histogram: Option<Vec<u64>> },
}

impl Sheet {
    /// A batch that could not be made.
    pub(super) fn failed(error: StreamError) -> Self {
        let texts = match &error {
            StreamError::Batch(error) => vec![format!("message {}", error.message())],
            _ => Vec::new(),
        };
        Self { heading: format!("{:#}", anyhow::Error::new(error)), texts, bands: Vec::new() }
    }

    /// A batch, of which the first `columns` rows are shown.
    pub(super) fn of(batch: &Batch, columns: usize) -> Result<Self> {
        let rows = batch.rows().map(|rows| format!(", {rows} rows")).unwrap_or_default();
        let heading = format!("batch {}{rows}", batch.sequence());
        let (message, metadata) = (batch.message::<Dictionary>()?, batch.metadata::<Dictionary>()?);
        let mut texts = vec![format!("message {message}")];
        if metadata == message && !metadata.is_empty() {
            texts.push("metadata: the same".to_owned());
        } else if !metadata.is_empty() {
            texts.push(format!("metadata {metadata}"));
        }
        let arrays = (0..batch.schema().arrays().len()).map(|index| Array::of(batch, index));
        Ok(Self { heading, texts, bands: bands(&arrays.collect::<Result<Vec<_>>>()?, columns) })
    }
}

fn bands(arrays: &[Array<'_>], columns: usize) -> Vec<Band> {
    let frames: Vec<Option<Frames>> =
        arrays.iter().map(|array| Frames::of(array, shares_rows(array, arrays))).collect();
    // A column is a row of the batch, if there is a picture for each.
    let rows = frames.iter().flatten().find(|frames| !frames.single).map(|frames| frames.count);
    let mut bands = Vec::new();
    // Boxes are drawn over the first pictures that are no mask.
    let mut drawn = false;
    for (array, frames) in arrays.iter().zip(&frames) {
        bands.push(match frames {
            Some(frames) => pictures(array, frames, arrays, columns, &mut drawn),
            None => rows.and_then(|rows| values(array, rows, columns)).unwrap_or_else(|| numbers(array)),
        });
    }
    // Pictures first, and values right below them.
    bands.sort_by_key(|band| match band {
        Band::Pictures { .. } => 0,
        Band::Values { .. } => 1,
        Band::Numbers { .. } => 2,
    });
    bands
}

/// Whether another array has as many rows.
fn shares_rows(array: &Array<'_>, all: &[Array<'_>]) -> bool {
    let rows = array.shape.first();
    rows.is_some() && all.iter().filter(|other| other.shape.first() == rows).count() > 1
}

fn pictures(array: &Array<'_>, frames: &Frames, all: &[Array<'_>], columns: usize, drawn: &mut bool) -> Band {
    let found = array.statistics();
    let colours = Colours::of(array, frames, &found);
    let shown = frames.count.min(columns);
    let mut pictures: Vec<Picture> =
        (0..shown).map(|which| Picture::of(array, frames, which, &colours)).collect();
    let mut caption = format!("{}: {}", array.title(), colours.text(frames, &found));
    if !*drawn && colours != Colours::Classes {
        *drawn = true;
        if let Some(boxes) = all.iter().find_map(|other| Boxes::of(other, all, frames, shown)) {
            caption = format!("{caption}; {}", boxes.caption);
            pictures.iter_mut().zip(boxes.of_pictures).for_each(|(picture, boxes)| picture.boxes = boxes);
        }
    }
    Band::Pictures { caption, pictures }
}

/// The values of each of the batch's rows, if they are few.
fn values(array: &Array<'_>, rows: usize, columns: usize) -> Option<Band> {
    let each = array.shape.iter().skip(1).product::<usize>();
    let of_rows = array.shape.first() == Some(&rows) && !array.spec.at_most_axes().contains(&0);
    if !of_rows || !(1..=MOST_VALUES).contains(&each) {
        return None;
    }
    let of_row = |row: usize| {
        let values: Vec<String> = (row * each..(row + 1) * each).map(|index| array.text(index)).collect();
        values.join(" ")
    };
    Some(Band::Values { caption: array.title(), values: (0..rows.min(columns)).map(of_row).collect() })
}

fn numbers(array: &Array<'_>) -> Band {
    let title = array.title();
    if array.len() == 0 {
        return Band::Numbers { caption: format!("{title}: empty"), histogram: None };
    }
    if array.len() <= FIRST_VALUES {
        let values: Vec<String> = (0..array.len()).map(|index| array.text(index)).collect();
        return Band::Numbers { caption: format!("{title}: {}", values.join(" ")), histogram: None };
    }
    let found = array.statistics();
    let histogram = found.range.is_some().then(|| found.histogram.to_vec());
    Band::Numbers { caption: format!("{title}: {}", found.text()), histogram }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_host::{ArraySpec, DType};

    /// The captions of the bands of arrays full of zeros, with a letter for the kind of each.
    fn captions(specs: &[ArraySpec]) -> Vec<String> {
        let zeros = vec![0; specs.iter().map(ArraySpec::bytes).max().unwrap_or(0)];
        let arrays = specs.iter().map(|spec| Array::new(spec, spec.shape().to_vec(), &zeros[..spec.bytes()]));
        let caption = |band| match band {
            Band::Pictures { caption, pictures } => format!("{} pictures: {caption}", pictures.len()),
            Band::Values { caption, values } => format!("{} values: {caption}", values.len()),
            Band::Numbers { caption, .. } => format!("numbers: {caption}"),
        };
        bands(&arrays.collect::<Vec<_>>(), 4).into_iter().map(caption).collect()
    }

    #[test]
    fn columns_are_the_rows_of_pictures() {
        let found = captions(&[
            ArraySpec::new("boxes", DType::F32, [7, 4]).at_most([0]),
            ArraySpec::new("label", DType::I64, [6]),
            ArraySpec::new("image", DType::U8, [6, 9, 9, 3]),
            ArraySpec::new("embedding", DType::F32, [6, 100]),
        ]);
        assert_eq!(
            found,
            [
                "4 pictures: image u8 (6, 9, 9, 3): 0 is dark, 255 is bright",
                "4 values: label i64 (6,)",
                "numbers: boxes f32 (7, 4): min 0, max 0, mean 0",
                "numbers: embedding f32 (6, 100): min 0, max 0, mean 0",
            ]
        );
    }

    #[test]
    fn arrays_without_pictures_are_numbers() {
        let specs = [ArraySpec::new("x", DType::F32, [6, 10]), ArraySpec::new("y", DType::Bool, [6])];
        assert_eq!(
            captions(&specs),
            [
                "numbers: x f32 (6, 10): min 0, max 0, mean 0",
                "numbers: y bool (6,): false false false false false false"
            ]
        );
        assert_eq!(captions(&[ArraySpec::new("x", DType::F32, [50, 60])]).len(), 1);
    }
}
