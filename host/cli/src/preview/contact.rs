//! The contact sheet: batches below each other, drawn for a PNG file.

use super::array::BARS;
use super::canvas::{Canvas, LETTER};
use super::picture::{Colour, MOST_SIDE, Picture};
use super::sheet::{Band, Sheet};
use super::words::{cut, wrapped};

/// The number of rows of a batch that are shown.
pub(super) const COLUMNS: usize = 8;

const MARGIN: usize = 12;
const GAP: usize = 8;
const COLUMN: usize = MOST_SIDE + GAP;
const WIDTH: usize = 2 * MARGIN + COLUMNS * COLUMN - GAP;
/// The lines that a message may have.
const MOST_LINES: usize = 2;
const HISTOGRAM: (usize, usize) = (BARS * 8, 40);

const INK: Colour = [30, 30, 30];
const SOFT: Colour = [110, 110, 110];
const LINE: Colour = [205, 205, 205];
const BAR: Colour = [58, 110, 165];
const BOX: Colour = [0, 230, 90];
const BAD: Colour = [190, 30, 30];

/// Draws all batches.
pub(super) fn drawn(title: &str, sheets: &[Sheet]) -> Canvas {
    let mut pen = Pen { canvas: Canvas::new(WIDTH), top: MARGIN };
    pen.line(title, INK);
    for sheet in sheets {
        pen.sheet(sheet);
    }
    pen.space(MARGIN - GAP);
    pen.canvas
}

/// Draws from top to bottom.
struct Pen {
    canvas: Canvas,
    top: usize,
}

impl Pen {
    fn sheet(&mut self, sheet: &Sheet) {
        self.canvas.fill((MARGIN, self.top + GAP / 2), (WIDTH - 2 * MARGIN, 1), LINE);
        self.space(GAP + 2);
        self.line(&sheet.heading, if sheet.bands.is_empty() { BAD } else { INK });
        for text in &sheet.texts {
            for line in wrapped(text, (WIDTH - 2 * MARGIN) / LETTER.0, MOST_LINES) {
                self.line(&line, SOFT);
            }
        }
        for band in &sheet.bands {
            self.space(GAP / 2);
            match band {
                Band::Pictures { caption, pictures } => {
                    self.line(caption, INK);
                    self.pictures(pictures);
                }
                Band::Values { caption, values } => {
                    self.line(caption, INK);
                    for (column, value) in values.iter().enumerate() {
                        let value = cut(value, COLUMN / LETTER.0 - 1);
                        self.canvas.write((MARGIN + column * COLUMN, self.top), &value, SOFT);
                    }
                    self.space(LETTER.1);
                }
                Band::Numbers { caption, histogram } => {
                    self.line(caption, INK);
                    if let Some(histogram) = histogram {
                        self.histogram(histogram);
                    }
                }
            }
        }
    }

    fn pictures(&mut self, pictures: &[Picture]) {
        let factor =
            pictures.iter().map(|picture| MOST_SIDE / picture.width.max(picture.height)).min().unwrap_or(1);
        let mut height = 0;
        for (column, picture) in pictures.iter().enumerate() {
            let large = picture.resized(picture.width * factor, picture.height * factor).with_boxes(BOX);
            let left = MARGIN + column * COLUMN;
            self.canvas.fill((left - 1, self.top), (large.width + 2, large.height + 2), LINE);
            for (y, row) in large.pixels.chunks(large.width).enumerate() {
                for (x, &pixel) in row.iter().enumerate() {
                    self.canvas.set(left + x, self.top + 1 + y, pixel);
                }
            }
            height = height.max(large.height + 2);
        }
        self.space(height);
    }

    fn histogram(&mut self, histogram: &[u64]) {
        let most = histogram.iter().copied().max().unwrap_or(0).max(1);
        let (width, height) = HISTOGRAM;
        for (index, &count) in histogram.iter().enumerate() {
            // A bar that is not empty is seen.
            let bar = (count as f64 / most as f64 * height as f64).ceil() as usize;
            let left = MARGIN + index * (width / BARS);
            self.canvas.fill((left, self.top + height - bar), (width / BARS - 1, bar), BAR);
        }
        self.canvas.fill((MARGIN, self.top + height), (width, 1), LINE);
        self.space(height + GAP / 2);
    }

    fn line(&mut self, text: &str, colour: Colour) {
        let text = cut(text, (WIDTH - 2 * MARGIN) / LETTER.0);
        self.canvas.write((MARGIN, self.top), &text, colour);
        self.space(LETTER.1 + 2);
    }

    /// Goes down.
    fn space(&mut self, height: usize) {
        self.top += height;
        self.canvas.fill((0, self.top), (0, 0), LINE);
    }
}
