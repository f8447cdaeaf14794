//! Whole batches, as a host receives them.

use cobuf_plugin_api::ndarray::{Array3, Array4};
use cobuf_plugin_api::testing::{ProducerHarness, TestBatch};
use image::{Rgb, RgbImage};

use super::*;
use crate::fixtures::{Files, config, gradient, jpeg, message, solid};

fn producer(config: &Dictionary) -> ProducerHarness<ImageProducer> {
    ProducerHarness::open(config).unwrap()
}

fn produce(config: &Dictionary, paths: &[String]) -> TestBatch {
    producer(config).produce(0, &message(paths)).unwrap()
}

fn images(batch: &TestBatch) -> Array4<u8> {
    batch.array("image").unwrap()
}

fn row(images: &Array4<u8>, row: usize) -> Array3<u8> {
    images.index_axis(Axis(0), row).to_owned()
}

fn labels(batch: &TestBatch) -> Vec<i64> {
    batch.array::<i64, Ix1>("label").unwrap().to_vec()
}

fn random() -> Dictionary {
    config().with("crop", "random").with("flip", 0.5)
}

#[test]
fn known_colours_are_in_their_rows() {
    let files = Files::new();
    let colors = [[255, 0, 0], [0, 128, 0], [3, 2, 1]];
    let paths = colors.map(|color| files.png(&format!("{color:?}.png"), solid(20, 33, color)));
    let batch = produce(&config(), &paths);
    assert_eq!(images(&batch).shape(), [3, 8, 8, 3]);
    assert_eq!(labels(&batch), [10, 11, 12]);
    for (row, color) in images(&batch).outer_iter().zip(colors) {
        assert!(row.rows().into_iter().all(|pixel| pixel.as_slice() == Some(&color[..])));
    }
}

#[test]
fn centre_of_a_wide_picture_is_taken() {
    let files = Files::new();
    let thirds = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];
    let wide = RgbImage::from_fn(96, 32, |x, _| Rgb(thirds[x as usize / 32]));
    let image = images(&produce(&config(), &[files.png("wide.png", wide)]));
    for ((_, _, column, channel), &value) in image.indexed_iter() {
        // At the edges the filter blends in a little of the neighbouring third.
        if (1..7).contains(&column) {
            assert_eq!(value, if channel == 1 { 255 } else { 0 }, "column {column}, channel {channel}");
        }
    }
}

#[test]
fn one_pixel_wide_picture_is_resized() {
    let files = Files::new();
    let paths = [files.png("tall.png", solid(1, 900, [7; 3])), files.png("dot.png", solid(1, 1, [7; 3]))];
    for config in [config().with("height", 1).with("width", 300), random()] {
        assert!(images(&produce(&config, &paths)).iter().all(|&value| value == 7));
    }
}

