//! The batches so far decide the next one: training on the digits that the model gets wrong.
//!
//! The application is the commander. It submits which images the next batch has, and keeps a few
//! batches under way. For half of each batch it chooses the images with the greatest loss so far, for
//! the other half those that are next in turn. The same training with all images in turn is beside it.
//!
//! The next message depends on the batches before it only, and they come in order: every run prints
//! the same numbers, with any number of workers.
//!
//! `cargo run --release --example hard_examples`

use std::path::Path;

use anyhow::{Context, ensure};
use cobuf_host::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Ix1, Ix3};
use cobuf_host::{Batch, Commander, Dictionary, Host, Plugin, Value};
use serde::Deserialize;

const PIXELS: usize = 64;
const DIGITS: usize = 10;
/// The number of images in each split of digits-producer.
const TRAIN_IMAGES: usize = 1438;
const TEST_IMAGES: usize = 359;

const SEED: u64 = 1;
const BATCH_SIZE: usize = 32;
/// How many images of a batch are hard ones, if there are so many.
const HARD: usize = BATCH_SIZE / 2;
/// An image is hard if its loss was greater when it was last seen.
const HARD_LOSS: f32 = 0.3;
/// How many batches are under way while one is learned from.
const AHEAD: usize = 4;
/// Chosen after 0.5 and 1.0 were tried: at 1.0 hard images had no clear advantage.
const LEARNING_RATE: f32 = 0.5;
const WANTED_ACCURACY: f64 = 0.95;
const MOST_BATCHES: usize = 1000;

fn main() -> anyhow::Result<()> {
    let test = test_set()?;
    let [in_turn, hard] = [false, true].map(|hard| batches_needed(&test, hard));
    let (in_turn, hard) = (in_turn?, hard?);
    println!(
        "images in turn:    {:.0} % of the held-out digits after {in_turn} batches",
        100.0 * WANTED_ACCURACY
    );
    println!(
        "half of them hard: {:.0} % of the held-out digits after {hard} batches",
        100.0 * WANTED_ACCURACY
    );
    ensure!(hard < in_turn, "expected fewer batches with hard images");
    Ok(())
}

/// A run whose images this application chooses.
fn start(split: &str) -> anyhow::Result<Host> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let config = Dictionary::new().with("batch_size", BATCH_SIZE).with("split", split);
    let builder = Host::builder().commander(Commander::Application).seed(SEED);
    Ok(builder.producer(Plugin::package(plugins.join("digits-producer"))).producer_config(config).start()?)
}

/// A batch's images.
fn message(items: &[usize]) -> Dictionary {
    Dictionary::new().with("items", items.iter().map(|&item| Value::from(item)).collect::<Vec<_>>())
}

/// Trains until enough of the held-out digits are right; gives the number of batches.
fn batches_needed(test: &Labelled, hard: bool) -> anyhow::Result<usize> {
    let host = start("train")?;
    let (submitter, mut batches) = (host.submitter(), host.batches());
    let (mut model, mut choice) = (Model::new(), Choice::new(hard));
    for _ in 0..AHEAD {
        submitter.submit(&message(&choice.next_items()))?;
    }
    for number in 1..=MOST_BATCHES {
        let batch = batches.next().context("the stream goes on until it is closed")??;
        let Items { items } = batch.message()?;
        let (images, labels) = arrays(&batch)?;
        let losses = model.learn(images, labels);
        drop(batch);
        choice.seen(&items, &losses);
        if model.accuracy(test) >= WANTED_ACCURACY {
            return Ok(number);
        }
        submitter.submit(&message(&choice.next_items()))?;
    }
    anyhow::bail!("{MOST_BATCHES} batches were not enough")
}

/// The entries of a message that this example reads.
#[derive(Deserialize)]
struct Items {
    items: Vec<usize>,
}

/// Which images come next.
struct Choice {
    hard: bool,
    /// The loss of each image when it was last seen.
    losses: Vec<Option<f32>>,
    /// Whether an image is under way.
    under_way: Vec<bool>,
    /// The images of this epoch that are still to come.
    in_turn: Vec<usize>,
    random: u64,
}

