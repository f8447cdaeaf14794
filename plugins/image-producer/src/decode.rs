//! Reads a file and decodes it into 8-bit RGB, in buffers that the next file reuses.
//!
//! ```text
//!   header ──► size upright ──► which part is taken ──► pixels: of the whole picture, by the image crate,
//!                                                       or of a region, by libjpeg-turbo
//! ```

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::panic::{self, AssertUnwindSafe};

use cobuf_plugin_api::anyhow::anyhow;
use cobuf_plugin_api::prelude::*;
use fast_image_resize::CropBox;
use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::jpeg;
use crate::region::{Region, Wanted};
#[cfg(feature = "libjpeg-turbo")]
use crate::turbo::Turbo;
use crate::upright::{turn_part, turn_part_back, turn_pixels, turned_size};

/// The most bytes that a decoded pixel takes: four channels of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;
/// The most bytes that a decoder may allocate beside the pixels.
const SCRATCH_BYTES: u64 = 16 << 20;

/// A decoded picture, or what a crop needs of it, upright.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'decoder> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `height × width` pixels of red, green and blue, from the top, from the left.
    pub(crate) rgb: &'decoder [u8],
    /// The part that is taken, in these pixels.
    pub(crate) part: CropBox,
}

/// How large a file may be, and whether its picture may be made smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most pixels of a file's picture.
    pub(crate) max_pixels: u64,
    /// The most bytes of a file.
    pub(crate) max_file_bytes: u64,
    /// Whether a JPEG file's picture may be made smaller while it is decoded.
    #[cfg_attr(
        not(feature = "libjpeg-turbo"),
        expect(dead_code, reason = "the image crate decodes whole pictures")
    )]
    pub(crate) shrink_on_load: bool,
}

impl Bounds {
    /// Decodes what a crop needs of a JPEG file. `None` if the whole picture is to be decoded.
    #[cfg_attr(
        not(feature = "libjpeg-turbo"),
        expect(unused_variables, clippy::ptr_arg, reason = "nothing decodes less than the whole picture")
    )]
    fn decode_region(
        &self,
        format: Option<ImageFormat>,
        file: &[u8],
        wanted: &Wanted,
        rgb: &mut Vec<u8>,
    ) -> Option<Region> {
        #[cfg(feature = "libjpeg-turbo")]
        if format == Some(ImageFormat::Jpeg) {
            let turbo = Turbo { max_bytes: max_bytes(self.max_pixels), may_shrink: self.shrink_on_load };
            return turbo.decode(file, wanted, rgb);
        }
        None
    }
}

/// Decodes file after file. Its buffers grow to the size of the largest one.
#[derive(Debug)]
pub(crate) struct Decoder {
    bounds: Bounds,
    /// The file's bytes.
    file: Vec<u8>,
    /// The decoded pixels, if they are not 8-bit RGB.
    raw: Vec<u8>,
    /// The pixels as 8-bit RGB.
    rgb: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, file: Vec::new(), raw: Vec::new(), rgb: Vec::new() }
    }

    /// Decodes what a crop needs of the picture in a file. `choose` gets the picture's (width, height) and
    /// gives the part that is taken; it is called once the header is read. The part becomes `target` wide
    /// and high.
    ///
    /// # Errors
    /// The file cannot be read or decoded, the picture is too large, or the decoder panicked. The
    /// error does not name the path.
    pub(crate) fn decode(
        &mut self,
        path: &str,
        target: (u32, u32),
        choose: impl FnOnce((u32, u32)) -> CropBox,
    ) -> Result<Picture<'_>> {
        let region = catch_panic(|| {
            self.read(path)?;
            self.decode_file(target, choose)
        })?;
        let (width, height) = region.size;
        Ok(Picture { width, height, rgb: &self.rgb, part: region.part })
    }

    fn read(&mut self, path: &str) -> Result<()> {
        self.file.clear();
        let unreadable = "the file cannot be read";
        // Before it is opened, because opening a pipe waits for a process that writes to it.
        ensure!(fs::metadata(path).context(unreadable)?.is_file(), "it is not a regular file");
        let most = self.bounds.max_file_bytes;
        // A file may be longer than it says.
        let read = File::open(path)
            .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut self.file))
            .context(unreadable)?;
        ensure!(read as u64 <= most, "the file has more than max_file_bytes = {most} bytes");
        ensure!(read > 0, "the file is empty");
        Ok(())
    }

    /// Decodes `file` into `rgb`, upright.
    fn decode_file(
        &mut self,
        target: (u32, u32),
        choose: impl FnOnce((u32, u32)) -> CropBox,
    ) -> Result<Region> {
        let mut reader = ImageReader::new(Cursor::new(&self.file)).with_guessed_format()?;
        let format = reader.format();
        check_format(format, &self.file)?;
        let max_pixels = self.bounds.max_pixels;
        reader.limits(limits(max_pixels));
        let mut decoder = reader.into_decoder().context("the header cannot be decoded")?;
        let size = decoder.dimensions();
        let pixels = u64::from(size.0) * u64::from(size.1);
        ensure!(
            (1..=max_pixels).contains(&pixels),
            "the picture has {} x {} = {pixels} pixels, expected 1 to max_pixels = {max_pixels}",
            size.0,
            size.1
        );
        let orientation = decoder.orientation()?;
        let upright = turned_size(size, orientation);
        let part = turn_part_back(choose(upright), upright, orientation);
        let wanted = Wanted { size, part, target: turned_size(target, orientation) };
        let region = match self.bounds.decode_region(format, &self.file, &wanted, &mut self.rgb) {
            Some(region) => region,
            None => decode_whole(decoder, &wanted, &mut self.raw, &mut self.rgb)?,
        };
        let turned = turn_pixels(&mut self.rgb, region.size, orientation)?;
        Ok(Region { size: turned, part: turn_part(region.part, region.size, orientation) })
    }
}

