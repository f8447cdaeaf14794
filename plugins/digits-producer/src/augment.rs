//! Random changes of an image: a shift, then noise.

use std::f64::consts::TAU;

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::rand::Rng;

use crate::data::{INK, Levels, SIDE};

/// Random changes of images. Each image is changed independently.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", default)]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub struct Augment {
    /// The most pixels, 0 to 8, by which an image is moved vertically and horizontally; the pixels
    /// that move in are paper. Default: 0.
    #[schemars(range(max = 8))]
    shift: u32,
    /// The standard deviation of the Gaussian noise that each pixel gets, where 1 is the range from
    /// paper to ink. The result is clamped to that range, and rounded if `normalise` is false.
    /// Default: 0.
    #[schemars(range(min = 0))]
    noise: f64,
}

impl Augment {
    /// Refuses values that cannot be applied.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { shift, noise } = *self;
        ensure!(shift as usize <= SIDE, "augment.shift is {shift}, expected 0 to {SIDE} pixels");
        ensure!(
            noise.is_finite() && noise >= 0.0,
            "augment.noise is {noise}, expected a standard deviation: a finite number from 0"
        );
        Ok(())
    }

    /// The image, changed with the message's generator. If there is nothing to change, the
    /// generator is not used.
    pub(crate) fn apply(&self, mut levels: Levels, context: &mut ProduceContext<'_>) -> Levels {
        if self.shift > 0 {
            let most = i64::from(self.shift);
            let [down, right] = std::array::from_fn(|_| context.rng().random_range(-most..=most));
            levels = moved(&levels, down, right);
        }
        if self.noise > 0.0 {
            add_noise(&mut levels, self.noise * INK, context.rng());
        }
        levels
    }
}

/// The image moved by whole pixels over paper.
fn moved(levels: &Levels, down: i64, right: i64) -> Levels {
    let from = |to: usize, by: i64| usize::try_from(to as i64 - by).ok().filter(|from| *from < SIDE);
    let level = |y, x| Some(levels[from(y, down)?][from(x, right)?]);
    std::array::from_fn(|y| std::array::from_fn(|x| level(y, x).unwrap_or(0.0)))
}

fn add_noise(levels: &mut Levels, deviation: f64, rng: &mut impl Rng) {
    for two in levels.as_flattened_mut().as_chunks_mut::<2>().0 {
        for (level, normal) in two.iter_mut().zip(two_normals(rng)) {
            *level = (*level + deviation * normal).clamp(0.0, INK);
        }
    }
}

/// Two independent numbers of the standard normal distribution, by Box and Muller's transform.
fn two_normals(rng: &mut impl Rng) -> [f64; 2] {
    // `random` is in 0..1; the logarithm needs a number above 0.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobuf_plugin_api::Rng as Generator;
    use cobuf_plugin_api::rand::SeedableRng as _;

    #[test]
    fn shift_brings_in_paper() {
        let numbered: Levels = std::array::from_fn(|y| std::array::from_fn(|x| (8 * y + x) as f64));
        let moved_image = moved(&numbered, 1, -2);
        assert_eq!(moved_image[0], [0.0; 8]);
        assert_eq!(moved_image[1], [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0]);
        assert_eq!(moved(&numbered, 8, 0), [[0.0; 8]; 8]);
        assert_eq!(moved(&numbered, 0, -8), [[0.0; 8]; 8]);
    }

    #[test]
    fn noise_is_normal() {
        let mut rng = Generator::seed_from_u64(1);
        let normals: Vec<f64> = (0..50_000).flat_map(|_| two_normals(&mut rng)).collect();
        let moment = |power| normals.iter().map(|x| x.powi(power)).sum::<f64>() / normals.len() as f64;
        // Within five standard errors, which are sqrt(1, 2, 15, 96) / sqrt(n).
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (variance / normals.len() as f64).sqrt();
            assert!((moment(power) - expected).abs() < 5.0 * error, "moment {power}: {}", moment(power));
        }
    }

    #[test]
    fn noise_stays_in_the_range() {
        let mut levels = [[0.0, 16.0, 8.0, 0.0, 16.0, 8.0, 0.0, 16.0]; 8];
        add_noise(&mut levels, 100.0, &mut Generator::seed_from_u64(2));
        let levels = levels.as_flattened();
        assert!(levels.iter().all(|level| (0.0..=INK).contains(level)));
        assert!(levels.contains(&0.0) && levels.contains(&INK));
    }
}
