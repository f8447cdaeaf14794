//! Runs messages through a producer, as a worker does, but in an arena.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use cobuf_plugin_api::abi::{Job, Produced, WorkerInfo};
use cobuf_plugin_api::{Report, Schema, message_seed};

use super::means::{Notes, misplaced, worker_info};
use super::soak;
use crate::limits::MAX_REPORT_BYTES;
use crate::plugin::open::{OpenProducer, ProducerPlugin};
use crate::process::arena::Arena;
use crate::process::child::{Child, with_code};
use crate::process::worker::checked;
use crate::protocol::examination::{Assignment, Filled, Guard, Note, Run, Script, Soak, Soaked, Task};
use crate::protocol::fingerprint::{blocks, digest};
use crate::protocol::message::SetupFailure;

/// The most bytes of batches that are kept to be compared element by element; further batches are
/// compared by their blocks.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

pub(super) fn examine(
    plugin: &ProducerPlugin,
    child: &Child,
    assignment: &Assignment,
    notes: &Notes<'_>,
) -> Result<(), SetupFailure> {
    let config = &child.config;
    let bench = |info, attempt| Bench::new(plugin, config, info, attempt, assignment.metadata_capacity);
    match &assignment.task {
        Task::Declare { configured } => {
            for _ in 0..2 {
                notes.note(Note::ConfigSchema(short(plugin.config_schema())))?;
            }
            for _ in 0..if *configured { 2 } else { 0 } {
                notes.note(Note::Configured(short(plugin.schema(config).map(Some))))?;
            }
            Ok(())
        }
        Task::Configure { configs } => {
            for config in configs {
                let config = &with_code(&child.plugin, config)?;
                // A plugin may leave it to its constructor to refuse a configuration.
                let constructed = plugin.schema(config).and_then(|schema| {
                    plugin.construct(config, worker_info(0, 0, false)).map(|_| Some(schema))
                });
                notes.note(Note::Configured(short(constructed)))?;
            }
            Ok(())
        }
        Task::Produce(script) => {
            let info = worker_info(script.worker, script.incarnation, script.stopping);
            play(bench(info, script.attempt)?, script, notes)
        }
        Task::Soak(task) if task.opening => {
            let open = || plugin.construct(config, worker_info(0, 0, false))?.close();
            notes.note(Note::Soaked(soak::soak(task, open)?))
        }
        Task::Soak(task) => {
            let mut bench = bench(worker_info(0, 0, false), 0)?;
            notes.note(Note::Soaked(bench.soak(task)?))
        }
        Task::Loop { messages, run_seed, millis } => {
            let mut bench = bench(worker_info(0, 0, false), 0)?;
            let time = Duration::from_millis(*millis);
            notes.note(bench.run_for(messages, *run_seed, time)?)
        }
        Task::Command(_) | Task::Walk { .. } => Err(misplaced(&assignment.task)),
    }
}

fn play(mut bench: Bench<'_>, script: &Script, notes: &Notes<'_>) -> Result<(), SetupFailure> {
    notes.note(Note::Constructed(Ok(())))?;
    for run in &script.runs {
        if run.fresh {
            bench.renew()?;
        }
        let filled = bench.run(run, &script.messages[run.message]);
        let ended = filled.as_ref().is_err_and(Report::ends_producer);
        notes.note(Note::Ran(short(filled)))?;
        if ended {
            // As a worker does: the old producer is dropped, and its drop may fail.
            if let Some(producer) = bench.producer.take() {
                let _ = producer.close();
            }
            bench.renew()?;
        }
    }
    match bench.producer.take() {
        Some(producer) if script.close => notes.note(Note::Closed(short(producer.close()))),
        _ => Ok(()),
    }
}

/// Shortens the report so that the result fits an event.
pub(super) fn short<T>(result: Result<T, Report>) -> Result<T, Report> {
    result.map_err(|report| report.shortened(MAX_REPORT_BYTES))
}

/// A producer and its arena.
struct Bench<'a> {
    plugin: &'a ProducerPlugin,
    config: &'a [u8],
    info: WorkerInfo,
    attempt: u32,
    metadata_capacity: usize,
    schema: Schema,
    arena: Arena,
    producer: Option<OpenProducer>,
    /// The arrays of each message and seed from its first run.
    first: HashMap<(usize, u64), Vec<Vec<u8>>>,
    kept_bytes: usize,
}

