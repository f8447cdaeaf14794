//! Swaps the producer under a running stream, without a pause for the consumer: the example
//! measures the consumer's longest wait.
//!
//! The plugin is swapped for itself, which takes the same steps as a new build. The host checks and
//! copies the file, rehearses it in a process that is then thrown away, and opens it in new workers
//! beside the old ones. The new code takes over at one exact batch.
//!
//! `cargo run --release --example hot_swap`

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use cobuf_host::{Batches, Dictionary, Host, Plugin, Value};

const SWAPS: usize = 20;
/// The time to produce a batch.
const PRODUCE_SECONDS: f64 = 0.005;

fn main() -> Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let producer = Plugin::package(plugins.join("fill-producer")).built()?;
    let message = Dictionary::new().with("index", 1);
    let commander_config = Dictionary::new().with("messages", vec![Value::from(message)]).with("repeat", 0);
    let array =
        Dictionary::new().with("name", "x").with("dtype", "f32").with("shape", vec![Value::from(1024)]);
    let arrays = Dictionary::new().with("arrays", vec![Value::from(array)]);
    let host = Host::builder()
        .commander(Plugin::package(plugins.join("list-commander")))
        .commander_config(commander_config)
        .producer(producer.clone())
        .producer_config(arrays.with("sleep_seconds", PRODUCE_SECONDS))
        .start()?;

    let undisturbed = timed(&host, || thread::sleep(Duration::from_secs(1)))?.1;
    let (took, disturbed) =
        timed(&host, || (0..SWAPS).map(|_| swap(&host, &producer)).collect::<Result<Vec<_>>>())?;
    let mut took = took?;
    took.sort_unstable();
    println!("a swap takes {:?} in the middle, {:?} at most", took[SWAPS / 2], took[SWAPS - 1]);
    println!(
        "longest wait for a batch: {undisturbed:?} undisturbed, {disturbed:?} while {SWAPS} swaps were made"
    );
    ensure!(host.statistics().errors == 0, "a batch was lost");
    Ok(())
}

/// Swaps the producer. Returns the time that the swap took.
fn swap(host: &Host, producer: &Plugin) -> Result<Duration> {
    let begun = Instant::now();
    let first = host.swap_producer(producer)?;
    println!("edition {} from batch {first} on", host.edition());
    Ok(begun.elapsed())
}

/// Consumes on a thread of its own while `meanwhile` runs. Also returns the longest wait for a
/// batch.
fn timed<T>(host: &Host, meanwhile: impl FnOnce() -> T) -> Result<(T, Duration)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| longest_wait(host.batches(), &over));
        let result = meanwhile();
        over.store(true, Ordering::Relaxed);
        let longest = consumer.join().map_err(|_| anyhow!("the consumer panicked"))??;
        Ok((result, longest))
    })
}

fn longest_wait(mut batches: Batches, over: &AtomicBool) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    while !over.load(Ordering::Relaxed) {
        drop(batches.next().ok_or_else(|| anyhow!("the stream has ended, expected an endless one"))??);
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    Ok(longest)
}
