//! The configuration: its fields, their defaults, and the values that are refused.

use cobuf_plugin_api::prelude::*;

use crate::decode::Bounds;

/// Whether a picture can be made smaller while it is decoded.
const CAN_SHRINK: bool = cfg!(feature = "libjpeg-turbo");
/// The largest height or width, in pixels, which is also that of a JPEG file.
const MAX_SIDE_PIXELS: u32 = 65_535;

/// How pictures become rows of a batch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) struct Config {
    /// The height of every picture in the batch, in pixels.
    #[schemars(range(min = 1, max = MAX_SIDE_PIXELS))]
    pub(crate) height: u32,
    /// The width of every picture in the batch, in pixels.
    #[schemars(range(min = 1, max = MAX_SIDE_PIXELS))]
    pub(crate) width: u32,
    /// The most pictures in a batch, as in the commander's configuration. Default: 32.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1))]
    pub(crate) batch_size: usize,
    /// Which part of a picture is taken. Default: "center".
    #[serde(default)]
    pub(crate) crop: Crop,
    /// For crop = "random": the smallest and the largest fraction of the picture's area that is
    /// taken, each above 0 and at most 1. Default: [0.08, 1.0].
    pub(crate) scale: Option<[f64; 2]>,
    /// For crop = "random": the smallest and the largest width divided by height of the part that
    /// is taken. Default: [3/4, 4/3].
    pub(crate) ratio: Option<[f64; 2]>,
    /// The probability that a picture is mirrored, left to right; 0 to 1. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) flip: f64,
    /// What happens when a file is missing, unreadable, not a regular file, or corrupt. Default:
    /// "error".
    #[serde(default)]
    pub(crate) on_corrupt: OnCorrupt,
    /// The most pixels (height × width) of a file that is decoded; larger files count as corrupt.
    /// It bounds the memory that a small malicious file can take. Default: 100 million.
    #[serde(default = "default_max_pixels")]
    #[schemars(range(min = 1))]
    pub(crate) max_pixels: u64,
    /// The most bytes of a file that is read; larger files count as corrupt. It bounds the memory
    /// that a file takes before it is decoded. Default: 1 GiB.
    #[serde(default = "default_max_file_bytes")]
    #[schemars(range(min = 1))]
    pub(crate) max_file_bytes: u64,
    /// Whether a JPEG picture is made smaller while it is decoded, to a half, a quarter or an eighth of
    /// its width and height, if the part that is taken is then still as large as the batch's pictures.
    /// Only a plugin with the feature `libjpeg-turbo` can. Default: true with that feature, false without.
    pub(crate) shrink_on_load: Option<bool>,
}

/// Which part of a picture is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) enum Crop {
    /// The largest centred part with the batch's proportions: the shorter side is fitted, the
    /// longer one cut.
    #[default]
    Center,
    /// A part of random area, proportions and place, within `scale` and `ratio`, stretched to the
    /// batch's size.
    Random,
}

/// What happens when a file is missing, unreadable, not a regular file, or corrupt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(crate = "cobuf_plugin_api::serde", rename_all = "lowercase")]
#[schemars(crate = "cobuf_plugin_api::schemars")]
pub(crate) enum OnCorrupt {
    /// The batch is an error that names the file and the reason.
    #[default]
    Error,
    /// The batch has one row less; its metadata lists the file and the reason under "skipped".
    Skip,
}

fn default_batch_size() -> usize {
    32
}

fn default_max_pixels() -> u64 {
    100_000_000
}

fn default_max_file_bytes() -> u64 {
    1 << 30
}

impl Config {
    /// The bounds of a random crop's area, as fractions of the picture's.
    pub(crate) fn scale(&self) -> [f64; 2] {
        self.scale.unwrap_or([0.08, 1.0])
    }

    /// The bounds of a random crop's width divided by its height.
    pub(crate) fn ratio(&self) -> [f64; 2] {
        self.ratio.unwrap_or([3.0 / 4.0, 4.0 / 3.0])
    }