impl<'a> Bench<'a> {
    fn new(
        plugin: &'a ProducerPlugin,
        config: &'a [u8],
        info: WorkerInfo,
        attempt: u32,
        metadata_capacity: usize,
    ) -> Result<Self, SetupFailure> {
        let schema = plugin.schema(config)?;
        let unmapped =
            |error: io::Error| SetupFailure::Init(format!("cannot map memory for {schema}: {error}"));
        let arena = Arena::new(&schema).map_err(unmapped)?;
        let producer = Some(plugin.construct(config, info)?);
        let first = HashMap::new();
        Ok(Self {
            plugin,
            config,
            info,
            attempt,
            metadata_capacity,
            schema,
            arena,
            producer,
            first,
            kept_bytes: 0,
        })
    }

    /// Makes another producer. The previous one is not dropped: its drop may only fail at a step
    /// that examines it.
    fn renew(&mut self) -> Result<(), Report> {
        self.producer = Some(self.plugin.construct(self.config, self.info)?);
        Ok(())
    }

    fn run(&mut self, run: &Run, message: &[u8]) -> Result<Filled, Report> {
        self.arena.prepare(run.guard, run.garbage);
        let said = self.produce(run.message as u64, run.run_seed, message)?;
        let rows = self.schema.rows().map(|most| if said.rows == usize::MAX { most } else { said.rows });
        let arrays = self.schema.arrays().iter().zip(self.arena.contents(rows));
        Ok(Filled {
            rows,
            lengths: self.arena.lengths().to_vec(),
            metadata: digest(&said.metadata),
            blocks: arrays.map(|(array, bytes)| blocks(array, bytes)).collect(),
            first_difference: self.compare_with_first((run.message, run.run_seed), rows),
            overruns: self.arena.overruns(),
        })
    }

    fn produce(&mut self, sequence: u64, run_seed: u64, message: &[u8]) -> Result<Produced, Report> {
        let none = || Report::from_error(&anyhow::anyhow!("there is no producer"));
        let producer = self.producer.as_mut().ok_or_else(none)?;
        let seed = message_seed(run_seed, sequence);
        let job =
            Job { sequence, seed, attempt: self.attempt, message: message.into(), arrays: [][..].into() };
        let said = self.arena.produce(producer, job)?;
        checked(said, self.arena.lengths(), &self.schema, self.metadata_capacity)
    }

    /// The first element that differs from the message's first run, if that run was kept.
    fn compare_with_first(&mut self, run: (usize, u64), rows: Option<usize>) -> Option<(usize, usize)> {
        let contents = self.arena.contents(rows);
        let Some(first) = self.first.get(&run) else {
            let bytes = self.schema.bytes();
            if self.kept_bytes + bytes <= KEPT_BYTES {
                let kept = contents.map(<[u8]>::to_vec).collect();
                self.first.insert(run, kept);
                self.kept_bytes += bytes;
            }
            return None;
        };
        first.iter().zip(contents).enumerate().find_map(|(array, (before, now))| {
            let byte = before.iter().zip(now).position(|(before, now)| before != now)?;
            Some((array, byte / self.schema.arrays()[array].dtype().size()))
        })
    }

    fn soak(&mut self, task: &Soak) -> Result<Soaked, Report> {
        let mut turn = 0;
        self.arena.prepare(Guard::Nowhere, 0);
        soak::soak(task, || {
            let place = turn % task.messages.len().max(1);
            turn += 1;
            let said = self.produce(place as u64, task.run_seed, &task.messages[place]);
            said.map(drop)
        })
    }

    /// Produces the messages in turn. The first one is not counted, because it fills caches and
    /// pools.
    fn run_for(&mut self, messages: &[Vec<u8>], run_seed: u64, time: Duration) -> Result<Note, Report> {
        self.arena.prepare(Guard::Nowhere, 0);
        let mut turns = (0..messages.len()).cycle();
        let mut next = || match turns.next() {
            Some(place) => self.produce(place as u64, run_seed, &messages[place]),
            None => Err(Report::from_error(&anyhow::anyhow!("there is no message"))),
        };
        next()?;
        let (started, mut done) = (Instant::now(), 0);
        loop {
            next()?;
            done += 1;
            let elapsed = started.elapsed();
            if elapsed >= time {
                return Ok(Note::Looped { messages: done, nanos: elapsed.as_nanos() as u64 });
            }
        }
    }
}
