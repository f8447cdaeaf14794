//! The peers that are part of this program: cobuf itself, floors and ceilings. Each measures in a process of its own.

pub(crate) mod cobuf;
mod crossbeam;
mod decoder;
pub(crate) mod iceoryx2;
mod memset;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::meter;
use crate::protocol::{Answer, Probe, Request};
use crate::work::{LARGE_BYTES, PAGE_BYTES, VALUES, Work};

/// A peer in this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Native {
    pub(crate) name: &'static str,
    pub(crate) probe: fn() -> Probe,
    measure: fn(&Request) -> Result<Answer>,
}

/// All of them, in the order of the tables.
pub(crate) const PEERS: [Native; 5] =
    [cobuf::PEER, iceoryx2::PEER, crossbeam::PEER, memset::PEER, decoder::PEER];

/// Does one measurement.
pub(crate) fn measure(peer: &str, request: &Request) -> Result<Answer> {
    let native = PEERS.iter().find(|native| native.name == peer);
    let native = native.with_context(|| format!("no peer in this program is called {peer:?}"))?;
    (native.measure)(request)?.checked()
}

/// A floor's stream: batches that are handed over, and nothing else.
trait Floor: Sized {
    fn start(request: &Request) -> Result<Self>;

    /// Takes the next batch, looks at it, and gives its buffer back.
    fn take(&mut self) -> Result<()>;
}

fn measure_floor<S: Floor>(request: &Request) -> Result<Answer> {
    let seconds_a_batch = |stride| {
        let mut stream = S::start(request)?;
        meter::seconds_a_batch(request.seconds, stride, || stream.take())
    };
    let value = match request.work {
        Work::Tiny => 1e6 * seconds_a_batch(32 * request.workers)?,
        Work::Large => gigabytes_a_second(seconds_a_batch(request.workers)?),
        Work::First => {
            1e3 * meter::median_start(request.seconds, || {
                let started = Instant::now();
                S::start(request)?.take()?;
                Ok(started.elapsed().as_secs_f64())
            })?
        }
        other => bail!("a floor is no contender for {other}"),
    };
    Ok(Answer { value })
}

/// How a row of the tables is called.
pub(crate) fn row_name(peer: &str, variant: &str) -> String {
    if variant.is_empty() { peer.to_owned() } else { format!("{peer}, {variant}") }
}

/// A crate and the version that this program was built with.
fn version(name: &str) -> String {
    let lines = include_str!("../../Cargo.lock").lines();
    let version = lines.skip_while(|line| *line != format!("name = {name:?}")).nth(1);
    let version = version.and_then(|line| line.strip_prefix("version = ")).unwrap_or("of an unknown version");
    format!("{name} {}", version.trim_matches('"'))
}

/// Gigabytes a second from the seconds that a large batch took.
fn gigabytes_a_second(seconds_a_batch: f64) -> f64 {
    LARGE_BYTES as f64 / seconds_a_batch / 1e9
}

/// Reads one byte a page. Each must be the value of batch number `batch`.
fn touch(bytes: &[u8], batch: u64) -> Result<()> {
    let value = (batch % VALUES) as u8;
    ensure!(
        bytes.iter().step_by(PAGE_BYTES).all(|byte| *byte == value),
        "batch {batch} begins with {:?}, expected {value} everywhere",
        bytes.first()
    );
    Ok(())
}

/// Has a thread for each share measure its own rate, all at once behind the barrier; gives the sum.
fn on_each_core<S: Send>(shares: Vec<S>, measure: impl Fn(S, &Barrier) -> Result<f64> + Sync) -> Result<f64> {
    let (start, measure) = (Barrier::new(shares.len()), &measure);
    thread::scope(|scope| {
        let spawn = |share| {
            let start = &start;
            scope.spawn(move || measure(share, start))
        };
        let threads: Vec<_> = shares.into_iter().map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).sum()
    })
}

/// How much of the time that workers took would have been enough, had none of them ever waited; in percent.
fn share_of_ideal(times: &[f64], workers: usize, took: Duration) -> f64 {
    let ideal = times.iter().sum::<f64>() / workers as f64;
    100.0 * ideal / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_versions_those_of_the_lock_file() {
        let version_of = |name: &str| version(name).strip_prefix(&format!("{name} ")).unwrap().to_owned();
        for name in ["cobuf-host", "iceoryx2", "crossbeam-channel"] {
            assert!(version_of(name).starts_with(|first: char| first.is_ascii_digit()), "{name}");
        }
        assert_eq!(version("no-such"), "no-such of an unknown version");
    }
}
