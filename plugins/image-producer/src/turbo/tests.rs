//! Regions of files beside the whole pictures.

use super::*;

const MAX_BYTES: u64 = 64 << 20;

/// Files of each resolution of colours, with their sizes.
const FILES: [(&[u8], (u32, u32)); 5] = [
    (include_bytes!("../../tests/pillow/color-420.jpg"), (301, 200)),
    (include_bytes!("../../tests/pillow/color-422-progressive.jpg"), (200, 301)),
    (include_bytes!("../../tests/pillow/color-444-turned.jpg"), (160, 120)),
    (include_bytes!("../../tests/pillow/color-411.jpg"), (250, 210)),
    (include_bytes!("../../tests/pillow/grey.jpg"), (250, 190)),
];

fn part(left: f64, top: f64, width: f64, height: f64) -> CropBox {
    CropBox { left, top, width, height }
}

/// What a decoder makes of a part that becomes `target` wide and high.
fn decode(file: &[u8], size: (u32, u32), part: CropBox, target: (u32, u32)) -> (Region, Vec<[u8; 3]>) {
    let mut rgb = Vec::new();
    let wanted = Wanted { size, part, target };
    let region = Turbo::new(MAX_BYTES, true).unwrap().decode(file, &wanted, &mut rgb).unwrap().unwrap();
    (region, rgb.as_chunks().0.to_vec())
}

#[test]
fn region_has_the_pixels_of_the_whole_picture_at_every_scale() {
    for (file, size) in FILES {
        for divisor in [1, 2, 4, 8] {
            let whole_part = part(0.0, 0.0, size.0.into(), size.1.into());
            let (whole, all) = decode(file, size, whole_part, (size.0 / divisor, size.1 / divisor));
            assert_eq!(whole.size, (size.0.div_ceil(divisor), size.1.div_ceil(divisor)));
            for (left, top) in [(0.0, 0.0), (41.5, 57.25), (79.0, 0.0), (96.0, 56.0)] {
                let wanted = part(left, top, 64.0, 64.0);
                let (region, some) = decode(file, size, wanted, (64 / divisor, 64 / divisor));
                let shift = |wanted: f64, found: f64| (wanted / f64::from(divisor) - found).round() as u32;
                let start = (shift(left, region.part.left), shift(top, region.part.top));
                let end = (start.0 + region.size.0, start.1 + region.size.1);
                assert!(end.0 <= whole.size.0 && end.1 <= whole.size.1);
                assert!(divisor > 1 || some.len() < all.len() / 2, "{} of {} pixels", some.len(), all.len());
                // At a cut the colours may differ; the filter does not look there.
                let inner = |start: u32, end: u32, whole: u32| {
                    let margin = |is_cut| if is_cut { 2 } else { 0 };
                    start + margin(start > 0)..end - margin(end < whole)
                };
                for y in inner(start.1, end.1, whole.size.1) {
                    for x in inner(start.0, end.0, whole.size.0) {
                        let found = some[((y - start.1) * region.size.0 + x - start.0) as usize];
                        let expected = all[(y * whole.size.0 + x) as usize];
                        assert_eq!(found, expected, "at {x}, {y} of {size:?} by {divisor}");
                    }
                }
            }
        }
    }
}

#[test]
fn scale_is_the_smallest_that_leaves_the_part_as_large_as_its_target() {
    let divisor = |width, height, target| {
        let part = part(1.0, 2.0, width, height);
        window::sufficient_divisor(&Wanted { size: (1000, 1000), part, target })
    };
    assert_eq!(divisor(448.0, 448.0, (224, 224)), 2);
    assert_eq!(divisor(447.9, 448.0, (224, 224)), 1);
    assert_eq!(divisor(896.0, 900.0, (224, 224)), 4);
    assert_eq!(divisor(900.0, 90.0, (1, 1)), 8);
    assert_eq!(divisor(900.0, 90.0, (10, 50)), 1);
    assert_eq!(divisor(10.0, 10.0, (224, 224)), 1);
}

#[test]
fn picture_keeps_its_size_if_it_may_not_shrink() {
    let (file, size) = FILES[0];
    let mut turbo = Turbo::new(MAX_BYTES, false).unwrap();
    let wanted = Wanted { size, part: part(0.0, 0.0, 301.0, 200.0), target: (8, 8) };
    let region = turbo.decode(file, &wanted, &mut Vec::new()).unwrap().unwrap();
    assert_eq!(region.size, size);
}

#[test]
fn decoder_goes_on_after_files_of_all_kinds() {
    let mut turbo = Turbo::new(MAX_BYTES, true).unwrap();
    let mut rgb = Vec::new();
    for _ in 0..2 {
        for (file, size) in FILES {
            let wanted = Wanted { size, part: part(20.0, 30.0, 70.0, 60.0), target: (30, 30) };
            let found = turbo.decode(file, &wanted, &mut rgb).unwrap().unwrap();
            let (expected, pixels) = decode(file, size, wanted.part, wanted.target);
            assert_eq!((found.size, rgb.as_chunks().0), (expected.size, &pixels[..]));
            for (length, reason) in [(100, "contains no image"), (1, "Not a JPEG file")] {
                let broken = turbo.decode(&file[..length], &wanted, &mut rgb).unwrap_err();
                assert!(format!("{broken:#}").contains(reason), "{broken:#}");
            }
            assert!(turbo.decode(file, &Wanted { size: (1, 1), ..wanted }, &mut rgb).is_err());
        }
        let cmyk = include_bytes!("../../tests/cmyk.jpg");
        let wanted = Wanted { size: (16, 16), part: part(0.0, 0.0, 16.0, 16.0), target: (8, 8) };
        assert!(turbo.decode(cmyk, &wanted, &mut rgb).unwrap().is_none(), "it is left to the other decoder");
    }
}

#[test]
fn damaged_file_is_decoded_or_refused() {
    let (file, size) = FILES[1];
    let mut turbo = Turbo::new(MAX_BYTES, true).unwrap();
    let mut rgb = Vec::new();
    let wanted = Wanted { size, part: part(11.0, 100.0, 90.0, 90.0), target: (60, 60) };
    let mut refused = 0;
    for at in (0..file.len()).step_by(7) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x55;
        refused += usize::from(turbo.decode(&damaged, &wanted, &mut rgb).is_err());
    }
    assert!(refused > 0);
    assert!(turbo.decode(file, &wanted, &mut rgb).is_ok());
}
