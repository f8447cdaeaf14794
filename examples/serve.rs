//! A small service: eight clients ask for images, and wait for the answers.
//!
//! ```text
//!   client 0 ─┐ submit { items, client }    worker 0              ┌─► client 0
//!   client 1 ─┼────────────────────────────►worker 1 ─► desk ─────┼─► client 1
//!   …         ┘                                    (one thread)   └─► …
//! ```
//!
//! The application is the commander: each client is a thread that submits a request and waits for its
//! batch. One thread, the desk, takes the batches as they are ready and hands each to the client that
//! its message names. A worker that crashes costs its request another attempt, and an error comes in
//! the place of its batch.
//!
//! `cargo run --release --example serve`

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use cobuf_host::ndarray::Ix1;
use cobuf_host::{Batch, Batches, Commander, Dictionary, Host, Plugin, Submitter};
use serde::{Deserialize, Serialize};

const CLIENTS: usize = 8;
const REQUESTS: usize = 500;
/// The images that can be asked for, and at most in one request.
const IMAGES: usize = 1797;
const MOST_ITEMS: usize = 4;

/// A request. The producer reads the items, and the desk the client's number.
#[derive(Serialize, Deserialize)]
struct Request {
    items: Vec<usize>,
    client: usize,
}

fn main() -> anyhow::Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let host = Host::builder()
        .commander(Commander::Application)
        .producer(Plugin::package(plugins.join("digits-producer")))
        .producer_config(Dictionary::new().with("batch_size", MOST_ITEMS))
        .ordered(false) // an answer does not wait for those before it
        .workers(2)
        .slots(2 * CLIENTS)
        .start()?;

    let started = Instant::now();
    let (answers, mailboxes): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| mpsc::channel()).unzip();
    let batches = host.batches();
    let desk = thread::spawn(move || hand_out(batches, &answers));
    let clients = mailboxes.into_iter().enumerate().map(|(client, mailbox)| {
        let submitter = host.submitter();
        thread::spawn(move || ask(client, &submitter, &mailbox))
    });
    let clients: Vec<_> = clients.collect();
    let mut latencies = Vec::new();
    for (client, thread) in clients.into_iter().enumerate() {
        latencies.extend(thread.join().map_err(|_| anyhow!("client {client} panicked"))??);
    }
    host.submitter().close()?;
    desk.join().map_err(|_| anyhow!("the desk panicked"))??;

    ensure!(latencies.len() == CLIENTS * REQUESTS, "a request was lost");
    latencies.sort_unstable();
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    let at = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize].as_secs_f64() * 1e6;
    println!("{} requests of {CLIENTS} clients, {rate:.0} a second", latencies.len());
    println!("latency: p50 {:.0} µs, p99 {:.0} µs, most {:.0} µs", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// One client: asks for images, one request after the other; gives the latencies.
fn ask(client: usize, submitter: &Submitter, mailbox: &Receiver<Batch>) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(REQUESTS);
    for request in 0..REQUESTS {
        let first = (client * REQUESTS + request) % (IMAGES - MOST_ITEMS);
        let items: Vec<usize> = (first..first + 1 + request % MOST_ITEMS).collect();
        let (asked, count) = (Instant::now(), items.len());
        submitter.submit(&Request { items, client })?;
        let answer = mailbox.recv().context("the desk is closed")?;
        latencies.push(asked.elapsed());
        let labels = answer.array::<i64, Ix1>("label")?;
        ensure!(labels.len() == count, "asked for {count} images, got {}", labels.len());
    }
    Ok(latencies)
}

/// The desk: hands each batch to the client that asked for it.
fn hand_out(batches: Batches, answers: &[Sender<Batch>]) -> anyhow::Result<()> {
    for batch in batches {
        // Here the first failed request ends the service; a real one would tell its client.
        let batch = batch?;
        let Request { client, .. } = batch.message()?;
        answers[client].send(batch).with_context(|| format!("client {client} has gone"))?;
    }
    Ok(())
}
