//! Delivers batches as soon as they are ready, each with the message that it was made from.
//!
//! Each message asks its producer to sleep for a time of its own, so that short messages overtake
//! long ones. With `ordered(false)` a batch is delivered as soon as it is ready. The
//! application need not pair batches and messages: a batch has its message, and its sequence number
//! is that message's place in the stream.
//!
//! `cargo run --release --example any_order`

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use cobuf_host::ndarray::Ix1;
use cobuf_host::{ArraySpec, DType, Host, Plugin};
use serde::{Deserialize, Serialize};

/// The message that commander and producer share; fill-producer knows these fields. One type serves
/// both directions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    value: i64,
    sleep_seconds: f64,
}

#[derive(Serialize)]
struct CommanderConfig<'a> {
    messages: &'a [Message],
}

#[derive(Serialize)]
struct ProducerConfig {
    arrays: Vec<ArraySpec>,
}

fn main() -> anyhow::Result<()> {
    let messages: Vec<Message> = [0.4, 0.05, 0.1, 0.3, 0.05, 0.2, 0.05, 0.1]
        .into_iter()
        .zip(100..)
        .map(|(sleep_seconds, value)| Message { value, sleep_seconds })
        .collect();

    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let host = Host::builder()
        .commander(Plugin::package(plugins.join("list-commander")))
        .commander_config(CommanderConfig { messages: &messages })
        .producer(Plugin::package(plugins.join("fill-producer")))
        .producer_config(ProducerConfig { arrays: vec![ArraySpec::new("x", DType::I64, [4])] })
        .workers(4)
        .ordered(false)
        .start()?;

    let started = Instant::now();
    let mut sequences = Vec::new();
    for batch in host.batches() {
        let batch = batch?;
        let message: Message = batch.message()?;
        println!(
            "after {:3} ms: sequence {}, worker {}, {message:?}",
            started.elapsed().as_millis(),
            batch.sequence(),
            batch.worker(),
        );
        ensure!(message == messages[batch.sequence() as usize], "a batch has another batch's message");
        ensure!(
            batch.array::<i64, Ix1>("x")?.iter().all(|x| *x == message.value),
            "a batch does not have its message's value"
        );
        sequences.push(batch.sequence());
    }
    println!("came in the order {sequences:?}");
    sequences.sort_unstable();
    ensure!(sequences.into_iter().eq(0..messages.len() as u64), "a batch was lost or delivered twice");
    Ok(())
}
