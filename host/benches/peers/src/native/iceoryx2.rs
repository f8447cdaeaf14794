//! The floor between processes: iceoryx2's zero-copy publish and subscribe.
//!
//! ```text
//!   commander ──messages/0──► worker 0 ──batches/0──► consumer
//!             ──messages/1──► worker 1 ──batches/1──►
//! ```
//!
//! Publish and subscribe has no queue that several workers take from: every subscriber gets everything. So each worker has
//! a service of its own, message n goes to worker n modulo their number, and the consumer takes in the same turn.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use serde::{Deserialize, Serialize};

use super::{Floor, Native, measure_floor, touch, version};
use crate::protocol::{Probe, Request, Variant};
use crate::work::{LARGE_BYTES, SLOTS, TINY_BYTES, TINY_SLOTS, VALUES, Work};

pub(super) const PEER: Native = Native { name: "iceoryx2", probe, measure: measure_floor::<Stream> };

const CONDITIONS: &str = "\
    A floor. Commander, two workers and consumer are processes; samples are loaned in shared \
    memory and sent without a copy, in an order that is fixed beforehand. A process that waits \
    polls: after each look it yields its processor, or sleeps for 50 µs, whichever is faster; with \
    more processes than processors, yielding ones hinder those that have work. It is the transport \
    alone. Limits: a message does not go to the worker that is free; a worker's death leaves the \
    consumer waiting, and its messages are lost; there are no errors, seeds or messages with the \
    batch.";

fn probe() -> Probe {
    let works = [(Work::Tiny, TINY_SLOTS), (Work::Large, SLOTS), (Work::First, TINY_SLOTS)];
    let works: BTreeMap<_, _> = works.into_iter().map(|(work, buffers)| (work, settings(buffers))).collect();
    Probe {
        versions: version("iceoryx2"),
        conditions: CONDITIONS.to_owned(),
        variants: vec![Variant { name: String::new(), works }],
    }
}

fn settings(buffers: usize) -> Vec<String> {
    [Wait::Yield, Wait::Sleep].iter().map(|wait| format!("buffers={buffers}, wait={wait:?}")).collect()
}

/// The wait of a process between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Wait {
    Yield,
    Sleep,
}

/// The settings on which all processes of a stream agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    /// Names its services.
    name: String,
    workers: usize,
    /// Batches that can wait between a worker and the consumer.
    buffers: usize,
    bytes: usize,
    wait: Wait,
}

/// The role of a process of a stream.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Role {
    Commander,
    Worker(usize),
}

/// The number of a batch, and its bytes.
type Batches = PortFactory<ipc::Service, [u8], u64>;
type Messages = PortFactory<ipc::Service, u64, ()>;

impl Plan {
    fn new(request: &Request) -> Result<Self> {
        let (buffers, wait) = request.setting.split_once(", ").context("the setting is not of two parts")?;
        let buffers: usize =
            buffers.strip_prefix("buffers=").context("the setting names no buffers")?.parse()?;
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        Ok(Self {
            name: format!("cobuf-peers/{}/{started}", std::process::id()),
            workers: request.workers,
            buffers: buffers / request.workers,
            bytes: if request.work == Work::Large { LARGE_BYTES } else { TINY_BYTES },
            wait: if wait == "wait=Yield" { Wait::Yield } else { Wait::Sleep },
        })
    }

    fn messages(&self, node: &Node<ipc::Service>, worker: usize) -> Result<Messages> {
        let name = ServiceName::new(&format!("{}/messages/{worker}", self.name)).map_err(failed)?;
        let service = node.service_builder(&name).publish_subscribe::<u64>();
        let service = service.max_publishers(1).max_subscribers(1).enable_safe_overflow(false);
        service.subscriber_max_buffer_size(self.buffers).open_or_create().map_err(failed)
    }

    fn batches(&self, node: &Node<ipc::Service>, worker: usize) -> Result<Batches> {
        let name = ServiceName::new(&format!("{}/batches/{worker}", self.name)).map_err(failed)?;
        let service = node.service_builder(&name).publish_subscribe::<[u8]>().user_header::<u64>();
        let service = service.max_publishers(1).max_subscribers(1).enable_safe_overflow(false);
        service.subscriber_max_buffer_size(self.buffers).open_or_create().map_err(failed)
    }

    fn start(&self, role: Role) -> Result<Child> {
        let role = serde_json::to_string(&(self, role))?;
        let program = std::env::current_exe().context("this program's own path")?;
        Command::new(program)
            .args(["iceoryx2", &role])
            .spawn()
            .context("cannot start a process of the stream")
    }
}

