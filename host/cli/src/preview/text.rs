//! The form for terminals: pictures of half blocks, two pixels in a cell, in the colours that the
//! terminal has; or of letters that are as bright, without any.

use std::env;
use std::fmt::Write as _;
use std::io;

use rustix::termios::tcgetwinsize;

use super::picture::{Colour, Picture, fit};
use super::sheet::{Band, Sheet};
use super::words::{cut, wrapped};
use cobuf::output::in_colour;

/// The width if standard output is no terminal.
const WIDTH: usize = 80;
/// The columns of a picture, and the width from which on it has more.
const PICTURE: usize = 18;
const LARGE_PICTURE: usize = 25;
const WIDE: usize = 120;
/// The lines that a text may have, and a caption.
const MOST_LINES: usize = 3;
const MOST_CAPTION_LINES: usize = 10;

const SHADES: &[u8] = b" .:-=+*#%@";
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const BOX: Colour = [0, 230, 90];
const RESET: &str = "\x1b[0m";

/// The colours of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Palette {
    /// 24 bits.
    True,
    /// The 256 of xterm.
    Fixed,
    None,
}

/// A terminal, or what standard output is instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    width: usize,
    palette: Palette,
}

impl Screen {
    /// That of standard output.
    pub(super) fn here() -> Self {
        let known = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let palette = match (variable("COLORTERM").as_str(), variable("TERM")) {
            _ if !in_colour(&io::stdout()) => Palette::None,
            ("truecolor" | "24bit", _) => Palette::True,
            (_, name) if name.contains("256color") => Palette::Fixed,
            _ => Palette::None,
        };
        Self { width: known.filter(|&width| width > 0).unwrap_or(WIDTH), palette }
    }

    fn picture(&self) -> usize {
        let picture = if self.width < WIDE { PICTURE } else { LARGE_PICTURE };
        picture.min(self.width)
    }

    /// How many pictures are beside each other.
    pub(super) fn columns(&self) -> usize {
        ((self.width + 1) / (self.picture() + 1)).max(1)
    }

    /// All batches as text.
    pub(super) fn text(&self, title: &str, sheets: &[Sheet]) -> String {
        let mut lines = self.bold(&wrapped(title, self.width, MOST_LINES));
        for sheet in sheets {
            lines.push(String::new());
            lines.extend(self.bold(&wrapped(&sheet.heading, self.width, MOST_CAPTION_LINES)));
            lines.extend(sheet.texts.iter().flat_map(|text| wrapped(text, self.width, MOST_LINES)));
            sheet.bands.iter().for_each(|band| lines.extend(self.band(band)));
        }
        lines.join("\n")
    }

    fn bold(&self, lines: &[String]) -> Vec<String> {
        let bold = |line: &String| format!("\x1b[1m{line}{RESET}");
        if self.palette == Palette::None { lines.to_vec() } else { lines.iter().map(bold).collect() }
    }

    fn band(&self, band: &Band) -> Vec<String> {
        let caption = |text: &str| wrapped(text, self.width, MOST_CAPTION_LINES);
        match band {
            Band::Pictures { caption: text, pictures } => [caption(text), self.pictures(pictures)].concat(),
            Band::Values { caption: text, values } => {
                let width = self.picture();
                let values = values.iter().map(|value| format!("{:<width$}", cut(value, width)));
                let line = values.collect::<Vec<_>>().join(" ").trim_end().to_owned();
                [caption(text), vec![line]].concat()
            }
            Band::Numbers { caption: text, histogram } => {
                let bars = histogram.iter().map(|histogram| self.histogram(histogram));
                caption(text).into_iter().chain(bars).collect()
            }
        }
    }

    /// One line; a bar that is not empty is seen.
    fn histogram(&self, counts: &[u64]) -> String {
        let together = if self.width < counts.len() { counts.len().div_ceil(self.width) } else { 1 };
        let counts: Vec<u64> = counts.chunks(together).map(|counts| counts.iter().sum()).collect();
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let full = BARS.len() - 1;
        let bar = |count: &u64| BARS[(*count as f64 / most as f64 * full as f64).ceil() as usize];
        counts.iter().map(bar).collect()
    }

    fn pictures(&self, pictures: &[Picture]) -> Vec<String> {
        let side = self.picture();
        let sized = |picture: &Picture| {
            let (width, height) = fit(picture.width, picture.height, side);
            let factor = (side / width.max(height)).max(1);
            picture.resized(width * factor, height * factor).with_boxes(BOX)
        };
        let pictures: Vec<Picture> = pictures.iter().map(sized).collect();
        let height = pictures.iter().map(|picture| picture.height).max().unwrap_or(0);
        let line = |top: usize| {
            let cells = pictures.iter().map(|picture| self.cells(picture, top, side));
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        };
        (0..height).step_by(2).map(line).collect()
    }

