//! Several consumer threads read one stream, and their results are added at the end.
//!
//! Clones of `Batches` share the stream: each batch goes to the clone that asks first. Here each
//! thread adds up how the 64 pixels of the digits vary together, directly from shared memory and
//! without a lock. The sums of all threads give the covariance of the whole data set.
//!
//! `cargo run --release --example consumer_threads`

use std::path::Path;
use std::thread;

use anyhow::{anyhow, ensure};
use cobuf_host::ndarray::{Array1, Array2, Axis, Ix3};
use cobuf_host::{Batches, Dictionary, Host, Plugin};

const IMAGES: usize = 1797;
const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const BATCH_SIZE: usize = 32;
const EPOCHS: usize = 20;
const THREADS: usize = 4;

fn main() -> anyhow::Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let commander_config =
        Dictionary::new().with("length", IMAGES).with("batch_size", BATCH_SIZE).with("epochs", EPOCHS);
    let host = Host::builder()
        .commander(Plugin::package(plugins.join("index-commander")))
        .commander_config(commander_config)
        .producer(Plugin::package(plugins.join("digits-producer")))
        .producer_config(Dictionary::new().with("batch_size", BATCH_SIZE))
        .start()?;

    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let batches = host.batches();
            thread::spawn(move || Sums::of(batches))
        })
        .collect();
    let mut total = Sums::new();
    for (number, thread) in threads.into_iter().enumerate() {
        let sums = thread.join().map_err(|_| anyhow!("thread {number} panicked"))??;
        println!("thread {number}: {} batches", sums.sequences.len());
        total.add(sums);
    }

    total.sequences.sort_unstable();
    let batches = EPOCHS * IMAGES.div_ceil(BATCH_SIZE);
    ensure!(total.sequences.iter().copied().eq(0..batches as u64), "a batch was lost or delivered twice");
    println!("all: {batches} batches of {} images, each once", total.images);

    let deviations = total.covariance().diag().mapv(|variance| variance.max(0.0).sqrt());
    println!("standard deviation of each pixel:\n{:.2}", deviations.into_shape_with_order((SIDE, SIDE))?);
    Ok(())
}

/// The sums over some of the batches.
struct Sums {
    sequences: Vec<u64>,
    images: usize,
    /// The sum of each pixel.
    values: Array1<f64>,
    /// The sum of the products of each pair of pixels.
    products: Array2<f64>,
}

impl Sums {
    fn new() -> Self {
        let (values, products) = (Array1::zeros(PIXELS), Array2::zeros((PIXELS, PIXELS)));
        Self { sequences: Vec::new(), images: 0, values, products }
    }

    /// The sums over the batches that one thread gets.
    fn of(batches: Batches) -> anyhow::Result<Self> {
        let mut sums = Self::new();
        for batch in batches {
            let batch = batch?;
            let images = batch.array::<f32, Ix3>("image")?;
            let count = images.len_of(Axis(0));
            let images = images.into_shape_with_order((count, PIXELS))?.mapv(f64::from);
            sums.sequences.push(batch.sequence());
            sums.images += count;
            sums.values += &images.sum_axis(Axis(0));
            sums.products += &images.t().dot(&images);
        }
        Ok(sums)
    }

    fn add(&mut self, other: Self) {
        self.sequences.extend(other.sequences);
        self.images += other.images;
        self.values += &other.values;
        self.products += &other.products;
    }

    fn covariance(&self) -> Array2<f64> {
        let images = self.images as f64;
        let mean = (&self.values / images).insert_axis(Axis(1));
        &self.products / images - mean.dot(&mean.t())
    }
}
