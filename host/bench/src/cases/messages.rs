//! Measures whether large messages cost more than their copies.
//!
//! A message is copied three times before a worker reads it, all in the commander's process: by the
//! list-commander, which keeps its list, by the encoder, and into its slot. A loop beside the
//! buffer does the same copies.

use std::array;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use cobuf_host::{Dictionary, Value};
use cobuf_plugin_api::codec;

use crate::case::{Case, FILLING, FLAT};
use crate::consumer::{Consumer, MANY};
use crate::plugins::{Plugins, bytes};
use cobuf::measure::figure::Figure;
use cobuf::measure::plan::Plan;

pub(super) const CASE: Case = Case {
    name: "messages",
    title: "hand-over with messages of 16 bytes to 64 KiB, as bytes; 2 workers, 32 slots",
    plugins: FILLING,
    measure,
};

const WORKERS: usize = 2;
const SLOTS: usize = 32;
const BYTES: [usize; 4] = [16, 1 << 10, 16 << 10, 64 << 10];
/// Bytes of a slot's message: the largest message with its name.
const CAPACITY: usize = (64 << 10) + 64;

fn measure(plan: &Plan, plugins: &Plugins) -> Result<Vec<Figure>> {
    let things: [_; 2 * BYTES.len()] = array::from_fn(|index| (BYTES[index / 2], index % 2 == 0));
    let samples = plan.samples(things, |(bytes, hosted), window| {
        let message = Dictionary::new().with("ballast", Value::Bytes(vec![7; bytes]));
        if hosted { by_host(plugins, message, window) } else { by_loop(&message, window) }
    })?;
    let pairs = || BYTES.iter().zip(samples.chunks(2));
    let whole = pairs().map(|(bytes, samples)| {
        let figure = Figure::new(format!("{bytes} bytes"), "µs a batch", samples[0].clone());
        figure.beside("its copies, in a loop", samples[1].clone())
    });
    let least = samples[0].minus(&samples[1]);
    let beyond = pairs().skip(1).map(|(bytes, samples)| {
        let beyond = samples[0].minus(&samples[1]);
        Figure::new(format!("{bytes} bytes, beyond the copies"), "µs a batch", beyond)
            .beside(format!("{} bytes, beyond the copies", BYTES[0]), least.clone())
            .ratio_should_be(FLAT)
    });
    Ok(whole.chain(beyond).collect())
}

fn by_host(plugins: &Plugins, message: Dictionary, window: Duration) -> Result<f64> {
    let builder = plugins.filling(&[bytes(&[16])], message);
    let builder = builder.workers(WORKERS).slots(SLOTS).message_capacity(CAPACITY);
    Ok(Consumer::warm(builder)?.take_for(window, MANY, |_| ())?.micros_a_batch())
}

/// Microseconds for each message.
fn by_loop(message: &Dictionary, window: Duration) -> Result<f64> {
    let mut slots = vec![vec![0_u8; CAPACITY]; SLOTS];
    let (started, mut done) = (Instant::now(), 0);
    while started.elapsed() < window {
        for slot in &mut slots {
            let encoded = codec::encode("a message", &black_box(message).clone())?;
            slot[..encoded.len()].copy_from_slice(&encoded);
            black_box(&*slot);
        }
        done += SLOTS;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / done as f64)
}