impl Choice {
    fn new(hard: bool) -> Self {
        let (losses, under_way) = (vec![None; TRAIN_IMAGES], vec![false; TRAIN_IMAGES]);
        Self { hard, losses, under_way, in_turn: Vec::new(), random: SEED }
    }

    fn next_items(&mut self) -> Vec<usize> {
        let mut items = if self.hard { self.hardest() } else { Vec::new() };
        while items.len() < BATCH_SIZE {
            let item = self.next_in_turn();
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items.iter().for_each(|&item| self.under_way[item] = true);
        items
    }

    fn seen(&mut self, items: &[usize], losses: &[f32]) {
        for (&item, &loss) in items.iter().zip(losses) {
            self.losses[item] = Some(loss);
            self.under_way[item] = false;
        }
    }

    /// The images with the greatest losses that are not under way.
    fn hardest(&self) -> Vec<usize> {
        let loss = |item: usize| self.losses[item].filter(|&loss| loss > HARD_LOSS && !self.under_way[item]);
        let mut hard: Vec<(usize, f32)> =
            (0..TRAIN_IMAGES).filter_map(|item| Some((item, loss(item)?))).collect();
        hard.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        hard.into_iter().take(HARD).map(|(item, _)| item).collect()
    }

    /// The next image of the epoch, or the first of the next one, which is shuffled.
    fn next_in_turn(&mut self) -> usize {
        loop {
            if let Some(item) = self.in_turn.pop() {
                return item;
            }
            self.in_turn.extend(0..TRAIN_IMAGES);
            for place in (1..TRAIN_IMAGES).rev() {
                let other = self.random_below(place + 1);
                self.in_turn.swap(place, other);
            }
        }
    }

    /// SplitMix64.
    fn random_below(&mut self, most: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }
}

/// Images, one in each row, and their labels.
struct Labelled {
    images: Array2<f32>,
    labels: Array1<i64>,
}

/// All held-out images.
fn test_set() -> anyhow::Result<Labelled> {
    let host = start("test")?;
    let submitter = host.submitter();
    let mut test = Labelled { images: Array2::zeros((0, PIXELS)), labels: Array1::zeros(0) };
    let items: Vec<usize> = (0..TEST_IMAGES).collect();
    let mut batches = host.batches();
    for items in items.chunks(BATCH_SIZE) {
        submitter.submit(&message(items))?;
        let batch = batches.next().context("the stream is not closed")??;
        let (images, labels) = arrays(&batch)?;
        test.images.append(Axis(0), images)?;
        test.labels.append(Axis(0), labels)?;
    }
    Ok(test)
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

    /// One step down the gradient of the cross entropy; gives the loss of each image before it.
    fn learn(&mut self, images: ArrayView2<'_, f32>, labels: ArrayView1<'_, i64>) -> Vec<f32> {
        let mut error = images.dot(&self.weights) + &self.bias;
        let mut losses = Vec::with_capacity(labels.len());
        for (mut row, label) in error.rows_mut().into_iter().zip(labels) {
            let most = row.fold(f32::NEG_INFINITY, |most, score| most.max(*score));
            row.mapv_inplace(|score| (score - most).exp());
            let sum = row.sum();
            row /= sum;
            losses.push(-row[*label as usize].max(f32::MIN_POSITIVE).ln());
            row[*label as usize] -= 1.0;
        }
        let step = LEARNING_RATE / labels.len() as f32;
        self.weights.scaled_add(-step, &images.t().dot(&error));
        self.bias.scaled_add(-step, &error.sum_axis(Axis(0)));
        losses
    }

    /// The share of the images whose digit has the greatest score.
    fn accuracy(&self, test: &Labelled) -> f64 {
        let scores = test.images.dot(&self.weights) + &self.bias;
        let is_right =
            |row: ArrayView1<'_, f32>, label: i64| row.iter().all(|score| *score <= row[label as usize]);
        let right = scores
            .rows()
            .into_iter()
            .zip(&test.labels)
            .filter(|(row, label)| is_right(*row, **label))
            .count();
        right as f64 / test.labels.len() as f64
    }
}
