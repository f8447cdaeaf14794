//! A folder of synthetic photographs. They are as large as those that classifiers are trained with,
//! as hard to decode, and the same each time.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use cobuf_plugin_api::generator;
use cobuf_plugin_api::rand::RngExt as _;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

const WIDTH: u32 = 500;
const HEIGHT: u32 = 375;
const QUALITY: u8 = 90;
/// How much the pixels differ from a smooth picture: about as much as a camera's noise, so that a
/// file has some 100 kB.
const NOISE: i32 = 12;

/// The files; they are removed when this is dropped.
pub(crate) struct Pictures {
    folder: TempDir,
    paths: Vec<String>,
}

impl Pictures {
    /// Makes `count` files of one class.
    pub(crate) fn make(count: usize) -> Result<Self> {
        let folder = TempDir::with_prefix("cobuf-bench-").context("cannot make a folder for pictures")?;
        let class = folder.path().join("class");
        std::fs::create_dir(&class).with_context(|| format!("cannot create {}", class.display()))?;
        let mut paths = Vec::new();
        for number in 0..count {
            let path = class.join(format!("{number:04}.jpg"));
            write(&path, number as u64).with_context(|| format!("cannot write {}", path.display()))?;
            paths.push(path.to_str().context("the temporary folder's name is not valid UTF-8")?.to_owned());
        }
        Ok(Self { folder, paths })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The paths, in the order in which the image-commander gives them.
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }
}

fn write(path: &Path, seed: u64) -> Result<()> {
    let file = BufWriter::new(File::create(path)?);
    Ok(JpegEncoder::new_with_quality(file, QUALITY).encode_image(&picture(seed))?)
}

/// A wave in a different direction in each channel, and noise.
fn picture(seed: u64) -> RgbImage {
    let mut rng = generator(seed);
    let waves = [(); 3].map(|()| [rng.random_range(0.01..0.1_f32), rng.random_range(0.01..0.1_f32)]);
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        Rgb(waves.map(|[along, down]| {
            let smooth = 128.0 + 100.0 * (x as f32 * along + y as f32 * down).sin();
            (smooth as i32 + rng.random_range(-NOISE..=NOISE)).clamp(0, 255) as u8
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_the_same_each_time() {
        let [one, other] = [(); 2].map(|()| Pictures::make(2).unwrap());
        let bytes = |pictures: &Pictures| {
            let read = |path: &String| std::fs::read(path).unwrap();
            pictures.paths().iter().map(read).collect::<Vec<_>>()
        };
        let files = bytes(&one);
        assert_eq!(files, bytes(&other));
        assert!(files[0] != files[1] && files.iter().all(|file| file.len() > 30_000));
        assert!(one.paths().iter().all(|path| Path::new(path).starts_with(one.folder())));
    }
}
