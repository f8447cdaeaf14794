//! The results for files of each kind.

use super::*;
use crate::fixtures::{Files, gradient, jpeg, jpeg_with_orientation, png, solid};
use image::{GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

const MAX_PIXELS: u64 = 1_000_000;
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A decoder of pictures at their full size.
fn decoder(max_pixels: u64, max_file_bytes: u64) -> Decoder {
    Decoder::new(Bounds { max_pixels, max_file_bytes, shrink_on_load: false })
}

/// Decodes a whole file.
fn decode<'decoder>(decoder: &'decoder mut Decoder, path: &str) -> Result<Picture<'decoder>> {
    let whole = |(width, height): (u32, u32)| CropBox {
        left: 0.0,
        top: 0.0,
        width: width.into(),
        height: height.into(),
    };
    decoder.decode(path, (8, 8), whole)
}

/// Width, height and pixels of a file with these bytes.
fn decoded(bytes: &[u8]) -> (u32, u32, Vec<[u8; 3]>) {
    let files = Files::new();
    let mut decoder = decoder(MAX_PIXELS, MAX_FILE_BYTES);
    let picture = decode(&mut decoder, &files.write("picture", bytes)).unwrap();
    (picture.width, picture.height, picture.rgb.as_chunks().0.to_vec())
}

/// Asserts that all pixels of a 3 x 2 picture are this colour.
fn assert_solid(bytes: &[u8], color: [u8; 3]) {
    assert_eq!(decoded(bytes), (3, 2, vec![color; 6]));
}

#[test]
fn every_pixel_type_becomes_rgb() {
    assert_solid(&png(solid(3, 2, [10, 20, 30])), [10, 20, 30]);
    assert_solid(&png(GrayImage::from_pixel(3, 2, Luma([9]))), [9; 3]);
    assert_solid(&png(ImageBuffer::from_pixel(3, 2, LumaA([9u8, 0]))), [9; 3]);
    assert_solid(&png(ImageBuffer::from_pixel(3, 2, Luma([0x8000u16]))), [128; 3]);
    assert_solid(&png(ImageBuffer::from_pixel(3, 2, LumaA([0xffffu16, 1]))), [255; 3]);
    assert_solid(&png(ImageBuffer::from_pixel(3, 2, Rgb([257u16, 385, 386]))), [1, 1, 2]);
    assert_solid(&png(ImageBuffer::from_pixel(3, 2, Rgba([0u16, 257, 65535, 7]))), [0, 1, 255]);
}

#[test]
fn transparent_pixel_keeps_its_colour() {
    assert_solid(&png(RgbaImage::from_pixel(3, 2, Rgba([10, 20, 30, 0]))), [10, 20, 30]);
}

#[test]
fn jpeg_keeps_its_brightness() {
    for (image, expected) in [([200, 100, 50], [200, 100, 50]), ([77; 3], [77; 3])] {
        let (width, height, pixels) = decoded(&jpeg(&solid(20, 10, image)));
        assert_eq!((width, height), (20, 10));
        for (found, expected) in pixels.concat().iter().zip(expected.repeat(200)) {
            assert!(found.abs_diff(expected) <= 2, "{found}, expected {expected}");
        }
    }
}

#[test]
fn cmyk_jpeg_becomes_rgb() {
    // Written by Pillow: 16 x 16 pixels of cyan 0, magenta 255, yellow 255, black 0, which is red.
    let (width, height, pixels) = decoded(include_bytes!("../../tests/cmyk.jpg"));
    assert_eq!((width, height), (16, 16));
    for [red, green, blue] in pixels {
        assert!(red > 250 && green < 5 && blue < 5, "({red}, {green}, {blue})");
    }
}

#[test]
fn very_wide_jpeg_is_decoded() {
    // libjpeg-turbo takes at most 65,500.
    let (width, height, pixels) = decoded(&jpeg(&solid(65_501, 2, [9, 9, 9])));
    assert_eq!((width, height), (65_501, 2));
    assert!(pixels.concat().iter().all(|value| value.abs_diff(9) <= 2));
}

