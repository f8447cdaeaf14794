//! The floor without isolation: threads of one process, and crossbeam's bounded channels between them.
//!
//! ```text
//!   commander ──messages──► workers ──filled──► consumer
//!       ▲                                          │
//!       └────────────── free buffers ◄─────────────┘
//! ```

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Native, gigabytes_a_second, touch, version};
use crate::meter;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{LARGE_BYTES, SLOTS, TINY_BYTES, TINY_SLOTS, VALUES, Work};

pub(super) const PEER: Native = Native { name: "crossbeam channel", probe, measure };

const CONDITIONS: &str = "A floor. A commander's thread, two workers' threads and the consumer in one process; bounded channels \
    carry buffers that are used again, so nothing is copied or allocated. Any order. It gives up all isolation: a producer that \
    crashes ends the application, one that hangs or leaks cannot be ended, and code that is not thread-safe cannot be used.";

fn probe() -> Probe {
    let works = [(Work::Tiny, TINY_SLOTS), (Work::Large, SLOTS), (Work::First, TINY_SLOTS)];
    let works = works
        .into_iter()
        .map(|(work, buffers)| (work, vec![format!("buffers={buffers}")]))
        .collect::<BTreeMap<_, _>>();
    Probe {
        versions: version("crossbeam-channel"),
        conditions: CONDITIONS.to_owned(),
        variants: vec![Variant { name: String::new(), works }],
    }
}

fn measure(request: &Request) -> Result<Answer> {
    let stride = |batches: usize| batches * request.workers;
    let seconds_a_batch = |stride| {
        let stream = Stream::start(request)?;
        meter::seconds_a_batch(request.seconds, stride, || stream.take())
    };
    let value = match request.work {
        Work::Tiny => 1e6 * seconds_a_batch(stride(32))?,
        Work::Large => gigabytes_a_second(seconds_a_batch(stride(1))?),
        Work::First => {
            1e3 * meter::median_start(request.seconds, || {
                let started = Instant::now();
                Stream::start(request)?.take()?;
                Ok(started.elapsed().as_secs_f64())
            })?
        }
        other => bail!("crossbeam is no contender for {other}"),
    };
    Ok(Answer { value })
}

/// A buffer on its way round, with its batch's number.
struct Buffer {
    batch: u64,
    bytes: Box<[u8]>,
}

/// The consumer's ends. All threads end when they are dropped.
struct Stream {
    filled: Receiver<Buffer>,
    free: Sender<Buffer>,
}

impl Stream {
    fn start(request: &Request) -> Result<Self> {
        let buffers =
            request.setting.strip_prefix("buffers=").context("the setting names no buffers")?.parse()?;
        let bytes = if request.work == Work::Large { LARGE_BYTES } else { TINY_BYTES };
        let (free, free_buffers) = bounded::<Buffer>(buffers);
        let (commanded, messages) = bounded::<Buffer>(buffers);
        let (done, filled) = bounded::<Buffer>(buffers);
        for _ in 0..buffers {
            free.send(Buffer { batch: 0, bytes: vec![0; bytes].into() })?;
        }
        thread::spawn(move || {
            for (batch, buffer) in (0..).zip(free_buffers) {
                if commanded.send(Buffer { batch, ..buffer }).is_err() {
                    return;
                }
            }
        });
        for _ in 0..request.workers {
            let (messages, done) = (messages.clone(), done.clone());
            thread::spawn(move || {
                for mut buffer in messages {
                    buffer.bytes.fill((buffer.batch % VALUES) as u8);
                    if done.send(buffer).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { filled, free })
    }

    fn take(&self) -> Result<()> {
        let buffer = self.filled.recv()?;
        touch(&buffer.bytes, buffer.batch)?;
        self.free.send(buffer).context("the commander's thread has ended")
    }
}
