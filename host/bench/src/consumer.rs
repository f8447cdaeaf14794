//! Takes the batches of a host, as an application would, and measures the time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::{Batch, Batches, Host, HostBuilder, Next};

use crate::task;

/// How many batches are taken between two readings of the clock if batches come within
/// microseconds: a reading costs some 30 ns.
pub(crate) const MANY: usize = 64;
/// How long a batch may take, and how long it may take to fill all slots: no case needs a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two checks whether all slots are full.
const LOOK_AROUND: Duration = Duration::from_millis(1);

/// A running host, and its only consumer.
pub(crate) struct Consumer {
    pub(crate) host: Host,
    batches: Batches,
}

/// How many batches came, and in which time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) batches: u64,
    pub(crate) elapsed: Duration,
}

impl Pace {
    /// The pace of `take`, which takes `at_a_time` batches and is repeated for about `time`.
    pub(crate) fn of(
        time: Duration,
        at_a_time: usize,
        mut take: impl FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        let (started, mut batches) = (Instant::now(), 0);
        loop {
            take(at_a_time as u64)?;
            batches += at_a_time as u64;
            let elapsed = started.elapsed();
            if elapsed >= time {
                return Ok(Self { batches, elapsed });
            }
        }
    }

    pub(crate) fn micros_a_batch(self) -> f64 {
        self.elapsed.as_secs_f64() * 1e6 / self.batches as f64
    }

    pub(crate) fn batches_a_second(self) -> f64 {
        self.batches as f64 / self.elapsed.as_secs_f64()
    }
}

impl Consumer {
    /// Starts the host, and takes two batches for each slot, so that the run is measured and not
    /// its beginning.
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
        match self.batches.next_timeout(PATIENCE) {
            Next::Item(batch) => Ok(batch?),
            Next::Ended => bail!("the stream ended, though its commander has no end"),
            Next::Pending(_) => bail!("nothing came for {PATIENCE:?}, {}", self.batches.stall_report()),
        }
    }

    /// Takes this many batches, and passes each to `look`.
    pub(crate) fn take(&mut self, count: u64, mut look: impl FnMut(&Batch)) -> Result<Pace> {
        let started = Instant::now();
        for _ in 0..count {
            look(&self.next()?);
        }
        Ok(Pace { batches: count, elapsed: started.elapsed() })
    }

    /// Takes batches for about `time`, always `at_a_time` at a time, and passes each to `look`. If
    /// workers work in step and `at_a_time` is their number, all of them have done equally much.
    pub(crate) fn take_for(
        &mut self,
        time: Duration,
        at_a_time: usize,
        mut look: impl FnMut(&Batch),
    ) -> Result<Pace> {
        Pace::of(time, at_a_time, |count| self.take(count, &mut look).map(drop))
    }

    /// As [`take_for`](Self::take_for), by a task instead of the iterator.
    pub(crate) fn take_as_task_for(
        &mut self,
        time: Duration,
        at_a_time: usize,
        mut look: impl FnMut(&Batch),
    ) -> Result<Pace> {
        let mut stream = self.batches.stream()?;
        Pace::of(time, at_a_time, |count| {
            task::run(async {
                for _ in 0..count {
                    let item = stream.next().await;
                    look(&item.context("the stream ended, though its commander has no end")??);
                }
                Ok(())
            })
        })
    }

    /// Waits until every slot has a batch.
    pub(crate) fn fill(&self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while self.host.statistics().slots.ready < self.host.slots() {
            ensure!(Instant::now() < limit, "the slots were not full after {PATIENCE:?}");
            thread::sleep(LOOK_AROUND);
        }
        Ok(())
    }
}