/// The consumer's ends, and the processes behind them.
struct Stream {
    subscribers: Vec<Subscriber<ipc::Service, [u8], u64>>,
    next: u64,
    wait: Wait,
    processes: Vec<Child>,
    _services: Vec<Batches>,
}

impl Floor for Stream {
    fn start(request: &Request) -> Result<Self> {
        let plan = Plan::new(request)?;
        let node = node()?;
        let services =
            (0..plan.workers).map(|worker| plan.batches(&node, worker)).collect::<Result<Vec<_>>>()?;
        let subscriber = |service: &Batches| service.subscriber_builder().create().map_err(failed);
        let subscribers = services.iter().map(subscriber).collect::<Result<_>>()?;
        let mut stream =
            Self { subscribers, next: 0, wait: plan.wait, processes: Vec::new(), _services: services };
        for role in [Role::Commander].into_iter().chain((0..plan.workers).map(Role::Worker)) {
            stream.processes.push(plan.start(role)?);
        }
        Ok(stream)
    }

    fn take(&mut self) -> Result<()> {
        let subscriber = &self.subscribers[self.next as usize % self.subscribers.len()];
        let sample = poll(self.wait, || subscriber.receive().map_err(failed))?;
        let number = *sample.user_header();
        anyhow::ensure!(number == self.next, "batch {number} came, expected {}", self.next);
        self.next += 1;
        touch(sample.payload(), number)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // A process that ended by itself is no error.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A process of a stream, until it is killed.
pub(crate) fn play(role: &str) -> Result<()> {
    let (plan, role): (Plan, Role) = serde_json::from_str(role).context("the role is wrong")?;
    match role {
        Role::Commander => command(&plan),
        Role::Worker(number) => work(&plan, number),
    }
}

fn command(plan: &Plan) -> Result<()> {
    let node = node()?;
    let services =
        (0..plan.workers).map(|worker| plan.messages(&node, worker)).collect::<Result<Vec<_>>>()?;
    let publisher = |service: &Messages| {
        let publisher = service.publisher_builder().backpressure_strategy(BackpressureStrategy::DiscardData);
        publisher.create().map_err(failed)
    };
    let publishers: Vec<Publisher<ipc::Service, u64, ()>> =
        services.iter().map(publisher).collect::<Result<_>>()?;
    for (number, publisher) in (0..).zip(publishers.iter().cycle()) {
        deliver(plan.wait, || {
            publisher.loan_uninit().map_err(failed)?.write_payload(number).send().map_err(failed)
        })?;
    }
    Ok(())
}

fn work(plan: &Plan, number: usize) -> Result<()> {
    let node = node()?;
    // The consumer has subscribed before this process was started.
    let batches = plan.batches(&node, number)?;
    // A dropped batch is filled once more, which takes too long for a large one: iceoryx2 itself waits then.
    let is_large = plan.bytes == LARGE_BYTES;
    let when_full =
        if is_large { BackpressureStrategy::RetryUntilDelivered } else { BackpressureStrategy::DiscardData };
    let publisher = batches.publisher_builder().initial_max_slice_len(plan.bytes);
    let publisher = publisher.backpressure_strategy(when_full).create().map_err(failed)?;
    let messages = plan.messages(&node, number)?;
    let subscriber = messages.subscriber_builder().create().map_err(failed)?;
    loop {
        let message = *poll(plan.wait, || subscriber.receive().map_err(failed))?;
        let value = (message % VALUES) as u8;
        deliver(plan.wait, || {
            let mut sample = publisher.loan_slice_uninit(plan.bytes).map_err(failed)?;
            *sample.user_header_mut() = message;
            sample.write_from_fn(|_| value).send().map_err(failed)
        })?;
    }
}

/// Sends until somebody got it: what does not fit into the receiver's buffer is dropped, or waited for where the receiver has
/// connected already and the strategy says so.
fn deliver(wait: Wait, mut send: impl FnMut() -> Result<usize>) -> Result<()> {
    poll(wait, || Ok((send()? > 0).then_some(())))
}

/// Looks again and again, and waits in between.
fn poll<T>(wait: Wait, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        match wait {
            Wait::Yield => thread::yield_now(),
            Wait::Sleep => thread::sleep(Duration::from_micros(50)),
        }
    }
}

fn node() -> Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create().map_err(failed)
}

/// iceoryx2's errors are no `Send + Sync` errors throughout.
fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("iceoryx2: {error:?}")
}
