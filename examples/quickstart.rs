//! The shortest whole program: a commander that counts, a producer of digits, and a loop over the
//! batches.
//!
//! `cargo run --release --example quickstart`

use std::path::Path;

use cobuf_host::ndarray::{Ix1, Ix3};
use cobuf_host::{Dictionary, Host, Plugin};

fn main() -> anyhow::Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let host = Host::builder()
        .commander(Plugin::package(plugins.join("index-commander")))
        .commander_config(Dictionary::new().with("length", 1797).with("batch_size", 256).with("epochs", 1))
        .producer(Plugin::package(plugins.join("digits-producer")))
        .producer_config(Dictionary::new().with("batch_size", 256))
        .start()?;
    println!("{} workers, {} slots of {}", host.workers(), host.slots(), host.schema());

    for batch in host.batches() {
        let batch = batch?;
        let image = batch.array::<f32, Ix3>("image")?; // (rows, 8, 8): a view of shared memory, not a copy
        let label = batch.array::<i64, Ix1>("label")?;
        println!(
            "batch {}: {} images, mean {:.3}, first label {}, produced by worker {} in {:?}",
            batch.sequence(),
            image.shape()[0],
            image.mean().unwrap_or_default(),
            label[0],
            batch.worker(),
            batch.produce_time(),
        );
    }
    Ok(())
}