#[test]
fn picture_is_turned_upright() {
    // The left half is red, the right half blue.
    let image = RgbImage::from_fn(32, 16, |x, _| Rgb(if x < 16 { [255, 0, 0] } else { [0, 0, 255] }));
    let corner = |orientation| {
        let (width, height, pixels) = decoded(&jpeg_with_orientation(&image, orientation));
        (width, height, if pixels[0][0] > 128 { "red" } else { "blue" })
    };
    assert_eq!(corner(1), (32, 16, "red"));
    assert_eq!(corner(2), (32, 16, "blue")); // mirrored
    assert_eq!(corner(3), (32, 16, "blue")); // by 180 degrees
    assert_eq!(corner(6), (16, 32, "red")); // by 90 degrees clockwise: the left side comes to the top
    assert_eq!(corner(8), (16, 32, "blue")); // by 90 degrees counterclockwise
}

#[test]
fn format_follows_from_the_content_not_the_name() {
    let files = Files::new();
    let path = files.write("really-a-png.jpg", &png(solid(3, 2, [1, 2, 3])));
    assert_eq!(decode(&mut decoder(MAX_PIXELS, MAX_FILE_BYTES), &path).unwrap().rgb[..3], [1, 2, 3]);
}

#[test]
fn corrupt_file_is_refused_with_a_reason() {
    let files = Files::new();
    let mut decoder = decoder(MAX_PIXELS, MAX_FILE_BYTES);
    for (path, reason) in files.corrupt() {
        let error = format!("{:#}", decode(&mut decoder, &path).unwrap_err());
        assert!(error.contains(reason), "{path}: {error}");
    }
    let gif = files.write("animation.png", b"GIF89a\x01\0\x01\0");
    let error = decode(&mut decoder, &gif).unwrap_err().to_string();
    assert_eq!(error, "the file's content is Gif, expected JPEG or PNG");
}

#[test]
fn jpeg_cut_off_anywhere_is_refused() {
    let (files, whole) = (Files::new(), jpeg(&gradient(24, 24)));
    let mut decoder = decoder(MAX_PIXELS, MAX_FILE_BYTES);
    for length in 0..whole.len() {
        let path = files.write("cut.jpg", &whole[..length]);
        assert!(decode(&mut decoder, &path).is_err(), "{length} of {} bytes were accepted", whole.len());
    }
}

#[test]
fn picture_of_too_many_pixels_is_refused_before_decoding() {
    let files = Files::new();
    for bytes in [png(solid(30, 20, [0; 3])), jpeg(&solid(30, 20, [0; 3]))] {
        let path = files.write("large", &bytes);
        assert!(decode(&mut decoder(600, MAX_FILE_BYTES), &path).is_ok());
        assert_eq!(
            decode(&mut decoder(599, MAX_FILE_BYTES), &path).unwrap_err().to_string(),
            "the picture has 30 x 20 = 600 pixels, expected 1 to max_pixels = 599"
        );
    }
}

#[test]
fn small_picture_shows_nothing_of_a_larger_one_before() {
    let files = Files::new();
    let mut decoder = decoder(MAX_PIXELS, MAX_FILE_BYTES);
    decode(&mut decoder, &files.png("large.png", solid(100, 100, [255; 3]))).unwrap();
    let small = files.png("small.png", GrayImage::from_pixel(2, 2, Luma([3])));
    assert_eq!(decode(&mut decoder, &small).unwrap().rgb, [3; 12]);
}

#[test]
fn panic_of_the_decoder_counts_as_corrupt() {
    let panics = |text: &'static str| catch_panic::<()>(|| panic!("{text}")).unwrap_err().to_string();
    assert_eq!(panics("no such table"), "the decoder panicked: no such table");
    let index = catch_panic(|| Ok([0u8; 2][std::hint::black_box(2)])).unwrap_err().to_string();
    assert!(index.starts_with("the decoder panicked: index out of bounds"), "{index}");
}

#[test]
fn larger_file_than_the_limit_is_not_read() {
    let files = Files::new();
    let bytes = png(gradient(20, 30));
    let (path, most) = (files.write("picture", &bytes), bytes.len() as u64);
    assert!(decode(&mut decoder(MAX_PIXELS, most), &path).is_ok());
    // A file of 1 TB, which takes no room.
    let huge = files.path("huge");
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    for path in [path, huge] {
        let mut decoder = decoder(MAX_PIXELS, most - 1);
        let reason = decode(&mut decoder, &path).unwrap_err().to_string();
        assert_eq!(reason, format!("the file has more than max_file_bytes = {} bytes", most - 1));
        assert!(decoder.file.capacity() < 2 * bytes.len() + 64);
    }
}
