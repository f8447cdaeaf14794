//! The data set, compiled into the plugin; `data/README.md` states its source and how it was made.

/// The rows and columns of an image.
pub(crate) const SIDE: usize = 8;
/// The level of a pixel that is all ink.
pub(crate) const INK: f64 = 16.0;

const PIXELS: usize = SIDE * SIDE;

/// The bytes of each row: its pixels, row by row, and its label.
const ROWS: &[[u8; PIXELS + 1]] = include_bytes!("../data/digits.bin").as_chunks().0;

/// The number of rows.
pub(crate) const LEN: usize = ROWS.len();

// The documentation of the splits relies on it.
const _: () = assert!(LEN == 1797);

/// An image, as levels of ink from 0 to [`INK`].
pub(crate) type Levels = [[f64; SIDE]; SIDE];

/// An image with its label.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row(&'static [u8; PIXELS + 1]);

impl Row {
    /// The row with this number in the whole data set.
    pub(crate) fn get(number: usize) -> Option<Self> {
        ROWS.get(number).map(Self)
    }

    pub(crate) fn label(self) -> i64 {
        self.0[PIXELS].into()
    }

    pub(crate) fn levels(self) -> Levels {
        std::array::from_fn(|y| std::array::from_fn(|x| self.0[y * SIDE + x].into()))
    }
}
