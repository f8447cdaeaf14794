//! A picture that grows downwards: rectangles, pictures and text in it, and its PNG file.

use std::io::Write;

use anyhow::Result;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use png::{BitDepth, ColorType, Compression, Encoder};

use super::picture::Colour;

/// The size of a letter.
pub(super) const LETTER: (usize, usize) = (get_raster_width(WEIGHT, SIZE), SIZE.val());
const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;

/// Where letters stand, from the top of a line.
const BASELINE: usize = 12;

const WHITE: u8 = 255;

/// A white surface of a fixed width.
pub(super) struct Canvas {
    width: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize) -> Self {
        Self { width, pixels: Vec::new() }
    }

    /// Makes it so high, if it is not.
    fn reach(&mut self, height: usize) {
        let bytes = height * self.width * 3;
        if self.pixels.len() < bytes {
            self.pixels.resize(bytes, WHITE);
        }
    }

    /// Fills a rectangle, as far as it is inside the width.
    pub(super) fn fill(
        &mut self,
        (left, top): (usize, usize),
        (width, height): (usize, usize),
        colour: Colour,
    ) {
        self.reach(top + height);
        for y in top..top + height {
            for x in left..(left + width).min(self.width) {
                self.set(x, y, colour);
            }
        }
    }

    pub(super) fn set(&mut self, x: usize, y: usize, colour: Colour) {
        self.reach(y + 1);
        if x < self.width {
            let at = (y * self.width + x) * 3;
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Writes a line of text. Letters that the font lacks are shown as `?`.
    pub(super) fn write(&mut self, (left, top): (usize, usize), text: &str, colour: Colour) {
        self.reach(top + LETTER.1);
        for (column, letter) in text.chars().enumerate() {
            if letter == '…' {
                // The font has none.
                for x in [1, 3, 5] {
                    self.set(left + column * LETTER.0 + x, top + BASELINE, colour);
                }
                continue;
            }
            let raster = get_raster(letter, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE));
            for (y, row) in raster.iter().flat_map(|raster| raster.rows()).enumerate() {
                for (x, &ink) in row.iter().enumerate() {
                    if ink > 0 {
                        let mix = |ink_colour: u8| {
                            let (ink, paper) = (u16::from(ink), u16::from(WHITE));
                            ((u16::from(ink_colour) * ink + paper * (255 - ink)) / 255) as u8
                        };
                        self.set(left + column * LETTER.0 + x, top + y, colour.map(mix));
                    }
                }
            }
        }
    }

    /// Writes it as a PNG file.
    pub(super) fn encode(&self, file: impl Write) -> Result<()> {
        let height = self.pixels.len() / (self.width * 3);
        let mut encoder = Encoder::new(file, u32::try_from(self.width)?, u32::try_from(height)?);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::High);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        Ok(writer.finish()?)
    }
}
