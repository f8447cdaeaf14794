//! JPEG files that are like photos: smooth colours with noise, the same on every machine. Slides have such tiles.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use anyhow::Result;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How many files there are: four batches.
pub(crate) const COUNT: usize = 256;
/// Their width and height in pixels.
pub(crate) const SIZE: (u32, u32) = (640, 480);
/// Their quality, of 100.
pub(crate) const QUALITY: u8 = 85;
/// How far noise takes a colour from where it was, up and down, of 255.
const NOISE: f64 = 12.0;
/// How many waves make a picture's colours.
const WAVES: usize = 4;

/// Writes `folder/photo/000.jpg` and so on. Gives the mean size of a file in bytes.
pub(crate) fn write(folder: &Path) -> Result<u64> {
    let class = folder.join("photo");
    fs::create_dir_all(&class)?;
    let mut total = 0;
    for number in 0..COUNT {
        let bytes = jpeg(number as u64, SIZE)?;
        total += bytes.len() as u64;
        fs::write(class.join(format!("{number:03}.jpg")), bytes)?;
    }
    Ok(total / COUNT as u64)
}

/// A picture of a width and height.
pub(crate) fn jpeg(number: u64, size: (u32, u32)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&picture(number, size))?;
    Ok(bytes)
}

/// A wave of one colour channel along both axes.
struct Wave {
    across: Vec<f64>,
    down: Vec<f64>,
}

impl Wave {
    /// A random one, slow enough to be seen as a gradient.
    fn draw(rng: &mut ChaCha8Rng, size: (u32, u32)) -> Self {
        let mut axis = |pixels: u32| {
            let (periods, phase) = (3.0 * rng.random::<f64>(), rng.random::<f64>());
            let at = |pixel: u32| (TAU * (periods * f64::from(pixel) / f64::from(pixels) + phase)).sin();
            (0..pixels).map(at).collect()
        };
        Self { across: axis(size.0), down: axis(size.1) }
    }
}

fn picture(number: u64, size: (u32, u32)) -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let channels: [[Wave; WAVES]; 3] =
        std::array::from_fn(|_| std::array::from_fn(|_| Wave::draw(&mut rng, size)));
    RgbImage::from_fn(size.0, size.1, |x, y| {
        let noise: [u8; 3] = rng.random();
        let colour = |channel: usize| {
            let wave = |wave: &Wave| wave.across[x as usize] * wave.down[y as usize];
            let smooth: f64 = channels[channel].iter().map(wave).sum();
            let noise = NOISE * (f64::from(noise[channel]) / 127.5 - 1.0);
            // A cast keeps within 0 to 255.
            (128.0 + 128.0 / WAVES as f64 * smooth + noise) as u8
        };
        Rgb(std::array::from_fn(colour))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_photo_the_same_each_time_and_unlike_another() {
        let first = jpeg(1, SIZE).unwrap();
        assert_eq!(first, jpeg(1, SIZE).unwrap());
        assert_ne!(first, jpeg(2, SIZE).unwrap());
        let decoded = image::load_from_memory(&first).unwrap();
        assert_eq!((decoded.width(), decoded.height()), SIZE);
    }
}
