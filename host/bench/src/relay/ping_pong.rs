//! Two processes that wake each other in turns: the least that a message and its answer cost if
//! both processes sleep in between.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::signal::{wait, wake};
use crate::args::Role;
use crate::memory::{APART, SharedMemory};
use crate::partner::{self, Partner};
use cobuf::signals::Signals;

/// The places of the two words.
const PING: usize = 0;
const PONG: usize = APART;

/// The other process's role: it answers each ping.
pub(crate) fn answer(words: &[AtomicU32]) -> Result<()> {
    let mut seen = 0;
    loop {
        seen = wait_for_other(&words[PING], seen, || Ok(()))?;
        words[PONG].store(seen, Ordering::Release);
        wake(&words[PONG]);
    }
}

/// Waits until the word differs from `was`, and returns its new value.
fn wait_for_other(word: &AtomicU32, was: u32, mut go_on: impl FnMut() -> Result<()>) -> Result<u32> {
    loop {
        match word.load(Ordering::Acquire) {
            same if same == was => wait(word, was, &mut go_on)?,
            other => return Ok(other),
        }
    }
}

/// The time of each round trip, for as long as `time`.
pub(crate) fn play(time: Duration, signals: &Signals) -> Result<Vec<Duration>> {
    let memory = SharedMemory::create(2 * APART * size_of::<AtomicU32>())?;
    let mut partner = [Partner::spawn(Role::PingPong, &memory)?];
    let words = memory.words();
    let mut turn = 0;
    let mut once = || {
        let started = Instant::now();
        turn += 1;
        words[PING].store(turn, Ordering::Release);
        wake(&words[PING]);
        wait_for_other(&words[PONG], turn - 1, || partner::check(&mut partner, signals))?;
        anyhow::Ok(started.elapsed())
    };
    // The first round trip waits for the other process's start.
    once()?;
    let started = Instant::now();
    let mut took = Vec::new();
    while started.elapsed() < time {
        took.push(once()?);
    }
    Ok(took)
}
