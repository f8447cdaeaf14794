//! The ceiling of images: the decoder and resizer of `image-producer`, called in a plain loop by a thread on each core.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::PathBuf;
use std::sync::Barrier;

use anyhow::{Context, Result, ensure};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{ColorType, ImageDecoder as _, ImageReader};

use super::{Native, version};
use crate::meter;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{PHOTO_SIDE, PHOTOS_A_BATCH, Work};

pub(super) const PEER: Native = Native { name: "plain loop", probe, measure };

const CONDITIONS: &str = "A ceiling. The crates that `image-producer` uses (image, fast_image_resize), called in the same way in a \
    loop on each core, into one buffer that is used again. Nothing is handed over.";

fn probe() -> Probe {
    let works = [(Work::Images, vec![String::new()])].into();
    Probe {
        versions: format!("{}, {}", version("image"), version("fast_image_resize")),
        conditions: CONDITIONS.to_owned(),
        variants: vec![Variant { name: String::new(), works }],
    }
}

fn measure(request: &Request) -> Result<Answer> {
    let paths = photos(request)?;
    let value = super::on_each_core((0..request.workers).collect(), |first, start: &Barrier| {
        let mut decoder = Decoder::default();
        let mut batch = vec![0; PHOTOS_A_BATCH * ROW_BYTES];
        let mut next = first * PHOTOS_A_BATCH;
        start.wait();
        let seconds = meter::seconds_a_batch(request.seconds, 1, || {
            for row in batch.chunks_exact_mut(ROW_BYTES) {
                decoder.decode(&paths[next % paths.len()], row)?;
                next += 1;
            }
            // Every worker takes its turn.
            next += (request.workers - 1) * PHOTOS_A_BATCH;
            Ok(())
        });
        seconds.map(|seconds| PHOTOS_A_BATCH as f64 / seconds)
    })?;
    Ok(Answer { value })
}

/// The bytes of a picture in a batch.
const ROW_BYTES: usize = PHOTO_SIDE * PHOTO_SIDE * 3;

fn photos(request: &Request) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for class in request.photos.read_dir().context("cannot read the photos' folder")? {
        for photo in class?.path().read_dir()? {
            paths.push(photo?.path());
        }
    }
    ensure!(!paths.is_empty(), "there are no photos in {}", request.photos.display());
    paths.sort();
    Ok(paths)
}

/// Buffers that are used again.
#[derive(Default)]
struct Decoder {
    file: Vec<u8>,
    rgb: Vec<u8>,
    resizer: Resizer,
}

impl Decoder {
    /// Decodes a file of 8-bit RGB, crops the centre square and resizes it into `row`.
    fn decode(&mut self, path: &PathBuf, row: &mut [u8]) -> Result<()> {
        self.file.clear();
        File::open(path)?.read_to_end(&mut self.file)?;
        let decoder = ImageReader::new(Cursor::new(&self.file)).with_guessed_format()?.into_decoder()?;
        ensure!(
            decoder.color_type() == ColorType::Rgb8,
            "a photo is {:?}, expected RGB",
            decoder.color_type()
        );
        let (width, height) = decoder.dimensions();
        self.rgb.clear();
        self.rgb.resize(usize::try_from(decoder.total_bytes())?, 0);
        decoder.read_image(&mut self.rgb)?;
        let side = PHOTO_SIDE as u32;
        let source = ImageRef::new(width, height, &self.rgb, PixelType::U8x3)?;
        let mut target = Image::from_slice_u8(side, side, row, PixelType::U8x3)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let options = options.fit_into_destination(None);
        Ok(self.resizer.resize(&source, &mut target, &options)?)
    }
}