    /// The decoder's bounds.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            max_pixels: self.max_pixels,
            max_file_bytes: self.max_file_bytes,
            shrink_on_load: self.shrink_on_load.unwrap_or(CAN_SHRINK),
        }
    }

    /// Refuses values that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, pixels) in [("height", self.height), ("width", self.width)] {
            ensure!(
                (1..=MAX_SIDE_PIXELS).contains(&pixels),
                "{name} is {pixels}, expected 1 to {MAX_SIDE_PIXELS} pixels"
            );
        }
        ensure!(self.batch_size > 0, "batch_size is 0, expected at least 1 picture");
        ensure!(
            self.max_pixels > 0,
            "max_pixels is 0, so that every file would be too large; give at least 1"
        );
        ensure!(
            self.max_file_bytes > 0,
            "max_file_bytes is 0, so that every file would be too large; give at least 1"
        );
        ensure!(
            (0.0..=1.0).contains(&self.flip),
            "flip is {}, expected a probability from 0 to 1",
            self.flip
        );
        ensure!(
            CAN_SHRINK || self.shrink_on_load != Some(true),
            "shrink_on_load is true, but this image-producer was built without libjpeg-turbo; \
             build it with --features libjpeg-turbo, or leave shrink_on_load out"
        );
        self.check_random_crop()
    }

    fn check_random_crop(&self) -> Result<()> {
        for (name, bounds) in [("scale", self.scale), ("ratio", self.ratio)] {
            ensure!(
                self.crop == Crop::Random || bounds.is_none(),
                "{name} is given, but crop is \"center\", which has none; set crop = \"random\" or leave {name} out"
            );
        }
        let [least, most] = self.scale();
        ensure!(
            0.0 < least && least <= most && most <= 1.0,
            "scale is [{least}, {most}], expected the least and the greatest part of the area, above 0 and at most 1"
        );
        let [least, most] = self.ratio();
        ensure!(
            0.0 < least && least <= most && most.is_finite(),
            "ratio is [{least}, {most}], expected the least and the greatest width divided by height, above 0"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::ImageProducer;
    use crate::fixtures::config;
    use cobuf_plugin_api::Value;
    use cobuf_plugin_api::prelude::*;
    use cobuf_plugin_api::testing::ProducerHarness;

    fn error(key: &str, value: impl Into<Value>) -> String {
        ProducerHarness::<ImageProducer>::open(&config().with(key, value)).unwrap_err().to_string()
    }

    fn bounds(least: f64, most: f64) -> Value {
        vec![Value::from(least), Value::from(most)].into()
    }

    #[test]
    fn short_configuration_takes_the_defaults() {
        let short = Dictionary::new().with("height", 20).with("width", 30);
        let producer = ProducerHarness::<ImageProducer>::open(&short).unwrap();
        assert_eq!(producer.schema().to_string(), "image u8 (32, 20, 30, 3), label i64 (32,)");
    }

    #[test]
    fn wrong_values_are_refused() {
        assert_eq!(error("height", 0), "height is 0, expected 1 to 65535 pixels");
        assert_eq!(error("width", 70_000), "width is 70000, expected 1 to 65535 pixels");
        assert_eq!(error("batch_size", 0), "batch_size is 0, expected at least 1 picture");
        assert_eq!(error("flip", 1.5), "flip is 1.5, expected a probability from 0 to 1");
        assert!(error("flip", f64::NAN).starts_with("flip is NaN"));
        assert!(error("max_pixels", 0).starts_with("max_pixels is 0"));
        assert!(error("max_file_bytes", 0).starts_with("max_file_bytes is 0"));
        if cfg!(not(feature = "libjpeg-turbo")) {
            let expected = "shrink_on_load is true, but this image-producer was built without libjpeg-turbo";
            assert!(error("shrink_on_load", true).starts_with(expected));
        }
        assert!(error("crop", "middle").contains("unknown variant `middle`, expected `center` or `random`"));
        assert!(error("on_corrupt", "ignore").contains("expected `error` or `skip`"));
        assert!(error("heigth", 1).contains("\"heigth\" that is not known"));
    }

    #[test]
    fn wrong_random_crops_are_refused() {
        let random = |key: &str, least, most| {
            let config = config().with("crop", "random").with(key, bounds(least, most));
            ProducerHarness::<ImageProducer>::open(&config).map(drop).map_err(|report| report.to_string())
        };
        assert!(random("scale", 0.5, 1.0).is_ok());
        for (least, most) in [(0.0, 1.0), (0.5, 1.1), (0.9, 0.1), (f64::NAN, 1.0)] {
            let error = random("scale", least, most).unwrap_err();
            assert!(error.starts_with(&format!("scale is [{least}, {most}]")), "{error}");
        }
        for (least, most) in [(0.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY)] {
            let error = random("ratio", least, most).unwrap_err();
            assert!(error.starts_with(&format!("ratio is [{least}, {most}]")), "{error}");
        }
        let centre = error("scale", bounds(0.5, 1.0));
        assert!(centre.starts_with("scale is given, but crop is \"center\""), "{centre}");
    }
}