    /// Two rows of a picture, and spaces up to so many columns.
    fn cells(&self, picture: &Picture, top: usize, columns: usize) -> String {
        let row = |y: usize| picture.pixels.chunks(picture.width).nth(y);
        let Some(upper) = row(top) else { return " ".repeat(columns) };
        let lower = row(top + 1);
        let mut cells = String::new();
        let mut last = None;
        for (x, &above) in upper.iter().enumerate() {
            let below = lower.map(|row| row[x]);
            if self.palette == Palette::None {
                cells.push(shade(above, below));
                continue;
            }
            if last != Some((above, below)) {
                let below = below.map_or_else(|| "\x1b[49m".to_owned(), |colour| self.code(48, colour));
                let _ = write!(cells, "{}{below}", self.code(38, above));
            }
            last = Some((above, lower.map(|row| row[x])));
            cells.push('▀');
        }
        if self.palette != Palette::None {
            cells.push_str(RESET);
        }
        cells.push_str(&" ".repeat(columns.saturating_sub(picture.width)));
        cells
    }

    /// The sequence that chooses a colour for letters (38) or for what is behind them (48).
    fn code(&self, which: u8, [red, green, blue]: Colour) -> String {
        match self.palette {
            Palette::True => format!("\x1b[{which};2;{red};{green};{blue}m"),
            _ => format!("\x1b[{which};5;{}m", nearest([red, green, blue])),
        }
    }
}

/// The letter that is as bright as two pixels together.
fn shade(above: Colour, below: Option<Colour>) -> char {
    let bright = |[red, green, blue]: Colour| {
        (2126 * usize::from(red) + 7152 * usize::from(green) + 722 * usize::from(blue)) / 10_000
    };
    let level = below.map_or(bright(above), |below| usize::midpoint(bright(above), bright(below)));
    SHADES[level * (SHADES.len() - 1) / 255] as char
}

/// The nearest of xterm's colours: 24 greys from 232 on, and a cube of six levels a side from 16 on.
fn nearest(colour: Colour) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let [red, green, blue] = colour;
    let spread = red.max(green).max(blue) - red.min(green).min(blue);
    if spread < 10 && (8..=238).contains(&green) {
        return 232 + (green - 8) / 10;
    }
    let level = |value: u8| {
        let distance = |index: &u8| LEVELS[usize::from(*index)].abs_diff(value);
        (0..6).min_by_key(distance).unwrap_or(0)
    };
    16 + 36 * level(red) + 6 * level(green) + level(blue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preview::array;

    fn picture(width: usize, height: usize, colour: Colour) -> Picture {
        Picture { width, height, pixels: vec![colour; width * height], boxes: Vec::new(), classes: false }
    }

    fn band() -> Band {
        Band::Pictures {
            caption: "image".to_owned(),
            pictures: vec![picture(2, 3, [255; 3]), picture(2, 1, [0; 3])],
        }
    }

    #[test]
    fn picture_is_in_the_colours_of_the_terminal() {
        let lines = |palette| Screen { width: 4, palette }.band(&band()).join("\n");
        assert!(lines(Palette::True).contains("\x1b[38;2;255;255;255m\x1b[48;2;255;255;255m▀"));
        assert!(lines(Palette::Fixed).contains("\x1b[38;5;231m\x1b[48;5;231m▀▀"));
        // An odd number of rows ends in half a cell.
        assert!(lines(Palette::True).contains("\x1b[38;2;255;255;255m\x1b[49m▀"));
        let plain = lines(Palette::None);
        assert!(!plain.contains('\x1b') && plain.contains("@@"), "{plain}");
    }

    #[test]
    fn lines_are_no_wider_than_the_terminal() {
        let numbers = Band::Numbers { caption: "x".repeat(100), histogram: Some(vec![7; array::BARS]) };
        let values = Band::Values { caption: "label".to_owned(), values: vec!["123456789".repeat(9)] };
        for width in [1, 5, 20, 79, 200] {
            let screen = Screen { width, palette: Palette::None };
            for band in [&numbers, &values, &band()] {
                let pictures = screen.columns();
                assert!(pictures * (screen.picture() + 1) <= width + 1 || pictures == 1);
                let found = screen.band(band);
                // The band of two pictures is for two columns.
                if pictures >= 2 || !matches!(band, Band::Pictures { .. }) {
                    assert!(found.iter().all(|line| line.chars().count() <= width), "{width}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn nearest_colour_is_that_of_xterm() {
        for (colour, index) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([128, 128, 128], 244),
            ([8, 8, 8], 232),
        ] {
            assert_eq!(nearest(colour), index, "{colour:?}");
        }
    }
}
