//! Reads a file and decodes it into 8-bit RGB, in buffers that the next file reuses.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::panic::{self, AssertUnwindSafe};

use cobuf_plugin_api::anyhow::anyhow;
use cobuf_plugin_api::prelude::*;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::jpeg;

/// The most bytes that a decoded pixel takes: four channels of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;
/// The most bytes that a decoder may allocate beside the pixels.
const SCRATCH_BYTES: u64 = 16 << 20;

/// A decoded picture, upright.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'decoder> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `height × width` pixels of red, green and blue, from the top, from the left.
    pub(crate) rgb: &'decoder [u8],
}

/// Decodes file after file. Its buffers grow to the size of the largest one.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_pixels: u64,
    max_file_bytes: u64,
    /// The file's bytes.
    file: Vec<u8>,
    /// The decoded pixels, if they are not 8-bit RGB.
    raw: Vec<u8>,
    /// The pixels as 8-bit RGB.
    rgb: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(max_pixels: u64, max_file_bytes: u64) -> Self {
        Self { max_pixels, max_file_bytes, file: Vec::new(), raw: Vec::new(), rgb: Vec::new() }
    }

    /// Decodes the picture in a file.
    ///
    /// # Errors
    /// The file cannot be read or decoded, the picture is too large, or the decoder panicked. The
    /// error does not name the path.
    pub(crate) fn decode(&mut self, path: &str) -> Result<Picture<'_>> {
        let (width, height) = catch_panic(|| {
            self.read(path)?;
            self.decode_file()
        })?;
        Ok(Picture { width, height, rgb: &self.rgb })
    }

    fn read(&mut self, path: &str) -> Result<()> {
        self.file.clear();
        let unreadable = "the file cannot be read";
        // Before it is opened, because opening a pipe waits for a process that writes to it.
        ensure!(fs::metadata(path).context(unreadable)?.is_file(), "it is not a regular file");
        let most = self.max_file_bytes;
        // A file may be longer than it says.
        let read = File::open(path)
            .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut self.file))
            .context(unreadable)?;
        ensure!(read as u64 <= most, "the file has more than max_file_bytes = {most} bytes");
        ensure!(read > 0, "the file is empty");
        Ok(())
    }

    /// Decodes `file` into `rgb`. Returns the width and height in pixels.
    fn decode_file(&mut self) -> Result<(u32, u32)> {
        let mut reader = ImageReader::new(Cursor::new(&self.file)).with_guessed_format()?;
        check_format(reader.format(), &self.file)?;
        reader.limits(limits(self.max_pixels));
        let mut decoder = reader.into_decoder().context("the header cannot be decoded")?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        ensure!(
            (1..=self.max_pixels).contains(&pixels),
            "the picture has {width} x {height} = {pixels} pixels, expected 1 to max_pixels = {}",
            self.max_pixels
        );
        let orientation = decoder.orientation()?;
        let color = decoder.color_type();
        let bytes = usize::try_from(decoder.total_bytes())?;
        let target = if color == ColorType::Rgb8 { &mut self.rgb } else { &mut self.raw };
        // Zeros, so that a decoder that leaves pixels out never shows an earlier picture.
        target.clear();
        target.resize(bytes, 0);
        decoder.read_image(target).context("the pixels cannot be decoded")?;
        if color != ColorType::Rgb8 {
            to_rgb(color, &self.raw, &mut self.rgb)?;
        }
        turn_upright(&mut self.rgb, (width, height), orientation)
    }
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
    limits.max_alloc = Some(max_pixels.saturating_mul(MAX_PIXEL_BYTES).saturating_add(SCRATCH_BYTES));
    limits
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

/// Applies the EXIF orientation. Returns the new width and height.
fn turn_upright(rgb: &mut Vec<u8>, (width, height): (u32, u32), by: Orientation) -> Result<(u32, u32)> {
    if by == Orientation::NoTransforms {
        return Ok((width, height));
    }
    let image = RgbImage::from_raw(width, height, std::mem::take(rgb)).context("there are too few pixels")?;
    let mut image = DynamicImage::from(image);
    image.apply_orientation(by);
    let size = (image.width(), image.height());
    *rgb = image.into_rgb8().into_raw();
    Ok(size)
}

#[cfg(test)]
mod tests;
