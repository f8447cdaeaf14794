//! Files and messages for the tests.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use cobuf_plugin_api::Value;
use cobuf_plugin_api::prelude::*;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder as _, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

/// A small configuration: 8 x 8 pixels, batches of 4.
pub(crate) fn config() -> Dictionary {
    Dictionary::new().with("height", 8).with("width", 8).with("batch_size", 4)
}

/// A message of these paths, with the labels 10, 11, 12 …
pub(crate) fn message(paths: &[String]) -> Dictionary {
    let texts: Vec<Value> = paths.iter().map(|path| path.as_str().into()).collect();
    let labels: Vec<Value> = (10..).take(paths.len()).map(|label: i64| label.into()).collect();
    Dictionary::new().with("epoch", 0).with("paths", texts).with("labels", labels)
}

/// A folder of files that is removed at the end of the test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The path of a file, whether it exists or not.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file. Returns its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Writes a picture as PNG. Returns its path.
    pub(crate) fn png(&self, name: &str, image: impl Into<DynamicImage>) -> String {
        self.write(name, &png(image))
    }

    /// Unusable files, each with a word of the expected reason.
    pub(crate) fn corrupt(&self) -> [(String, &'static str); 12] {
        let (jpeg, png) = (jpeg(&gradient(64, 64)), png(gradient(64, 64)));
        let mut damaged = png.clone();
        damaged[png.len() / 2] ^= 0xff;
        [
            (self.write("cut.jpg", &jpeg[..jpeg.len() - 3]), "end-of-image"),
            (self.write("cut.png", &png[..png.len() / 2]), "the pixels cannot be decoded"),
            (self.write("damaged.png", &damaged), "the pixels cannot be decoded"),
            (self.write("text.png", b"not a picture at all"), "not a picture"),
            (self.write("empty.jpg", b""), "empty"),
            (self.path("missing.jpg"), "No such file"),
            (self.pipe("pipe.jpg"), "not a regular file"),
            (self.link("to-pipe.jpg", "pipe.jpg"), "not a regular file"),
            (self.link("endless.jpg", "/dev/zero"), "not a regular file"),
            (self.link("silent.jpg", "/dev/tty"), "not a regular file"),
            (self.socket("socket.png"), "not a regular file"),
            (self.folder("folder.png"), "not a regular file"),
        ]
    }

    /// Makes a pipe that no process writes to. Returns its path.
    fn pipe(&self, name: &str) -> String {
        let made = Command::new("mkfifo").arg(self.path(name)).status().unwrap();
        assert!(made.success());
        self.path(name)
    }

    fn link(&self, name: &str, target: &str) -> String {
        symlink(target, self.path(name)).unwrap();
        self.path(name)
    }

    fn socket(&self, name: &str) -> String {
        UnixListener::bind(self.path(name)).unwrap();
        self.path(name)
    }

    fn folder(&self, name: &str) -> String {
        fs::create_dir(self.path(name)).unwrap();
        self.path(name)
    }
}

/// A picture of one colour.
pub(crate) fn solid(width: u32, height: u32, color: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(color))
}

/// A picture in which no two places look the same.
pub(crate) fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, (x * y % 251) as u8])
    })
}

/// The bytes of a picture as PNG.
pub(crate) fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The bytes of a picture as JPEG.
pub(crate) fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(image).unwrap();
    bytes
}

/// The bytes of a picture as JPEG with an EXIF orientation, 1 to 8.
pub(crate) fn jpeg_with_orientation(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    // A TIFF header, and one directory with one entry: tag 0x0112, type 3 (short), one value. No
    // directory follows it.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(image).unwrap();
    bytes
}
