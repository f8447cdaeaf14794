//! The test scenario of the Python package `concurrentbuffer`: two arrays of a real network's size,
//! six workers that take differently long, both orders, both start methods, every value checked.

use crate::common::{all_items, array, filling, index, isolated};
use cobuf_host::ndarray::{Ix3, Ix4};
use cobuf_host::{Dictionary, StartMethod};

const WORKERS: usize = 6;
const MESSAGES: u64 = 24;
/// The first of six messages takes longest, so that the others are ready before it.
const SLEEP_SECONDS: [f64; WORKERS] = [0.10, 0.02, 0.06, 0.0, 0.08, 0.04];

#[derive(Debug, serde::Deserialize)]
struct Message {
    index: u64,
    sleep_seconds: f64,
}

fn message(number: u64) -> Dictionary {
    index(number).with("sleep_seconds", SLEEP_SECONDS[number as usize % WORKERS])
}

/// Runs the scenario; gives the sequence numbers in the order of delivery.
fn run(method: StartMethod, deterministic: bool) -> Vec<u64> {
    let arrays = [array("image", "f32", &[12, 284, 284, 3]), array("mask", "u8", &[12, 284, 284])];
    let host = filling((0..MESSAGES).map(message), &arrays)
        .workers(WORKERS)
        .ordered(deterministic)
        .start_method(method)
        .start()
        .unwrap();
    assert_eq!((host.workers(), host.slots()), (WORKERS, 4 * WORKERS));
    let mut delivered = Vec::new();
    for item in all_items(&host.batches()) {
        let batch = item.unwrap();
        let Message { index, sleep_seconds } = batch.message().unwrap();
        assert_eq!(index, batch.sequence(), "the message belongs to its batch");
        assert_eq!(sleep_seconds, SLEEP_SECONDS[index as usize % WORKERS]);
        let image = batch.array::<f32, Ix4>("image").unwrap();
        assert_eq!(image.shape(), [12, 284, 284, 3]);
        assert!(image.iter().all(|&value| value == index as f32), "an image of batch {index} is wrong");
        let mask = batch.array::<u8, Ix3>("mask").unwrap();
        assert_eq!(mask.shape(), [12, 284, 284]);
        assert!(mask.iter().all(|&value| u64::from(value) == index), "a mask of batch {index} is wrong");
        delivered.push(index);
    }
    delivered
}

fn each_once(mut delivered: Vec<u64>) -> bool {
    delivered.sort_unstable();
    delivered.into_iter().eq(0..MESSAGES)
}

#[test]
fn batches_come_in_order_from_a_fork_server() {
    let _leaks = isolated!();
    assert!(run(StartMethod::ForkServer, true).into_iter().eq(0..MESSAGES));
}

#[test]
fn batches_come_in_order_from_plain_forks() {
    let _leaks = isolated!();
    assert!(run(StartMethod::Fork, true).into_iter().eq(0..MESSAGES));
}

#[test]
fn batches_come_with_their_messages_in_any_order_from_a_fork_server() {
    let _leaks = isolated!();
    assert!(each_once(run(StartMethod::ForkServer, false)));
}

#[test]
fn batches_come_with_their_messages_in_any_order_from_plain_forks() {
    let _leaks = isolated!();
    assert!(each_once(run(StartMethod::Fork, false)));
}