/// Decodes a whole picture into `rgb`, by way of `raw` if its pixels are not 8-bit RGB.
fn decode_whole(
    decoder: impl ImageDecoder,
    wanted: &Wanted,
    raw: &mut Vec<u8>,
    rgb: &mut Vec<u8>,
) -> Result<Region> {
    let color = decoder.color_type();
    let bytes = usize::try_from(decoder.total_bytes())?;
    let target = if color == ColorType::Rgb8 { &mut *rgb } else { &mut *raw };
    // Zeros, so that a decoder that leaves pixels out never shows an earlier picture.
    target.clear();
    target.resize(bytes, 0);
    decoder.read_image(target).context("the pixels cannot be decoded")?;
    if color != ColorType::Rgb8 {
        to_rgb(color, raw, rgb)?;
    }
    Ok(Region { size: wanted.size, part: wanted.part })
}

/// Runs a decoder on untrusted data: a panic becomes an error.
fn catch_panic<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    // The buffers are cleared before each use, so a half-written one does no harm.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without a message");
        Err(anyhow!("the decoder panicked: {message}"))
    })
}

fn check_format(format: Option<ImageFormat>, file: &[u8]) -> Result<()> {
    match format {
        Some(ImageFormat::Png) => Ok(()),
        Some(ImageFormat::Jpeg) => {
            ensure!(!jpeg::is_truncated(file), "the JPEG data ends before its end-of-image marker");
            Ok(())
        }
        Some(other) => bail!("the file's content is {other:?}, expected JPEG or PNG"),
        None => bail!("the file's content is not a picture, expected JPEG or PNG"),
    }
}

/// Limits for the decoder's own allocations; the number of pixels is checked separately.
fn limits(max_pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_bytes(max_pixels));
    limits
}

/// The most bytes that a decoder may allocate.
fn max_bytes(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(MAX_PIXEL_BYTES).saturating_add(SCRATCH_BYTES)
}

/// Converts pixels of another type to 8-bit RGB: grey is repeated, alpha is dropped, 16 bits are
/// rounded to 8.
fn to_rgb(color: ColorType, raw: &[u8], rgb: &mut Vec<u8>) -> Result<()> {
    rgb.clear();
    rgb.reserve(raw.len() / usize::from(color.bytes_per_pixel()) * 3);
    match color {
        ColorType::L8 => raw.iter().for_each(|&grey| rgb.extend([grey; 3])),
        ColorType::La8 => raw.as_chunks().0.iter().for_each(|&[grey, _]| rgb.extend([grey; 3])),
        ColorType::Rgba8 => raw.as_chunks().0.iter().for_each(|&[r, g, b, _]| rgb.extend([r, g, b])),
        ColorType::L16 => raw.as_chunks().0.iter().for_each(|&grey| rgb.extend([to_8_bits(grey); 3])),
        ColorType::La16 => {
            raw.as_chunks::<4>().0.iter().for_each(|&[a, b, ..]| rgb.extend([to_8_bits([a, b]); 3]));
        }
        ColorType::Rgb16 => rgb.extend(raw.as_chunks().0.iter().copied().map(to_8_bits)),
        ColorType::Rgba16 => {
            raw.as_chunks::<8>().0.iter().for_each(|pixel| {
                rgb.extend(pixel[..6].as_chunks().0.iter().copied().map(to_8_bits));
            });
        }
        other => bail!("pixels of type {other:?} are not known, expected 8 or 16 bits of grey or RGB"),
    }
    Ok(())
}

/// Rounds a 16-bit sample to 8 bits. It is in the machine's byte order, as the decoder gives it.
fn to_8_bits(sample: [u8; 2]) -> u8 {
    ((u32::from(u16::from_ne_bytes(sample)) + 128) / 257) as u8
}

#[cfg(test)]
mod tests;
