//! The works: what every contender is asked to do, and in which unit it is measured.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The bytes of a tiny batch's only array.
pub(crate) const TINY_BYTES: usize = 16;
/// The shape of a large batch's only array, of bytes.
pub(crate) const LARGE_SHAPE: [usize; 4] = [64, 256, 256, 3];
/// The bytes of a large batch.
pub(crate) const LARGE_BYTES: usize = 64 * 256 * 256 * 3;
/// The consumer of a large batch reads one byte of each.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Batches are filled with the values 0, 1 … below this, and 0 again, so that a wrong or stale batch is seen.
pub(crate) const VALUES: u64 = 251;
/// Pictures in a batch of photos.
pub(crate) const PHOTOS_A_BATCH: usize = 64;
/// The height and width of pictures in a batch, in pixels.
pub(crate) const PHOTO_SIDE: usize = 224;
/// Examples in a batch of slides, each with a patch of both levels.
pub(crate) const EXAMPLES_A_BATCH: usize = 8;
/// Slots, buffers or batches in flight: of tiny batches, and of all others.
pub(crate) const TINY_SLOTS: usize = 64;
pub(crate) const SLOTS: usize = 8;

/// The work to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Batches of one array of 16 bytes.
    Tiny,
    /// Batches of 12.6 MB, filled with a value.
    Large,
    /// From the start to the first tiny batch.
    First,
    /// Producers that sleep for exponentially distributed times.
    Uneven,
    /// JPEG files to batches of pictures.
    Images,
    /// Patches of slides by OpenSlide.
    Slides,
    /// The cost of a third worker.
    Memory,
    /// From Ctrl-C to the end of all processes.
    Interrupt,
}

impl Work {
    pub(crate) const ALL: [Self; 8] = [
        Self::Tiny,
        Self::Large,
        Self::First,
        Self::Uneven,
        Self::Images,
        Self::Slides,
        Self::Memory,
        Self::Interrupt,
    ];

    /// The unit of a measurement's value.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Tiny => "µs a batch",
            Self::Large => "GB/s",
            Self::First | Self::Interrupt => "ms",
            Self::Memory => "MB",
            Self::Uneven => "% of ideal",
            Self::Images => "images/s",
            Self::Slides => "patches/s",
        }
    }

    /// The measured quantity, for the report.
    pub(crate) fn description(self) -> String {
        match self {
            Self::Tiny => format!(
                "A batch is one array of {TINY_BYTES} bytes, filled with a value; the consumer reads a byte. {TINY_SLOTS} slots \
                 or buffers if that can be set."
            ),
            Self::Large => format!(
                "A batch is one u8 array of shape {LARGE_SHAPE:?}, {:.1} MB, filled with a value; the consumer reads one byte of each \
                 page of {PAGE_BYTES}. {SLOTS} slots, buffers or batches in flight.",
                LARGE_BYTES as f64 / 1e6
            ),
            Self::First => "From the call that starts it, in a process that has loaded all of its code, to the first tiny batch; \
                the median of several starts in one process."
                .to_owned(),
            Self::Uneven => format!(
                "The producer sleeps for exponential times with a mean of 10 ms, the same for all peers; {SLOTS} batches in flight, \
                 the consumer's included. Ideal: the sum of all times by the number of workers."
            ),
            Self::Images => format!(
                "JPEG photos of 640 x 480 from files in the page cache to u8 batches of ({PHOTOS_A_BATCH}, {PHOTO_SIDE}, \
                 {PHOTO_SIDE}, 3): decoded, the centre square cropped, resized with a bilinear filter that widens where it makes \
                 smaller (antialiasing)."
            ),
            Self::Slides => format!(
                "Whole slides to u8 batches of ({EXAMPLES_A_BATCH}, 2, 256, 256, 3), by OpenSlide from files in the page cache: an \
                 example is two patches around one point, of 0.5 and of 2 µm a pixel. Points are drawn evenly from the pixels that \
                 both levels have, so that OpenSlide interpolates nothing. Slides stay open in their worker."
            ),
            Self::Memory => "The private memory of a third worker, of tiny batches: that of all processes with it, less \
                that without it. Shared mappings do not count. In Python, application and producer have loaded numpy and torch."
                .to_owned(),
            Self::Interrupt => "From SIGINT to all processes, as a terminal sends it, in a running loop, until the stream is stopped and \
                no process is left. The producers sleep as in *uneven*."
                .to_owned(),
        }
    }

    /// How many times as good a value is as another.
    pub(crate) fn ratio(self, value: f64, base: f64) -> f64 {
        if self.is_cost() { base / value } else { value / base }
    }

    /// Whether `value` is better than `other`.
    pub(crate) fn is_better(self, value: f64, other: f64) -> bool {
        self.ratio(value, other) > 1.0
    }

    /// Whether a small value is a good one.
    fn is_cost(self) -> bool {
        matches!(self, Self::Tiny | Self::First | Self::Memory | Self::Interrupt)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tiny => "tiny",
            Self::Large => "large",
            Self::First => "first",
            Self::Uneven => "uneven",
            Self::Images => "images",
            Self::Slides => "slides",
            Self::Memory => "memory",
            Self::Interrupt => "interrupt",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_ratio_above_one_always_faster() {
        assert_eq!(Work::Tiny.ratio(2.0, 4.0), 2.0);
        assert_eq!(Work::Large.ratio(2.0, 4.0), 0.5);
        assert!(Work::First.is_better(1.0, 2.0));
        assert!(Work::Images.is_better(2.0, 1.0));
    }

    #[test]
    fn is_a_large_batch_as_large_as_its_shape() {
        assert_eq!(LARGE_SHAPE.iter().product::<usize>(), LARGE_BYTES);
        assert_eq!(LARGE_BYTES % PAGE_BYTES, 0);
    }
}
