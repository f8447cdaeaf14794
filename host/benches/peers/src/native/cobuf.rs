//! cobuf, by its public interface: the host in this process, its plugins and fork server as an application has them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cobuf_host::{ArraySpec, Batches, DType, Dictionary, Host, HostBuilder, Plugin, Value};

use super::{Native, gigabytes_a_second, touch, version};
use crate::equipment::{TURBO_PRODUCER, can_build_turbo};
use crate::memory::private_bytes;
use crate::meter;
use crate::protocol::{Answer, Probe, Request, Variant};
use crate::work::{LARGE_SHAPE, PHOTO_SIDE, PHOTOS_A_BATCH, SLOTS, TINY_BYTES, TINY_SLOTS, VALUES, Work};

pub(crate) const PEER: Native = Native { name: "cobuf", probe, measure };

const IN_ORDER: &str = "in order";
const ANY_ORDER: &str = "any order";
/// Pictures by `image-producer` with libjpeg-turbo.
pub(super) const TURBO: &str = "libjpeg-turbo";

const CONDITIONS: &str = "\
    Four kinds of processes: commander, workers, consumer, and a fork server that \
    sleeps. The producer writes into the slot that the consumer reads: nothing is copied. \
    Processes sleep while they wait. A worker that dies or hangs is replaced and its message \
    retried, errors are values in the place of their batch, batches know their messages, the \
    content follows from the seed. Limits: Linux only; memory for all slots is reserved at the \
    start; plugins are compiled code. Here it runs `list-commander` with `fill-producer`, and \
    `image-commander` with `image-producer`, unchanged. With libjpeg-turbo, `image-producer` has its feature of that name: \
    it decodes what the crop needs, at half the size here, as Pillow after `draft`.";

fn probe() -> Probe {
    // The handling of Ctrl-C is an application's own matter, and OpenSlide is Python's here.
    let works = Work::ALL.into_iter().filter(|work| !matches!(work, Work::Slides | Work::Interrupt));
    let works: BTreeMap<_, _> = works.map(|work| (work, vec![slots(work)])).collect();
    let variant = |name: &str| Variant { name: name.to_owned(), works: works.clone() };
    let mut variants = vec![variant(IN_ORDER), variant(ANY_ORDER)];
    if can_build_turbo() {
        let works = [(Work::Images, vec![slots(Work::Images)])].into();
        variants.push(Variant { name: TURBO.to_owned(), works });
    }
    Probe { versions: versions(), conditions: CONDITIONS.to_owned(), variants }
}

/// The version, and the commit of the checkout where git knows it.
fn versions() -> String {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = git
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {}", commit.trim()));
    let left_out = if can_build_turbo() { "" } else { ", no libjpeg-turbo, for want of cmake or nasm" };
    version("cobuf-host") + &commit + left_out
}

fn slots(work: Work) -> String {
    let slots = if matches!(work, Work::Tiny | Work::First | Work::Memory) { TINY_SLOTS } else { SLOTS };
    format!("slots={slots}")
}

fn measure(request: &Request) -> Result<Answer> {
    let value = match request.work {
        Work::Tiny => 1e6 * seconds_a_filled_batch(request, 32 * request.workers)?,
        Work::Large => gigabytes_a_second(seconds_a_filled_batch(request, request.workers)?),
        Work::First => 1e3 * meter::median_start(request.seconds, || first_batch(request))?,
        Work::Uneven => uneven(request)?,
        Work::Images => images(request)?,
        Work::Memory => memory(request)?,
        Work::Slides | Work::Interrupt => bail!("cobuf itself is no contender for {}", request.work),
    };
    Ok(Answer { value })
}

/// One of this request's plugins.
pub(super) fn plugin(request: &Request, name: &str) -> Result<Plugin> {
    let file =
        request.plugins.get(name).with_context(|| format!("the plugin {name} is not in the request"))?;
    Ok(Plugin::file(file))
}

/// A host's builder with this request's plugins.
fn builder(request: &Request, commander: &str, producer: &str) -> Result<HostBuilder> {
    let slots =
        request.setting.strip_prefix("slots=").context("the setting names no number of slots")?.parse()?;
    Ok(Host::builder()
        .commander(plugin(request, commander)?)
        .producer(plugin(request, producer)?)
        .workers(request.workers)
        .slots(slots)
        .ordered(request.variant != ANY_ORDER))
}

