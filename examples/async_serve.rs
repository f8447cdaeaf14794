//! Serves batches over TCP from one thread, which does other work meanwhile.
//!
//! ```text
//!   one thread, a runtime of tokio        host.batches()
//!   ├─ server 0 ── stream().next().await ──┤   each batch goes to the client
//!   ├─ server 1 ── stream().next().await ──┘   whose server asks first
//!   ├─ client 0, client 1                      they may as well be on other machines
//!   └─ a clock that ticks each millisecond: the other work
//! ```
//!
//! A server writes a batch to its socket straight from shared memory. While it waits for a batch,
//! or for a client that reads slowly, the thread does the work of the other tasks.
//!
//! `cargo run --release --example async_serve`

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cobuf_host::{Batches, Dictionary, Host, Plugin};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

const IMAGES: u64 = 1797;
const PIXELS: usize = 64;
const BATCH_SIZE: u64 = 32;
const EPOCHS: u64 = 10;
const CLIENTS: usize = 2;
const TICK: Duration = Duration::from_millis(1);

#[allow(dead_code, reason = "a test runs the example with plugins of its own")]
fn main() -> Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    run(Plugin::package(plugins.join("index-commander")), Plugin::package(plugins.join("digits-producer")))
}

pub(crate) fn run(commander: Plugin, producer: Plugin) -> Result<()> {
    let batches = Dictionary::new().with("batch_size", BATCH_SIZE);
    let host = Host::builder()
        .commander(commander)
        .commander_config(batches.clone().with("length", IMAGES).with("epochs", EPOCHS))
        .producer(producer)
        .producer_config(batches)
        .start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve_all(&host))
}

async fn serve_all(host: &Host) -> Result<()> {
    let started = Instant::now();
    let ticks = Rc::new(Cell::new(0_u64));
    let clock = spawn_local(tick(ticks.clone()));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| spawn_local(async move { read(TcpStream::connect(address).await?).await }))
        .collect();
    let mut servers = Vec::new();
    for _ in 0..CLIENTS {
        let (socket, _) = listener.accept().await?;
        servers.push(spawn_local(serve(socket, host.batches())));
    }

    for server in servers {
        server.await??;
    }
    let mut sequences = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        let (received, mean) = client.await??;
        println!("client {number}: {} batches, mean of all pixels {mean:.4}", received.len());
        sequences.extend(received);
    }
    clock.abort();
    println!(
        "all in {:.3} s; meanwhile the clock ticked {} times",
        started.elapsed().as_secs_f64(),
        ticks.get()
    );

    sequences.sort_unstable();
    let expected = EPOCHS * IMAGES.div_ceil(BATCH_SIZE);
    ensure!(sequences.into_iter().eq(0..expected), "a batch was lost or delivered twice");
    ensure!(ticks.get() > 0, "the thread did no other work");
    Ok(())
}

/// The other work of the thread.
async fn tick(ticks: Rc<Cell<u64>>) {
    let mut interval = interval(TICK);
    loop {
        interval.tick().await;
        ticks.set(ticks.get() + 1);
    }
}

/// Sends batches to a client until there are no more: number, bytes of the images, the images.
async fn serve(socket: TcpStream, batches: Batches) -> Result<()> {
    let mut socket = BufStream::new(socket);
    let mut stream = batches.stream()?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let (_, images) = batch.bytes_at(0)?;
        socket.write_u64_le(batch.sequence()).await?;
        socket.write_u64_le(images.len() as u64).await?;
        socket.write_all(images).await?;
        socket.flush().await?;
    } // dropping the batch frees its slot
    Ok(())
}

/// A client: the numbers of the batches that it got, and the mean of their pixels.
async fn read(socket: TcpStream) -> Result<(Vec<u64>, f64)> {
    let mut socket = BufStream::new(socket);
    let (mut sequences, mut sum, mut pixels) = (Vec::new(), 0.0, 0_u32);
    loop {
        match socket.read_u64_le().await {
            Ok(sequence) => sequences.push(sequence),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
        let mut images = vec![0; socket.read_u64_le().await? as usize];
        socket.read_exact(&mut images).await?;
        ensure!(images.len().is_multiple_of(4 * PIXELS), "{} bytes are no images", images.len());
        for pixel in images.chunks_exact(4) {
            sum += f64::from(f32::from_ne_bytes([pixel[0], pixel[1], pixel[2], pixel[3]]));
            pixels += 1;
        }
    }
    Ok((sequences, sum / f64::from(pixels.max(1))))
}
