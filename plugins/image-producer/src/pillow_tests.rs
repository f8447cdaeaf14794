//! Compares pictures with those that Pillow makes of the same files. `tests/pillow/make.py` wrote both.

use cobuf_plugin_api::prelude::*;
use cobuf_plugin_api::testing::ProducerHarness;

use crate::ImageProducer;
use crate::fixtures::{config, message};

/// The bound of Pillow's own test of pictures that are made smaller while they are decoded
/// (`test_reducing_gap_for_DCT_scaling`): the mean over pixels of the differences of red, green and blue,
/// added up.
const TOLERANCE: f64 = 1.4;
const SIDE: u32 = 48;

const NAMES: [&str; 5] = ["color-420", "color-422-progressive", "color-444-turned", "color-411", "grey"];

/// How far the producer's picture is from Pillow's: the mean, and the greatest difference of a value.
fn difference(name: &str, kind: &str, config: &Dictionary) -> (f64, u8) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pillow");
    let config = config.clone().with("height", SIDE).with("width", SIDE);
    let mut producer = ProducerHarness::<ImageProducer>::open(&config).unwrap();
    let batch = producer.produce(0, &message(&[format!("{folder}/{name}.jpg")])).unwrap();
    let found = batch.array::<u8, Ix4>("image").unwrap();
    let expected = std::fs::read(format!("{folder}/{name}.{kind}.png")).unwrap();
    let expected = image::load_from_memory(&expected).unwrap().into_rgb8().into_raw();
    assert_eq!(found.len(), expected.len());
    let differences: Vec<u8> =
        found.iter().zip(expected).map(|(found, value)| found.abs_diff(value)).collect();
    let sum: f64 = differences.iter().copied().map(f64::from).sum();
    (sum / f64::from(SIDE * SIDE), differences.into_iter().max().unwrap())
}

fn assert_similar(kind: &str, config: &Dictionary) {
    for name in NAMES {
        let (mean, most) = difference(name, kind, config);
        println!("{name} {kind}: mean {mean:.3}, at most {most}");
        assert!(mean <= TOLERANCE, "{name} {kind}: the mean is {mean}, the most {most}");
    }
}

#[test]
fn pictures_at_full_size_are_those_of_pillow() {
    assert_similar("full", &config().with("shrink_on_load", false));
}

#[cfg(feature = "libjpeg-turbo")]
#[test]
fn pictures_made_smaller_while_they_are_decoded_are_those_of_pillow() {
    assert_similar("draft", &config());
    // They are of another size, so this is a difference that the tolerance sees.
    assert!(difference("color-420", "draft", &config().with("shrink_on_load", false)).0 > TOLERANCE);
}
