//! Regions of files beside the whole pictures.

use super::*;

const TURBO: Turbo = Turbo { max_bytes: 64 << 20, may_shrink: true };

/// Files of each resolution of colours, with their sizes. The last two have factors that are twice as large
/// as they need be.
const FILES: [(&[u8], (u32, u32)); 7] = [
    (include_bytes!("../../tests/pillow/color-420.jpg"), (301, 200)),
    (include_bytes!("../../tests/pillow/color-422-progressive.jpg"), (200, 301)),
    (include_bytes!("../../tests/pillow/color-444-turned.jpg"), (160, 120)),
    (include_bytes!("../../tests/pillow/color-411.jpg"), (250, 210)),
    (include_bytes!("../../tests/pillow/grey.jpg"), (250, 190)),
    (include_bytes!("../../tests/wide-factors-444.jpg"), (90, 130)),
    (include_bytes!("../../tests/wide-factors-440.jpg"), (90, 130)),
];

fn part(left: f64, top: f64, width: f64, height: f64) -> CropBox {
    CropBox { left, top, width, height }
}

/// What a decoder makes of a part that becomes `target` wide and high.
fn decode(file: &[u8], size: (u32, u32), part: CropBox, target: (u32, u32)) -> (Region, Vec<[u8; 3]>) {
    let mut rgb = Vec::new();
    let wanted = Wanted { size, part, target };
    let region = TURBO.decode(file, &wanted, &mut rgb).unwrap();
    (region, rgb.as_chunks().0.to_vec())
}

#[test]
fn region_has_the_pixels_of_the_whole_picture_at_every_scale() {
    for (file, size) in FILES {
        for divisor in [1, 2, 4, 8] {
            let whole_part = part(0.0, 0.0, size.0.into(), size.1.into());
            let (whole, all) = decode(file, size, whole_part, (size.0 / divisor, size.1 / divisor));
            assert_eq!(whole.size, (size.0.div_ceil(divisor), size.1.div_ceil(divisor)));
            for (left, top) in [(0.0, 0.0), (11.5, 57.25), (26.0, 0.0), (20.0, 56.0)] {
                let wanted = part(left, top, 64.0, 64.0);
                let (region, some) = decode(file, size, wanted, (64 / divisor, 64 / divisor));
                let shift = |wanted: f64, found: f64| (wanted / f64::from(divisor) - found).round() as u32;
                let start = (shift(left, region.part.left), shift(top, region.part.top));
                let end = (start.0 + region.size.0, start.1 + region.size.1);
                assert!(end.0 <= whole.size.0 && end.1 <= whole.size.1);
                assert!(divisor > 1 || some.len() < all.len(), "{} of {} pixels", some.len(), all.len());
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
    let turbo = Turbo { may_shrink: false, ..TURBO };
    let wanted = Wanted { size, part: part(0.0, 0.0, 301.0, 200.0), target: (8, 8) };
    assert_eq!(turbo.decode(file, &wanted, &mut Vec::new()).unwrap().size, size);
}

/// A file without its segments of a kind.
fn without(file: &[u8], marker: u8) -> Vec<u8> {
    let mut left = file[..2].to_vec();
    let mut at = 2;
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != marker {
            left.extend(&file[at..end]);
        }
        at = end;
    }
    left.extend(&file[at..]);
    left
}

#[test]
fn file_without_its_tables_does_not_get_those_of_another() {
    let (file, size) = FILES[0];
    let wanted = Wanted { size, part: part(20.0, 30.0, 70.0, 60.0), target: (30, 30) };
    let mut rgb = Vec::new();
    const QUANTIZATION: u8 = 0xdb;
    let broken = without(file, QUANTIZATION);
    assert!(broken.len() < file.len());
    for _ in 0..2 {
        assert!(TURBO.decode(&broken, &wanted, &mut rgb).is_none());
        assert!(TURBO.decode(file, &wanted, &mut rgb).is_some());
    }
}

#[test]
fn what_the_library_does_not_make_rgb_of_is_left_to_the_other_decoder() {
    let (file, size) = FILES[0];
    let wanted = Wanted { size, part: part(0.0, 0.0, 16.0, 16.0), target: (8, 8) };
    let refused = |file: &[u8], wanted: &Wanted| TURBO.decode(file, wanted, &mut Vec::new()).is_none();
    let cmyk = include_bytes!("../../tests/cmyk.jpg");
    assert!(refused(cmyk, &Wanted { size: (16, 16), ..wanted }));
    assert!(refused(b"\xff\xd8\xff\xd9", &wanted), "it has no picture");
    assert!(refused(b"x", &wanted));
    assert!(refused(file, &Wanted { size: (300, 200), ..wanted }), "the decoders read different sizes");
    assert!(!refused(file, &wanted));
}

#[test]
fn damaged_file_is_decoded_or_refused() {
    let (file, size) = FILES[1];
    let mut rgb = Vec::new();
    let wanted = Wanted { size, part: part(11.0, 100.0, 90.0, 90.0), target: (60, 60) };
    let mut refused = 0;
    for at in (0..file.len()).step_by(7) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x55;
        refused += usize::from(TURBO.decode(&damaged, &wanted, &mut rgb).is_none());
    }
    assert!((1..file.len() / 7).contains(&refused));
}

#[test]
fn window_that_the_library_would_read_otherwise_is_refused() {
    let decode = |left, top, width, height| {
        let window = Window { left, top, width, height };
        Instance::open(FILES[0].0, TURBO.max_bytes).unwrap().decode(1, window, &mut Vec::new()).is_ok()
    };
    assert!(decode(16, 20, 30, 30));
    assert!(!decode(16, 20, 0, 30) && !decode(16, 20, 30, 0), "without pixels");
    assert!(!decode(8, 20, 30, 30), "between blocks");
    assert!(!decode(288, 0, 14, 30) && !decode(0, 180, 30, 21), "beyond the picture");
}
