//! Takes the batches of a host, as an application would, and looks at the clock.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cobuf_host::{Batch, Batches, Host, HostBuilder};

/// The clock is looked at this often, while batches come faster: a look costs some 30 ns.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// A running host, and its only consumer.
pub(crate) struct Consumer {
    pub(crate) host: Host,
    batches: Batches,
}

/// How many batches came, in which time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) batches: u64,
    pub(crate) elapsed: Duration,
}

impl Pace {
    pub(crate) fn micros_a_batch(self) -> f64 {
        self.elapsed.as_secs_f64() * 1e6 / self.batches as f64
    }

    pub(crate) fn batches_a_second(self) -> f64 {
        self.batches as f64 / self.elapsed.as_secs_f64()
    }
}

impl Consumer {
    /// Starts the host, and takes every slot's batch twice: what is measured then is the run, not its beginning.
    pub(crate) fn warm(builder: HostBuilder) -> Result<Self> {
        let mut consumer = Self::start(builder)?;
        let twice = 2 * consumer.host.slots() as u64;
        consumer.take(twice, |_| ())?;
        Ok(consumer)
    }

    pub(crate) fn start(builder: HostBuilder) -> Result<Self> {
        let host = builder.start()?;
        let batches = host.batches();
        Ok(Self { host, batches })
    }

    /// The next batch of a stream without an end.
    pub(crate) fn next(&mut self) -> Result<Batch> {
        Ok(self.batches.next().context("the stream ended, though its commander has no end")??)
    }

    /// Takes so many batches, and looks at each.
    pub(crate) fn take(&mut self, count: u64, mut look: impl FnMut(&Batch)) -> Result<Pace> {
        let started = Instant::now();
        for _ in 0..count {
            look(&self.next()?);
        }
        Ok(Pace { batches: count, elapsed: started.elapsed() })
    }

    /// Takes batches for so long, and looks at each.
    pub(crate) fn take_for(&mut self, time: Duration, mut look: impl FnMut(&Batch)) -> Result<Pace> {
        let started = Instant::now();
        let (mut batches, mut stride) = (0, 1);
        loop {
            let taken = self.take(stride, &mut look)?;
            batches += stride;
            let elapsed = started.elapsed();
            if elapsed >= time {
                return Ok(Pace { batches, elapsed });
            }
            if taken.elapsed < LOOK_EVERY {
                stride *= 2;
            }
        }
    }
}
