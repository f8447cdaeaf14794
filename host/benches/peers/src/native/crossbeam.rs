//! The floor without isolation: threads of one process, and crossbeam's bounded channels between them.
//!
//! ```text
//!   commander ──messages──► workers ──filled──► consumer
//!       ▲                                          │
//!       └────────────── free buffers ◄─────────────┘
//! ```

use std::collections::BTreeMap;
use std::thread;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Floor, Native, measure_floor, touch, version};
use crate::protocol::{Probe, Request, Variant};
use crate::work::{LARGE_BYTES, SLOTS, TINY_BYTES, TINY_SLOTS, VALUES, Work};

pub(super) const PEER: Native = Native { name: "crossbeam channel", probe, measure: measure_floor::<Stream> };

const CONDITIONS: &str = "\
    A floor. A commander's thread, two workers' threads and the consumer in one process; bounded \
    channels carry buffers that are used again, so nothing is copied or allocated. Any order. \
    Limits: no isolation. A producer that crashes ends the application, one that hangs or leaks \
    cannot be ended, and code that is not thread-safe cannot be used.";

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

impl Floor for Stream {
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

    fn take(&mut self) -> Result<()> {
        let buffer = self.filled.recv()?;
        touch(&buffer.bytes, buffer.batch)?;
        self.free.send(buffer).context("the commander's thread has ended")
    }
}