#[test]
fn corrupt_file_fails_the_batch_by_name() {
    let files = Files::new();
    let good = files.png("good.png", gradient(9, 9));
    let mut producer = producer(&config());
    for (path, reason) in files.corrupt() {
        let error = producer.produce(0, &message(&[good.clone(), path.clone()])).unwrap_err().to_string();
        assert!(error.starts_with(&format!("picture {path:?} cannot be used: ")), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    assert!(producer.produce(1, &message(&[good])).is_ok(), "the producer stopped after an error");
}

#[test]
fn corrupt_files_are_left_out_and_listed() {
    let files = Files::new();
    let good = [files.png("a.png", solid(9, 9, [1; 3])), files.png("b.png", solid(9, 9, [2; 3]))];
    let mut producer = producer(&config().with("on_corrupt", "skip"));
    for (path, reason) in files.corrupt() {
        let message = message(&[path.clone(), good[0].clone(), path.clone(), good[1].clone()]);
        let batch = producer.produce(0, &message).unwrap();
        assert_eq!(batch.rows(), Some(2));
        assert_eq!(labels(&batch), [11, 13]);
        for (row, value) in images(&batch).outer_iter().zip([1, 2]) {
            assert!(row.iter().all(|&found| found == value));
        }
        let skipped = batch.metadata::<SkippedOnly>().unwrap().skipped;
        assert_eq!(skipped.len(), 2);
        assert_eq!(skipped[0].path, path);
        assert!(skipped[0].reason.contains(reason), "{}", skipped[0].reason);
    }
}

#[derive(Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
struct SkippedOnly {
    skipped: Vec<Skipped>,
}

#[test]
fn batch_may_have_no_rows() {
    let files = Files::new();
    let batch = produce(&config().with("on_corrupt", "skip"), &[files.path("a.png"), files.path("b.png")]);
    assert_eq!(batch.rows(), Some(0));
    assert_eq!(images(&batch).shape(), [0, 8, 8, 3]);
    assert_eq!(produce(&config(), &[]).rows(), Some(0));
}

#[test]
fn empty_skip_list_is_attached() {
    let files = Files::new();
    let paths = [files.png("a.png", solid(9, 9, [1; 3]))];
    let batch = produce(&config().with("on_corrupt", "skip"), &paths);
    assert!(batch.metadata::<SkippedOnly>().unwrap().skipped.is_empty());
    assert!(produce(&config(), &paths).metadata::<Dictionary>().unwrap().is_empty());
}

#[test]
fn content_depends_on_seed_and_sequence_only() {
    let files = Files::new();
    let message = message(&[files.write("a.jpg", &jpeg(&gradient(60, 40)))]);
    let image = |run_seed, sequence| {
        images(&producer(&random()).with_seed(run_seed).produce(sequence, &message).unwrap())
    };
    assert_eq!(image(1, 5), image(1, 5));
    assert_ne!(image(1, 5), image(1, 6));
    assert_ne!(image(1, 5), image(2, 5));

    let mut worker = producer(&random()).with_seed(1);
    worker.produce(4, &message).unwrap();
    assert_eq!(
        images(&worker.produce(5, &message).unwrap()),
        image(1, 5),
        "an earlier message changed the content"
    );
}

#[test]
fn row_does_not_depend_on_skipped_files() {
    let files = Files::new();
    let (a, b) = (files.png("a.png", gradient(50, 70)), files.png("b.png", gradient(70, 50)));
    let config = random().with("on_corrupt", "skip");
    let whole = images(&produce(&config, &[a.clone(), a.clone(), b.clone()]));
    let shorter = images(&produce(&config, &[a, files.path("missing.png"), b]));
    assert_eq!(row(&whole, 0), row(&shorter, 0));
    assert_eq!(row(&whole, 2), row(&shorter, 1));
}

#[test]
fn flip_mirrors_left_and_right() {
    let files = Files::new();
    let paths = [files.png("a.png", gradient(8, 8))];
    let plain = images(&produce(&config(), &paths));
    let mut flipped = images(&produce(&config().with("flip", 1.0), &paths));
    assert_ne!(flipped, plain);
    flipped.invert_axis(Axis(2));
    assert_eq!(flipped, plain);
}

#[test]
fn message_that_does_not_fit_is_refused() {
    let mut producer = producer(&config());
    let mut error = |message: Dictionary| producer.produce(0, &message).unwrap_err().to_string();
    let paths = |count| vec!["a.png".to_owned(); count];
    let one_label = message(&paths(1)).get("labels").unwrap().clone();
    assert_eq!(
        error(message(&paths(2)).with("labels", one_label)),
        "the message has 2 paths and 1 labels, expected one label a path"
    );
    assert_eq!(
        error(message(&paths(5))),
        "the message has 5 paths, expected at most batch_size = 4; give commander and producer the same batch_size"
    );
    assert!(error(Dictionary::new()).contains("missing field `paths`"));
}

#[test]
fn sample_pictures_make_a_batch() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/images");
    let mut paths = Vec::new();
    for class in ["circle", "square", "triangle"] {
        let entries = std::fs::read_dir(format!("{samples}/{class}")).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()));
    }
    let batch = produce(&config().with("batch_size", 40), &paths);
    assert_eq!(batch.rows(), Some(30));
}
