//! Slides as scanners write them: tiled TIFF files of two levels with JPEG tiles, the same on every machine.
//!
//! ```text
//!   header │ pictures, each a JPEG file │ level 0: tables, directory │ level 1: tables, directory
//!                     ▲                            │                            │
//!                     └──── a tile's place ────────┴────────────────────────────┘
//! ```
//!
//! A slide is large and its file small, because the tiles of both levels are the same few pictures again and again. A
//! reader knows tiles by their row and column, so it decodes each as if it were the only one.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::photos;

/// How many slides there are.
pub(crate) const COUNT: u64 = 4;
/// The width and height of the levels, in pixels.
pub(crate) const SIDES: [u32; 2] = [32_768, 8_192];
/// The width and height of a tile, in pixels.
pub(crate) const TILE: u32 = 256;
/// How many pictures a slide's tiles are made of.
pub(crate) const PICTURES: u64 = 64;
/// Pixels of the first level in a centimetre: each is half a micrometre wide.
const PIXELS_A_CENTIMETRE: u32 = 20_000;

/// Writes `folder/0.tif` and so on. Gives the mean size of a tile in bytes.
pub(crate) fn write(folder: &Path) -> Result<u64> {
    fs::create_dir_all(folder)?;
    let mut total = 0;
    for number in 0..COUNT {
        let pictures: Vec<Vec<u8>> = (0..PICTURES)
            .map(|of| photos::jpeg(number * PICTURES + of, (TILE, TILE)))
            .collect::<Result<_>>()?;
        total += pictures.iter().map(Vec::len).sum::<usize>() as u64;
        fs::write(folder.join(format!("{number}.tif")), slide(&pictures))?;
    }
    Ok(total / (COUNT * PICTURES))
}

/// A slide's file.
fn slide(pictures: &[Vec<u8>]) -> Vec<u8> {
    let mut tiff = Tiff::new();
    let tiles: Vec<[u32; 2]> =
        pictures.iter().map(|picture| [tiff.put(picture), picture.len() as u32]).collect();
    for side in SIDES {
        tiff.put_directory(&level(side, &tiles));
    }
    tiff.bytes
}

/// The fields of a level, by their numbers in TIFF 6.0. Tiles have a place and a length.
fn level(side: u32, tiles: &[[u32; 2]]) -> Vec<(u16, Field)> {
    let of_tiles = |what: usize| {
        let across = side / TILE;
        // Seven, so that no picture is its own neighbour.
        let tile = |row: u32, column: u32| tiles[(7 * row + column) as usize % tiles.len()][what];
        Field::Long((0..across).flat_map(|row| (0..across).map(move |column| tile(row, column))).collect())
    };
    let resolution = || Field::Rational([PIXELS_A_CENTIMETRE / (SIDES[0] / side), 1]);
    vec![
        (254, Field::Long(vec![u32::from(side < SIDES[0])])), // of reduced resolution
        (256, Field::Long(vec![side])),
        (257, Field::Long(vec![side])),
        (258, Field::Short(vec![8, 8, 8])), // bits
        (259, Field::Short(vec![7])),       // JPEG
        (262, Field::Short(vec![6])),       // YCbCr
        (277, Field::Short(vec![3])),       // channels
        (282, resolution()),
        (283, resolution()),
        (284, Field::Short(vec![1])), // channels side by side
        (296, Field::Short(vec![3])), // centimetres
        (322, Field::Long(vec![TILE])),
        (323, Field::Long(vec![TILE])),
        (324, of_tiles(0)),
        (325, of_tiles(1)),
        (530, Field::Short(vec![1, 1])), // colours at full resolution
    ]
}

/// The values of a field.
enum Field {
    Short(Vec<u16>),
    Long(Vec<u32>),
    /// Numerator and denominator.
    Rational([u32; 2]),
}

impl Field {
    /// The type's number, the number of values, and their bytes.
    fn encoded(&self) -> (u16, u32, Vec<u8>) {
        match self {
            Self::Short(values) => {
                (3, values.len() as u32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Long(values) => {
                (4, values.len() as u32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Rational(parts) => (5, 1, parts.iter().flat_map(|part| part.to_le_bytes()).collect()),
        }
    }
}

/// A TIFF file that is being made.
struct Tiff {
    bytes: Vec<u8>,
    /// Where the place of the next directory belongs.
    link: usize,
}

impl Tiff {
    fn new() -> Self {
        Self { bytes: b"II*\0\0\0\0\0".to_vec(), link: 4 }
    }

    /// Appends something; gives its place, which is even.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(2), 0);
        let place = self.bytes.len() as u32;
        self.bytes.extend(bytes);
        place
    }

    /// Appends the directory of a level.
    fn put_directory(&mut self, fields: &[(u16, Field)]) {
        let mut directory = (fields.len() as u16).to_le_bytes().to_vec();
        for (number, field) in fields {
            let (kind, count, mut values) = field.encoded();
            if values.len() > 4 {
                values = self.put(&values).to_le_bytes().to_vec();
            }
            values.resize(4, 0);
            directory.extend(number.to_le_bytes());
            directory.extend(kind.to_le_bytes());
            directory.extend(count.to_le_bytes());
            directory.extend(values);
        }
        let next = directory.len();
        directory.extend([0; 4]);
        let place = self.put(&directory);
        self.bytes[self.link..][..4].copy_from_slice(&place.to_le_bytes());
        self.link = place as usize + next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8], place: u32) -> u32 {
        u32::from_le_bytes(bytes[place as usize..][..4].try_into().unwrap())
    }

    /// The values of a field, or their place if there are several.
    fn field(bytes: &[u8], directory: u32, number: u16) -> u32 {
        let entries = bytes[directory as usize + 2..].chunks_exact(12);
        long(entries.into_iter().find(|entry| entry[..2] == number.to_le_bytes()).unwrap(), 8)
    }

    #[test]
    fn each_level_has_all_of_its_tiles() {
        let pictures = [photos::jpeg(1, (TILE, TILE)).unwrap(), photos::jpeg(2, (TILE, TILE)).unwrap()];
        let bytes = slide(&pictures);
        let mut directory = long(&bytes, 4);
        for side in SIDES {
            assert_eq!(field(&bytes, directory, 256), side);
            let tiles = (side / TILE).pow(2);
            let (places, lengths) = (field(&bytes, directory, 324), field(&bytes, directory, 325));
            for tile in (0..tiles).map(|tile| 4 * tile) {
                let (place, length) = (long(&bytes, places + tile), long(&bytes, lengths + tile));
                assert!(pictures.iter().any(|it| it[..] == bytes[place as usize..][..length as usize]));
            }
            directory = long(&bytes, directory + 2 + 12 * u32::from(bytes[directory as usize]));
        }
        assert_eq!(directory, 0);
    }

    #[test]
    fn level_says_how_wide_its_pixels_are() {
        let bytes = slide(&[vec![0; 3]]);
        let first = long(&bytes, 4);
        let second = long(&bytes, first + 2 + 12 * u32::from(bytes[first as usize]));
        let resolution = |directory| long(&bytes, field(&bytes, directory, 282));
        assert_eq!([first, second].map(resolution), [20_000, 5_000]);
        assert_eq!([first, second].map(|directory| field(&bytes, directory, 254)), [0, 1]);
    }
}