/// A host of batches that are filled with what the messages say.
fn filling(request: &Request, messages: Vec<Dictionary>, repeat: u64) -> Result<HostBuilder> {
    let shape = if request.work == Work::Large { LARGE_SHAPE.to_vec() } else { vec![TINY_BYTES] };
    let messages: Vec<Value> = messages.into_iter().map(Value::from).collect();
    let arrays = vec![ArraySpec::new("x", DType::U8, shape)];
    Ok(builder(request, "list-commander", "fill-producer")?
        .commander_config(Dictionary::new().with("messages", messages).with("repeat", repeat))
        .producer_config(BTreeMap::from([("arrays", arrays)])))
}

/// Messages that count, without end.
fn counting(request: &Request) -> Result<HostBuilder> {
    let messages = (0..VALUES).map(|value| Dictionary::new().with("value", value)).collect();
    filling(request, messages, 0)
}

/// Takes the next batch and looks at its array.
fn take(batches: &mut Batches) -> Result<()> {
    let batch = batches.next().context("the stream ended")??;
    let (_, bytes) = batch.bytes_at(0)?;
    touch(bytes, batch.sequence())
}

fn seconds_a_filled_batch(request: &Request, stride: usize) -> Result<f64> {
    let host = counting(request)?.start()?;
    let mut batches = host.batches();
    meter::seconds_a_batch(request.seconds, stride, || take(&mut batches))
}

fn first_batch(request: &Request) -> Result<f64> {
    let builder = counting(request)?;
    let started = Instant::now();
    let host = builder.start()?;
    take(&mut host.batches())?;
    Ok(started.elapsed().as_secs_f64())
}

/// The share of the ideal time, in percent.
fn uneven(request: &Request) -> Result<f64> {
    let times: Vec<f64> = serde_json::from_str(&fs::read_to_string(&request.times)?)?;
    // The clock starts with a batch that takes no time, when all processes are there.
    let messages =
        [0.0].iter().chain(&times).map(|seconds| Dictionary::new().with("sleep_seconds", *seconds)).collect();
    let host = filling(request, messages, 1)?.start()?;
    let mut batches = host.batches();
    batches.next().context("the stream ended")??;
    let started = Instant::now();
    let mut left = times.len();
    for batch in batches {
        batch?;
        left -= 1;
    }
    ensure!(left == 0, "{left} of {} batches did not come", times.len());
    Ok(super::share_of_ideal(&times, request.workers, started.elapsed()))
}

/// The cost of a third worker, in megabytes. Memory that a second one shares with the first is no longer the first one's own, so
/// it would cost too little.
fn memory(request: &Request) -> Result<f64> {
    let private = |workers: usize| -> Result<u64> {
        let host = counting(request)?.workers(workers).start()?;
        let mut batches = host.batches();
        (0..64 * workers).try_for_each(|_| take(&mut batches))?;
        host.processes().iter().map(|process| private_bytes(process.pid)).sum()
    };
    let without = private(2)?;
    Ok((private(3)? as f64 - without as f64) / 1e6)
}

/// The plugin that decodes pictures.
pub(super) fn image_producer(request: &Request) -> &'static str {
    if request.variant == TURBO { TURBO_PRODUCER } else { "image-producer" }
}

pub(super) fn image_producer_config() -> Dictionary {
    let side = PHOTO_SIDE as u64;
    Dictionary::new().with("batch_size", PHOTOS_A_BATCH as u64).with("height", side).with("width", side)
}

fn images(request: &Request) -> Result<f64> {
    let folder = request.photos.to_str().context("the photos' folder is not UTF-8")?;
    let batch_size = PHOTOS_A_BATCH as u64;
    let host = builder(request, "image-commander", image_producer(request))?
        .commander_config(
            Dictionary::new().with("folder", folder).with("batch_size", batch_size).with("shuffle", false),
        )
        .producer_config(image_producer_config())
        .start()?;
    let mut batches = host.batches();
    let seconds = meter::seconds_a_batch(request.seconds, request.workers, || {
        let batch = batches.next().context("the stream ended")??;
        if batch.rows() != Some(PHOTOS_A_BATCH) {
            bail!("a batch has {:?} pictures, expected {PHOTOS_A_BATCH}", batch.rows());
        }
        Ok(())
    })?;
    Ok(PHOTOS_A_BATCH as f64 / seconds)
}
