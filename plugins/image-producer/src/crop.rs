//! Chooses the part of a picture that is taken: a rectangle of its pixels.

use cobuf_plugin_api::Rng;
use cobuf_plugin_api::rand::RngExt as _;
use fast_image_resize::CropBox;

/// The number of random rectangles that are tried before the centre is taken.
const TRIES: usize = 10;

/// The bounds of random crops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomCrop {
    /// The smallest and the largest fraction of the picture's area.
    pub(crate) scale: [f64; 2],
    /// The smallest and the largest width divided by height.
    pub(crate) ratio: [f64; 2],
}

/// The largest centred part of a picture that has the proportions of `target`; sizes are
/// (width, height).
pub(crate) fn center(picture: (u32, u32), target: (u32, u32)) -> CropBox {
    CropBox::fit_src_into_dst_size(picture.0, picture.1, target.0, target.1, None)
}

impl RandomCrop {
    /// A random part of a picture of this (width, height). Its area is uniform within `scale`, its
    /// proportions are log-uniform within `ratio`, and its place is uniform among whole pixels.
    ///
    /// This is the training crop of Szegedy et al., "Going deeper with convolutions", CVPR 2015, in
    /// the form of torchvision's `RandomResizedCrop`: up to ten draws until one fits, then the
    /// largest centred part within `ratio`.
    pub(crate) fn draw(&self, picture: (u32, u32), rng: &mut Rng) -> CropBox {
        let fitting = (0..TRIES).find_map(|_| {
            let size = self.draw_size(picture, rng);
            fits(size, picture).then_some(size)
        });
        match fitting {
            Some((width, height)) => {
                let left = rng.random_range(0..=picture.0 - width);
                let top = rng.random_range(0..=picture.1 - height);
                rectangle((left, top), (width, height))
            }
            None => self.fallback(picture),
        }
    }

    /// A random width and height, which may exceed the picture's.
    fn draw_size(&self, (width, height): (u32, u32), rng: &mut Rng) -> (u32, u32) {
        let ([least_scale, most_scale], [least_ratio, most_ratio]) = (self.scale, self.ratio);
        let area = f64::from(width) * f64::from(height) * rng.random_range(least_scale..=most_scale);
        let ratio = rng.random_range(least_ratio.ln()..=most_ratio.ln()).exp();
        ((area * ratio).sqrt().round() as u32, (area / ratio).sqrt().round() as u32)
    }

    /// The largest centred part of the picture whose proportions are within `ratio`.
    fn fallback(&self, (width, height): (u32, u32)) -> CropBox {
        let [least_ratio, most_ratio] = self.ratio;
        let ratio = (f64::from(width) / f64::from(height)).clamp(least_ratio, most_ratio);
        let crop_width = (f64::from(height) * ratio).round().clamp(1.0, f64::from(width)) as u32;
        let crop_height = (f64::from(width) / ratio).round().clamp(1.0, f64::from(height)) as u32;
        rectangle(((width - crop_width) / 2, (height - crop_height) / 2), (crop_width, crop_height))
    }
}

fn fits((width, height): (u32, u32), picture: (u32, u32)) -> bool {
    (1..=picture.0).contains(&width) && (1..=picture.1).contains(&height)
}

fn rectangle((left, top): (u32, u32), (width, height): (u32, u32)) -> CropBox {
    CropBox { left: left.into(), top: top.into(), width: width.into(), height: height.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::rand::SeedableRng as _;

    const USUAL: RandomCrop = RandomCrop { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };

    fn values(crop: CropBox) -> [f64; 4] {
        [crop.left, crop.top, crop.width, crop.height]
    }

    #[test]
    fn random_crop_is_inside_the_picture_and_its_bounds() {
        let mut rng = Rng::seed_from_u64(1);
        for size in [(1, 1), (3, 200), (64, 48), (500, 375)] {
            for _ in 0..200 {
                let [left, top, width, height] = values(USUAL.draw(size, &mut rng));
                assert!(width >= 1.0 && height >= 1.0);
                assert!(left + width <= f64::from(size.0) && top + height <= f64::from(size.1));
                if size == (500, 375) {
                    let (part, ratio) = (width * height / (500.0 * 375.0), width / height);
                    assert!((0.075..=1.0).contains(&part), "{width} x {height} is {part} of the area");
                    assert!((0.74..=1.35).contains(&ratio), "{width} x {height} has ratio {ratio}");
                }
            }
        }
    }

    #[test]
    fn area_and_place_are_spread_evenly() {
        let mut rng = Rng::seed_from_u64(2);
        let crop = RandomCrop { scale: [0.2, 0.6], ratio: [1.0, 1.0] };
        let (mut area, mut middle) = (0.0, 0.0);
        for _ in 0..4000 {
            let [left, _, width, height] = values(crop.draw((1000, 1000), &mut rng));
            area += width * height / 1e6 / 4000.0;
            middle += (left + width / 2.0) / 4000.0;
        }
        assert!((area - 0.4).abs() < 0.01, "mean area {area}");
        assert!((middle - 500.0).abs() < 10.0, "mean middle {middle}");
    }

    #[test]
    fn centre_is_taken_if_no_crop_fits() {
        let mut rng = Rng::seed_from_u64(3);
        let whole_area = RandomCrop { scale: [1.0, 1.0], ratio: [1.0, 2.0] };
        assert_eq!(values(whole_area.draw((10, 40), &mut rng)), [0.0, 15.0, 10.0, 10.0]);
        assert_eq!(values(whole_area.draw((100, 10), &mut rng)), [40.0, 0.0, 20.0, 10.0]);
    }

    #[test]
    fn centre_keeps_proportions() {
        assert_eq!(values(center((300, 100), (50, 50))), [100.0, 0.0, 100.0, 100.0]);
        assert_eq!(values(center((100, 300), (50, 25))), [0.0, 125.0, 100.0, 50.0]);
    }
}
