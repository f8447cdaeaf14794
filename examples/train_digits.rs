//! Trains on batches from workers: multinomial logistic regression of 8×8 digits, in plain ndarray.
//!
//! One host feeds the training, shuffled anew in each epoch and with a little noise. A second host
//! feeds the held-out images. The seed decides order and noise, so every run prints the same
//! numbers, with any number of workers.
//!
//! `cargo run --release --example train_digits`

use std::path::Path;

use anyhow::{Context, ensure};
use cobuf_host::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Ix1, Ix3};
use cobuf_host::{Batch, Dictionary, Host, Plugin, StartError};
use serde::Deserialize;

const PIXELS: usize = 64;
const DIGITS: usize = 10;
/// The number of images in each split of digits-producer.
const TRAIN_IMAGES: usize = 1438;
const TEST_IMAGES: usize = 359;

const SEED: u64 = 1;
const BATCH_SIZE: usize = 32;
const EPOCHS: u64 = 40;
const LEARNING_RATE: f32 = 1.0;
/// Keeps the weights small, so that the model generalises to unseen images.
const WEIGHT_DECAY: f32 = 1e-4;
/// The standard deviation of the noise on each training image, where 1 is the range from paper to
/// ink.
const NOISE: f64 = 0.05;
const EXPECTED_ACCURACY: f64 = 0.95;

fn main() -> anyhow::Result<()> {
    let mut model = Model::new();
    train(&mut model)?;
    let accuracy = test(&model)?;
    println!("{:.2} % of the {TEST_IMAGES} held-out digits are right", 100.0 * accuracy);
    ensure!(accuracy >= EXPECTED_ACCURACY, "expected at least {} %", 100.0 * EXPECTED_ACCURACY);
    Ok(())
}

/// A stream of images and labels that goes `epochs` times through a split of the data.
fn start(split: &str, images: usize, epochs: u64, noise: f64) -> Result<Host, StartError> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let batches = Dictionary::new().with("batch_size", BATCH_SIZE);
    let commander_config =
        batches.clone().with("length", images).with("epochs", epochs).with("shuffle", true);
    let producer_config =
        batches.with("split", split).with("augment", Dictionary::new().with("noise", noise));
    Host::builder()
        .commander(Plugin::package(plugins.join("index-commander")))
        .commander_config(commander_config)
        .producer(Plugin::package(plugins.join("digits-producer")))
        .producer_config(producer_config)
        .seed(SEED)
        .start()
}

/// The entries of index-commander's message that this example reads.
#[derive(Deserialize)]
struct Message {
    epoch: u64,
}

fn train(model: &mut Model) -> anyhow::Result<()> {
    let host = start("train", TRAIN_IMAGES, EPOCHS, NOISE)?;
    let mut score = Score::default();
    for batch in host.batches() {
        let batch = batch?;
        let (images, labels) = arrays(&batch)?;
        let probabilities = model.probabilities(images);
        score.count(&probabilities, labels);

        let Message { epoch } = batch.message()?;
        let rate = LEARNING_RATE * (1.0 - epoch as f32 / EPOCHS as f32); // falls to almost 0
        model.descend(images, labels, probabilities, rate);
        if score.images == TRAIN_IMAGES {
            println!(
                "epoch {:2}: loss {:.4}, {:5.2} % right",
                epoch + 1,
                score.loss(),
                100.0 * score.accuracy()
            );
            score = Score::default();
        }
    }
    Ok(())
}

fn test(model: &Model) -> anyhow::Result<f64> {
    let host = start("test", TEST_IMAGES, 1, 0.0)?;
    let mut score = Score::default();
    for batch in host.batches() {
        let batch = batch?;
        let (images, labels) = arrays(&batch)?;
        score.count(&model.probabilities(images), labels);
    }
    ensure!(
        score.images == TEST_IMAGES,
        "{} test images were delivered, expected {TEST_IMAGES}",
        score.images
    );
    Ok(score.accuracy())
}

/// The batch's images, one in each row, and their labels. Both are views of shared memory that live
/// as long as the batch.
fn arrays(batch: &Batch) -> anyhow::Result<(ArrayView2<'_, f32>, ArrayView1<'_, i64>)> {
    let images = batch.array::<f32, Ix3>("image")?;
    let rows = images.len_of(Axis(0));
    let images = images.into_shape_with_order((rows, PIXELS)).context("the images are not of 8×8 pixels")?;
    Ok((images, batch.array::<i64, Ix1>("label")?))
}

/// probabilities = softmax(images · weights + bias).
struct Model {
    weights: Array2<f32>,
    bias: Array1<f32>,
}

impl Model {
    fn new() -> Self {
        Self { weights: Array2::zeros((PIXELS, DIGITS)), bias: Array1::zeros(DIGITS) }
    }

    /// The probability of each digit, with a row for each image.
    fn probabilities(&self, images: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut scores = images.dot(&self.weights) + &self.bias;
        for mut row in scores.rows_mut() {
            let most = row.fold(f32::NEG_INFINITY, |most, score| most.max(*score));
            row.mapv_inplace(|score| (score - most).exp());
            let sum = row.sum();
            row /= sum;
        }
        scores
    }

    /// One step down the gradient of the cross entropy.
    fn descend(
        &mut self,
        images: ArrayView2<'_, f32>,
        labels: ArrayView1<'_, i64>,
        probabilities: Array2<f32>,
        rate: f32,
    ) {
        let mut error = probabilities;
        for (mut row, label) in error.rows_mut().into_iter().zip(labels) {
            row[*label as usize] -= 1.0;
        }
        let step = rate / labels.len() as f32;
        self.weights *= 1.0 - rate * WEIGHT_DECAY;
        self.weights.scaled_add(-step, &images.t().dot(&error));
        self.bias.scaled_add(-step, &error.sum_axis(Axis(0)));
    }
}

/// The quality of the guesses.
#[derive(Default)]
struct Score {
    images: usize,
    right: usize,
    cross_entropy: f64,
}

impl Score {
    fn count(&mut self, probabilities: &Array2<f32>, labels: ArrayView1<'_, i64>) {
        for (row, label) in probabilities.rows().into_iter().zip(labels) {
            let probability = row[*label as usize];
            self.images += 1;
            self.right += usize::from(row.iter().all(|other| *other <= probability));
            self.cross_entropy -= f64::from(probability.max(f32::MIN_POSITIVE).ln());
        }
    }

    fn loss(&self) -> f64 {
        self.cross_entropy / self.images as f64
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.images as f64
    }
}
